// SPDX-License-Identifier: Apache-2.0
/**
 * What happens in a demo, in the order of time.
 *
 * @module
 */
import type { Action, Cue } from "./cues.ts";

/** What a step does: a cue's action, or the end of a load. */
export type StepAction = Action | { readonly kind: "unload"; readonly processes: number };

/** A moment of a demo. */
export interface Step {
  /** Milliseconds from the beginning. */
  readonly atMs: number;
  /** Its cue's place in the file, from 0. */
  readonly cue: number;
  readonly action: StepAction;
}

/** The steps of cues, in order of time; those of one moment in the order of the file. */
export function stepsOf(cues: readonly Cue[]): Step[] {
  const steps = cues.flatMap(({ at, action }, cue): Step[] => {
    const step = { atMs: 1000 * at, cue, action };
    if (action.kind !== "load") return [step];
    const { processes, seconds } = action;
    const end = { kind: "unload", processes } as const;
    return [step, { atMs: 1000 * (at + seconds), cue, action: end }];
  });
  return steps.sort((a, b) => a.atMs - b.atMs);
}

/** What runs steps in time. */
export interface Conductor {
  /** Begins a step. It must not throw. */
  readonly act: (step: Step) => void;
  /** Ends it early. */
  readonly signal: AbortSignal;
  /** A monotonic clock, in milliseconds. */
  readonly now: () => number;
}

/** Begins each step at its time. Resolves after the last, or when the signal is aborted. */
export async function runSteps(
  steps: readonly Step[],
  { act, signal, now }: Conductor,
): Promise<void> {
  const start = now();
  for (const step of steps) {
    await untilTime(start + step.atMs, signal, now);
    if (signal.aborted) return;
    act(step);
  }
}

/** Waits until a time has come; a timer that is early is set again. */
async function untilTime(atMs: number, signal: AbortSignal, now: () => number): Promise<void> {
  for (let leftMs; (leftMs = atMs - now()) > 0 && !signal.aborted;) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => resolve();
    const timer = setTimeout(end, leftMs);
    signal.addEventListener("abort", end, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
