// SPDX-License-Identifier: Apache-2.0
/**
 * What a step does, in words.
 *
 * @module
 */
import type { StepAction } from "./timeline.ts";

/** "play prelude", "set HORN=1", "load 2 CPUs for 3 s"; of a caption, its text. */
export function actionText(action: StepAction): string {
  switch (action.kind) {
    case "play":
      return `play ${action.what}`;
    case "record":
      return `record ${action.name} for ${action.seconds} s`;
    case "send":
      return `send ${action.frame}`;
    case "set":
      return `set ${action.line}=${action.level}`;
    case "load":
      return `load ${cpus(action.processes)} for ${action.seconds} s`;
    case "unload":
      return `end the load of ${cpus(action.processes)}`;
    case "caption":
      return action.text;
    default:
      return action.kind;
  }
}

function cpus(count: number): string {
  return count === 1 ? "1 CPU" : `${count} CPUs`;
}
