// SPDX-License-Identifier: Apache-2.0
/**
 * The specification of a sound device, as plain data, and its events.
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";
import { pipewireCommand } from "./pipewire.ts";
import type { PcmState } from "./wire.ts";

/** A sound card. Without sinks and sources it has one of each: `null` and `silence`. */
export interface SoundSpec {
  /**
   * One playback stream each:
   * `wav:FILE` overwrites the file with each playback, `wav:FILE,append` appends to it; `null` drops all samples;
   * `exec:COMMAND` runs a shell command per playback and writes samples to its standard input. If it ends before
   * the playback does, buffers fail until the stream is started again, which also runs the command again. Its environment has
   * `$RATE`, `$CHANNELS`, `$BITS` and the names of the format: `$FORMAT` (ALSA's, such as S16_LE),
   * `$PW_FORMAT` (pw-cat's), `$SOX_FORMAT` and `$FFMPEG_FORMAT`; a stream offers only formats with the names that its
   * command uses. `pipewire:[NODE][,name=NAME][,role=ROLE]` runs pw-cat so.
   */
  sinks?: string[];
  /** One capture stream each: `wav:FILE` (then silence), `silence`, `pipewire:…`, or `exec:COMMAND`, whose standard output is captured. */
  sources?: string[];
  /** "real": by a clock, at the stream's rate (the default). "free": as fast as the driver offers buffers. */
  pace?: "real" | "free";
  /** Delay between the sinks and the ear, in milliseconds: added to the latency reported to the driver. */
  latencyMs?: number;
  /** How long a command may run on after its stream's end, in milliseconds; then it is killed. @default {30000} */
  graceMs?: number;
}

/** Events of a sound device. */
export type SoundEvent =
  | { kind: "error"; text: string; stream?: number }
  | { kind: "notice"; text: string; stream?: number }
  | { kind: "state"; text: string; stream: number; state: PcmState; frames: number }
  /** Frames completed since PREPARE: at most ten of these a second and stream. */
  | {
    kind: "position";
    quiet: true;
    text: string;
    stream: number;
    frames: number;
    seconds: number;
  }
  /** `count` since PREPARE. */
  | { kind: "xrun"; text: string; stream: number; count: number };

/** The contract between the sound device and its owner. */
export interface SoundDeviceContract {
  spec: SoundSpec;
  calls: {
    /** Plugs a jack in or out. @throws {RangeError} when there is no such jack */
    setJack(id: number, connected: boolean): void;
  };
  event: SoundEvent;
}

/** Where a playback stream goes. */
export type SinkSpec =
  | { kind: "null" }
  | { kind: "wav"; path: string; append: boolean }
  | { kind: "exec"; command: string };

/** Where a capture stream comes from. */
export type SourceSpec =
  | { kind: "silence" }
  | { kind: "wav"; path: string }
  | { kind: "exec"; command: string };

const PIPEWIRE = "pipewire:[NODE][,name=NAME][,role=ROLE]";

/** Splits `kind:rest` at the first colon. */
function split(text: string): [kind: string, rest: string] {
  const colon = text.indexOf(":");
  return colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** @throws {SpecError} naming the text */
export function parseSink(text: string): SinkSpec {
  const [kind, rest] = split(text);
  if (text === "null") return { kind: "null" };
  if (kind === "exec" && rest.trim() !== "") return { kind, command: rest };
  if (kind === "wav" && rest !== "") {
    const append = rest.endsWith(",append");
    const path = append ? rest.slice(0, -",append".length) : rest;
    if (path !== "") return { kind, path, append };
  }
  const command = text.startsWith("pipewire:") ? pipewireCommand("playback", rest) : null;
  if (command !== null) return { kind: "exec", command };
  throw new SpecError(
    `Cannot play to "${text}", expected wav:FILE, wav:FILE,append, null, ${PIPEWIRE} or exec:COMMAND`,
  );
}

/** @throws {SpecError} naming the text */
export function parseSource(text: string): SourceSpec {
  const [kind, rest] = split(text);
  if (text === "silence") return { kind: "silence" };
  if (kind === "exec" && rest.trim() !== "") return { kind, command: rest };
  if (kind === "wav" && rest !== "") return { kind, path: rest };
  const command = text.startsWith("pipewire:") ? pipewireCommand("record", rest) : null;
  if (command !== null) return { kind: "exec", command };
  throw new SpecError(
    `Cannot capture from "${text}", expected wav:FILE, silence, ${PIPEWIRE} or exec:COMMAND`,
  );
}

/** The most channels that a stream offers: those for which WAV has an order. */
export const MAX_CHANNELS = 8;
const MAX_STREAMS = 32;
const MAX_GRACE_MS = 86_400_000;
/** Default of `graceMs`. */
export const DEFAULT_GRACE_MS = 30_000;

/**
 * Parses a sound specification.
 *
 * @throws {SpecError} for an unknown sink or source, a number out of range, or too many streams
 */
export function parseSound(spec: SoundSpec): { sinks: SinkSpec[]; sources: SourceSpec[] } {
  const { latencyMs = 0, graceMs = 0 } = spec;
  const isDefault = spec.sinks === undefined && spec.sources === undefined;
  const sinks = (isDefault ? ["null"] : spec.sinks ?? []).map(parseSink);
  const sources = (isDefault ? ["silence"] : spec.sources ?? []).map(parseSource);
  const count = sinks.length + sources.length;
  if (count < 1 || count > MAX_STREAMS) {
    throw new SpecError(`Cannot make a card of ${count} streams, expected 1 to ${MAX_STREAMS}`);
  }
  if (!(latencyMs >= 0 && latencyMs <= 10_000)) {
    throw new SpecError(`Cannot add a latency of ${latencyMs} ms, expected 0 to 10000`);
  }
  if (!(graceMs >= 0 && graceMs <= MAX_GRACE_MS)) {
    throw new SpecError(
      `Cannot give commands a grace time of ${graceMs} ms, expected 0 to ${MAX_GRACE_MS}`,
    );
  }
  return { sinks, sources };
}
