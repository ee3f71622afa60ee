// SPDX-License-Identifier: Apache-2.0
/**
 * Judges a demo: each expectation, from what was played, what was recorded, and what happened.
 *
 * @module
 */
import { frameBytes, packedFormat, type WavFormat } from "../wav/mod.ts";
import { VIOLA } from "./cue_schema.ts";
import type { Expectation } from "./cues.ts";
import type { DemoEvent } from "./perform.ts";
import { follow, type Found } from "./recording.ts";

/** What was played on a card, and what it recorded. */
export interface CardSound {
  readonly device: string;
  /** Of what was played and of the recording. */
  readonly format: WavFormat;
  /** All that was played, one piece after the other, without padding. */
  readonly input: Uint8Array;
  /** What the card recorded, without padding. */
  readonly recording: Uint8Array;
}

/** Whether something holds. */
export interface Verdict {
  readonly ok: boolean;
  /** What was expected. */
  readonly expected: string;
  /** What was found. */
  readonly found: string;
}

/** What a demo left. */
export interface Evidence {
  readonly sounds: readonly CardSound[];
  readonly events: readonly DemoEvent[];
}

/** Judges each expectation; that nothing has failed is always expected, and comes last. */
export function judge(expectations: readonly Expectation[], evidence: Evidence): Verdict[] {
  const verdicts = expectations.map((one) => judgeOne(one, evidence));
  return [...verdicts, nothingFailed(evidence.events)];
}

function judgeOne(one: Expectation, evidence: Evidence): Verdict {
  const sound = evidence.sounds.find(({ device }) => device === one.device);
  switch (one.kind) {
    case "equal":
      return equal(one, sound);
    case "nothing-lost":
      return nothingLost(one.device, sound, evidence.events);
    case "no-xruns":
      return noXruns(one.device, evidence.events);
    case "latency-below":
      return latencyBelow(one.device, one.ms, evidence.events);
  }
}

function nothingFailed(events: readonly DemoEvent[]): Verdict {
  const failed = events.filter(({ event }) => event === "failed");
  const texts = failed.map(({ t, text }) => `at ${t} s: ${text}`);
  const expected = "every cue is carried out";
  return { ok: failed.length === 0, expected, found: texts.join("; ") || "every one was" };
}

const frames = (bytes: Uint8Array, { format }: CardSound): number =>
  bytes.length / frameBytes(packedFormat(format));

function equal(
  { device, from, to }: Extract<Expectation, { kind: "equal" }>,
  sound: CardSound | undefined,
): Verdict {
  const part = from === 0 && to === Infinity
    ? ""
    : ` from ${from} s to ${to === Infinity ? "the end" : `${to} s`}`;
  const expected = `the recording of ${device} equals what was played${part}`;
  if (sound === undefined) return { ok: false, expected, found: "there is no recording" };
  const size = frameBytes(packedFormat(sound.format));
  const cut = (bytes: Uint8Array): Uint8Array => {
    const place = (seconds: number): number => size * Math.round(seconds * sound.format.rate);
    return bytes.subarray(place(from), to === Infinity ? bytes.length : place(to));
  };
  const [played, recorded] = [cut(sound.input), cut(sound.recording)];
  const found = differenceOf(played, recorded, sound);
  return {
    ok: found === "",
    expected,
    found: found || `${frames(played, sound)} frames are equal`,
  };
}

/** The first difference, in words; "" when there is none. */
function differenceOf(played: Uint8Array, recorded: Uint8Array, sound: CardSound): string {
  if (played.length === 0) return "nothing was played then";
  const most = Math.min(played.length, recorded.length);
  let same = 0;
  while (same < most && played[same] === recorded[same]) same++;
  const size = frameBytes(packedFormat(sound.format));
  if (same < most) return `frame ${Math.floor(same / size)} differs`;
  if (played.length === recorded.length) return "";
  return `${frames(recorded, sound)} frames were recorded, expected ${frames(played, sound)}`;
}

/** The card's buffer: how much may be there twice after a back-end came back, in seconds. */
const BUFFER_S = 0.16;

function nothingLost(
  device: string,
  sound: CardSound | undefined,
  events: readonly DemoEvent[],
): Verdict {
  const expected = `nothing that was played on ${device} is lost`;
  if (sound === undefined) return { ok: false, expected, found: "there is no recording" };
  const size = frameBytes(packedFormat(sound.format));
  const found = follow(sound.input, sound.recording, size);
  const ends =
    events.filter((one) =>
      one.event === "cue" && (one.kind === "kill" || one.kind === "stop") &&
      (one.device === device || one.device === VIOLA)
    ).length;
  const played = frames(sound.input, sound);
  const twice = frames(sound.recording, sound) - found.covered;
  const most = Math.ceil(ends * BUFFER_S * sound.format.rate);
  const ok = found.strange === null && found.covered === played && twice <= most;
  return { ok, expected, found: lostText(found, played, twice, most) };
}

function lostText(
  { strange, covered }: Found,
  played: number,
  twice: number,
  most: number,
): string {
  if (strange !== null) return `frame ${strange} of the recording is not what was played there`;
  if (covered < played) return `${played - covered} of ${played} frames are missing`;
  if (twice > most) return `${twice} frames are there twice, expected at most ${most}`;
  return `all ${played} frames are there` +
    (twice === 0 ? ", each once" : `, ${twice} of them twice`);
}

function noXruns(device: string, events: readonly DemoEvent[]): Verdict {
  const played = events.filter((one) => one.event === "played" && one.device === device);
  const sum = (name: string): number =>
    played.reduce((all, one) => all + Number(one[name] ?? 0), 0);
  const [xruns, underruns, ioErrors] = [sum("xruns"), sum("underruns"), sum("ioErrors")];
  const ok = played.length > 0 && xruns + underruns + ioErrors === 0;
  const found = played.length === 0
    ? "nothing was played to its end"
    : `${xruns} xruns, ${underruns} underruns, ${ioErrors} I/O errors`;
  return { ok, expected: `no xruns on ${device}`, found };
}

/** The latencies that were seen on a card while it played, in milliseconds, in the order of time. */
export function latenciesOf(device: string, events: readonly DemoEvent[]): number[] {
  return events.filter((one) =>
    one.event === "sample" && one.device === device && one.state === "running"
  ).map(({ latencyMs }) => Number(latencyMs));
}

/** The value that a share of the others is not above. @param values In any order, at least one */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

function latencyBelow(device: string, ms: number, events: readonly DemoEvent[]): Verdict {
  const expected = `the latency of ${device} is below ${ms} ms`;
  const values = latenciesOf(device, events);
  if (values.length === 0) return { ok: false, expected, found: "it was never seen running" };
  const most = Math.max(...values);
  return {
    ok: most < ms,
    expected,
    found: `at most ${most} ms, half of the time ${percentile(values, 0.5)} ms or less`,
  };
}
