// SPDX-License-Identifier: Apache-2.0
/**
 * What a demo's report says: figures, from what was played and recorded and from what happened. The page and report.json
 * are made from the same.
 *
 * @module
 */
import { frameBytes, packedFormat, wavFormatText } from "../../wav/mod.ts";
import { VIOLA } from "../cue_schema.ts";
import { actionText } from "../cue_words.ts";
import { type CardSound, latenciesOf, percentile, type Verdict } from "../judge.ts";
import type { DemoEvent } from "../perform.ts";
import type { StepAction } from "../timeline.ts";
import { type Column, columnsOf, type Place } from "./waveform.ts";

/** Something on the time axis. */
export interface Moment {
  /** Seconds. */
  readonly t: number;
  readonly device: string | null;
  readonly text: string;
}

/** A stretch of the time axis. */
export interface Stretch {
  /** Seconds. */
  readonly from: number;
  /** The same; the end of the axis when it has not ended. */
  readonly to: number;
  readonly hasEnded: boolean;
}

/** The latencies that were seen, in milliseconds. */
export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
  /** Of the histogram's bars, from 0 on: the width of each, and how many were seen in it. */
  readonly barMs: number;
  readonly bars: readonly number[];
}

/** A card. */
export interface CardReport {
  readonly device: string;
  /** Its format, in words. */
  readonly format: string;
  /** The recording's file, from the report's folder. */
  readonly recording: string;
  /** Its length, in seconds. */
  readonly seconds: number;
  readonly columns: readonly Column[];
  /** While its back-end, or viola, was away. */
  readonly outages: readonly Stretch[];
  readonly pauses: readonly Stretch[];
  /** When the device reported an underrun. */
  readonly xruns: readonly number[];
  /** null when it was never seen running. */
  readonly latency: Latency | null;
}

/** All. */
export interface DemoReport {
  readonly title: string;
  readonly ok: boolean;
  /** When it was begun, as ISO 8601 has it. */
  readonly begun: string;
  /** The length of the time axis. */
  readonly seconds: number;
  readonly verdicts: readonly Verdict[];
  readonly cues: readonly Moment[];
  /** What came of them, and what viola and the devices reported. */
  readonly notes: readonly Moment[];
  readonly cards: readonly CardReport[];
  /** Versions and the machine, by their names. */
  readonly about: Readonly<Record<string, string>>;
}

/** What a report is made from. */
export interface ReportSource {
  readonly title: string;
  readonly begun: string;
  readonly verdicts: readonly Verdict[];
  readonly events: readonly DemoEvent[];
  readonly sounds: readonly CardSound[];
  readonly about: Readonly<Record<string, string>>;
}

/** Columns of a waveform. */
const COLUMNS = 500;
/** Events that are not told one by one. */
const UNTOLD = [
  "cue",
  "sample",
  "state",
  "connected",
  "disconnected",
  "found",
  "started",
  "running",
];

/** Makes a report. */
export function reportOf(source: ReportSource): DemoReport {
  const { title, begun, verdicts, events, sounds, about } = source;
  const seconds = lengthOf(events);
  const shown = events.filter(({ t }) => t >= 0 && t <= seconds);
  return {
    title,
    ok: verdicts.every(({ ok }) => ok),
    begun,
    seconds,
    verdicts,
    cues: shown.filter(({ event }) => event === "cue").map((one) => ({
      t: one.t,
      device: one.device ?? null,
      text: actionText(one as unknown as StepAction),
    })),
    notes: shown.filter(({ event }) => !UNTOLD.includes(event)).map((
      { t, event, device, text },
    ) => ({
      t,
      device: device ?? null,
      text: text || event,
    })),
    cards: sounds.map((sound) => cardOf(sound, shown, seconds)),
    about,
  };
}

/** Until the last thing that a cue did: what happens when all is stopped is no part of it. */
function lengthOf(events: readonly DemoEvent[]): number {
  const last = events.findLast(({ cue, event }) => cue !== undefined && event !== "sample");
  return Math.max(0.1, last?.t ?? 0);
}

function cardOf(sound: CardSound, events: readonly DemoEvent[], seconds: number): CardReport {
  const { device, recording } = sound;
  const format = packedFormat(sound.format);
  const cues = events.filter(({ event }) => event === "cue");
  const isAbout = (one: DemoEvent): boolean => one.device === device;
  return {
    device,
    format: wavFormatText(format),
    recording: `${device}.wav`,
    seconds: recording.length / frameBytes(format) / format.rate,
    columns: columnsOf(recording, format, placesOf(device, events), seconds, COLUMNS),
    outages: outagesOf(device, events, seconds),
    pauses: stretches(
      cues.filter(isAbout),
      ({ kind }) => kind === "pause",
      ({ kind }) => kind === "resume" || kind === "end",
      seconds,
    ),
    xruns: events.filter((one) => one.event === "xrun" && isAbout(one)).map(({ t }) => t),
    latency: latencyOf(latenciesOf(device, events)),
  };
}

/** Where the recording of a card has got to: what was played before, and the samples of each playback. */
export function placesOf(device: string, events: readonly DemoEvent[]): Place[] {
  const places: Place[] = [];
  let before = 0;
  let frame = 0;
  for (const one of events) {
    if (one.device !== device) continue;
    if (one.event === "cue" && one.kind === "play") places.push({ t: one.t, frame: before });
    if (one.event === "sample") frame = before + Number(one.position);
    else if (one.event === "played") frame = before += Number(one.frames);
    else continue;
    places.push({ t: one.t, frame });
  }
  return places;
}

/** While a card's back-end, or viola, was away: from a kill or a stop until the bridge has resumed. */
function outagesOf(device: string, events: readonly DemoEvent[], seconds: number): Stretch[] {
  const ends = (one: DemoEvent): boolean =>
    one.event === "cue" && (one.kind === "kill" || one.kind === "stop") &&
    (one.device === device || one.device === VIOLA);
  const resumes = (one: DemoEvent): boolean => one.event === "resumed" && one.device === device;
  return stretches(events, ends, resumes, seconds);
}

/** Stretches between events; what begins twice before it ends is one. */
function stretches(
  events: readonly DemoEvent[],
  begins: (event: DemoEvent) => boolean,
  ends: (event: DemoEvent) => boolean,
  seconds: number,
): Stretch[] {
  const found: Stretch[] = [];
  let from: number | null = null;
  for (const one of events) {
    if (from === null && begins(one)) from = one.t;
    else if (from !== null && ends(one)) {
      found.push({ from, to: one.t, hasEnded: true });
      from = null;
    }
  }
  if (from !== null) found.push({ from, to: seconds, hasEnded: false });
  return found;
}

/** Bars of a histogram. */
const BARS = 24;

function latencyOf(values: readonly number[]): Latency | null {
  if (values.length === 0) return null;
  const most = Math.max(...values);
  const barMs = Math.max(1, Math.ceil((most + 0.1) / BARS));
  const bars = Array<number>(BARS).fill(0);
  for (const value of values) bars[Math.floor(value / barMs)]!++;
  return {
    count: values.length,
    p50: percentile(values, 0.5),
    p99: percentile(values, 0.99),
    most,
    barMs,
    bars,
  };
}
