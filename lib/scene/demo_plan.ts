// SPDX-License-Identifier: Apache-2.0
/**
 * How a demo runs a scene: each embedded device is a process, so that it can be killed; all are attached by a `viola up`, to
 * software nodes where a driver is the demo's own.
 *
 * @module
 */
import { stringify } from "smol-toml";
import type { SceneClass } from "./classes.ts";
import { VIOLA } from "./cue_schema.ts";
import { type Scene, type SceneDevice, SOFT } from "./mod.ts";
import { keyOf } from "./schema.ts";

/** A scene that a demo cannot run. */
export class DemoError extends Error {
  override readonly name = "DemoError";
}

/** Where a demo's files are. */
export interface DemoPlaces {
  /** Of sockets, until its end. */
  readonly folder: string;
  /** Of recordings. */
  readonly out: string;
}

/** The socket of the n-th device's back-end. */
export function socketOf({ folder }: DemoPlaces, n: number): string {
  return `${folder}/device${n}`;
}

/** The software node of the n-th device. */
export function nodeOf({ folder }: DemoPlaces, n: number): string {
  return `${folder}/node${n}`;
}

/** The keys of a device's section. */
function tableOf({ settings }: SceneDevice): Record<string, unknown> {
  return JSON.parse(settings);
}

/** Whether the driver is the demo's. */
export function isSoft({ attachment: { loopback } }: SceneDevice): boolean {
  return loopback === SOFT;
}

/** Whether the scene says where a card plays to: else it is recorded by the demo. */
function isRecorded(device: SceneDevice): boolean {
  const { server, attachment } = device;
  return server.kind === "own" && attachment.class.name === "sound" &&
    tableOf(device).sink === undefined;
}

/** The recording of a card; null when it plays somewhere else. */
export function recordingOf(device: SceneDevice, { out }: Pick<DemoPlaces, "out">): string | null {
  return isRecorded(device) ? `${out}/${device.name}.wav` : null;
}

/** The file of a cue that records. */
export function takeOf(name: string, { out }: Pick<DemoPlaces, "out">): string {
  return `${out}/${name}.wav`;
}

/** The files of all cues that record. */
export function takesOf({ cues }: Scene, places: Pick<DemoPlaces, "out">): string[] {
  return cues.flatMap(({ action }) =>
    action.kind === "record" ? [takeOf(action.name, places)] : []
  );
}

/** @throws {DemoError} when a scene cannot be shown as a demo */
export function checkDemo({ devices, expectations }: Scene): void {
  for (const device of devices) {
    const { name, attachment } = device;
    if (name === VIOLA) throw new DemoError(`Cannot use the name ${VIOLA}: it is viola itself`);
    if (isSoft(device) && attachment.class.roles.driver === undefined) {
      const { name: className } = attachment.class;
      throw new DemoError(
        `Cannot drive ${name}: viola has no software driver of class ${className}`,
      );
    }
  }
  for (const one of expectations) {
    if (one.kind !== "equal" && one.kind !== "nothing-lost") continue;
    const device = devices.find(({ name }) => name === one.device)!;
    if (isRecorded(device)) continue;
    throw new DemoError(
      `Cannot expect ${one.kind} of ${one.device}: its sound is not recorded here, leave its sink out`,
    );
  }
}

/** The arguments of `viola device` for an embedded device. */
export function deviceArgs(
  device: SceneDevice,
  n: number,
  places: DemoPlaces,
  classes: readonly SceneClass[],
): string[] {
  const { class: deviceClass } = device.attachment;
  const { cli } = classes.find((one) => one.deviceClass.name === deviceClass.name)!;
  const table = tableOf(device);
  const options = cli.options.flatMap((option) => {
    const key = keyOf(option);
    const value = table[key];
    if (value === undefined || value === false) return [];
    if (value === true) return [`--${key}`];
    return [value].flat().flatMap((one) => [`--${key}`, String(one)]);
  });
  const recording = recordingOf(device, places);
  // Appended: a device that was killed goes on with the recording of the one before.
  const sink = recording === null ? [] : ["--sink", `wav:${recording},append`];
  const socket = ["--socket", socketOf(places, n)];
  return ["device", deviceClass.name, ...socket, ...options, ...sink];
}

/** Whether viola itself ends in the middle, so that its nodes must be kept for the next. */
export function endsViola({ cues }: Scene): boolean {
  return cues.some(({ action }) =>
    (action.kind === "kill" || action.kind === "stop") && action.device === VIOLA
  );
}

/** The lines of a controller that cues drive, each once. */
export function linesOf({ cues }: Scene, device: string): string[] {
  const lines = cues.flatMap(({ action }) =>
    action.kind === "set" && action.device === device ? [action.line] : []
  );
  return [...new Set(lines)];
}

/** The keys that `viola up` is told of a device whose back-end listens at a socket. */
const ATTACHED = ["command", "memory", "mmio-version", "priority", "lane", "keep"];

/** The file for `viola up`: every device is attached to the socket of its back-end. */
export function attachFile(scene: Scene, places: DemoPlaces): string {
  const isKept = endsViola(scene);
  const device = scene.devices.map((one, n) => {
    const { name, server, attachment } = one;
    const table = tableOf(one);
    const rest = ATTACHED.filter((key) => table[key] !== undefined)
      .map((key) => [key, table[key]]);
    return {
      class: attachment.class.name,
      name,
      loopback: isSoft(one) ? `${SOFT}:${nodeOf(places, n)}` : attachment.loopback,
      socket: server.kind === "own" ? socketOf(places, n) : server.socket,
      ...(isKept ? { keep: true } : {}),
      ...Object.fromEntries(rest),
    };
  });
  const lane = Object.fromEntries(scene.lanes.map(({ name, ...lane }) => [name, lane]));
  return stringify({ device, ...(scene.lanes.length === 0 ? {} : { lane }) });
}
