// SPDX-License-Identifier: Apache-2.0
/**
 * `viola demo FILE`: plays a scene, and judges what came of it.
 *
 * @module
 */
import { formatOfWav, FRAME_RATES } from "../lib/classes/sound/wire.ts";
import type { Action } from "../lib/scene/cues.ts";
import { checkDemo, recordingOf, takesOf } from "../lib/scene/demo_plan.ts";
import { type CardSound, judge, type Verdict } from "../lib/scene/judge.ts";
import { loadSceneClasses, readScene, type Scene, type SceneClass } from "../lib/scene/mod.ts";
import { type DemoEvent, EventLog, perform } from "../lib/scene/perform.ts";
import { pcmBytes, pieceNamed } from "../lib/scene/pieces.ts";
import { SHIPPED_SCENES } from "../lib/scene/scenes.ts";
import { actionText } from "../lib/scene/cue_words.ts";
import { type StepAction, stepsOf } from "../lib/scene/timeline.ts";
import {
  frameBytes,
  packedFormat,
  packSamples,
  sameWavFormat,
  wavFormatText,
  WavReader,
  WavWriter,
} from "../lib/wav/mod.ts";
import { check, FAILED, Failure, load, step, StopSignal, UNREACHABLE, USAGE } from "./exit.ts";
import { clear, occupy } from "./folder.ts";
import { demandLimits } from "./limits.ts";
import { counted, type Report } from "./report.ts";
import { reportFiles, writeReport } from "./demo_report.ts";
import { readSceneFile } from "./scene_file.ts";
import { makeFolder } from "./sockets_folder.ts";

/** Open files needed for each device, and besides. */
const DEVICE_FILES = 64;
const OTHER_FILES = 64;
/** The most bytes of a card's input and recording that are compared: an hour of stereo and more. */
const MOST_BYTES = 2 ** 30;

/** What a demo plays. */
export interface DemoScene {
  /** The file's name, or that of a scene that came with viola. */
  readonly title: string;
  readonly scene: Scene;
}

/** What a cue of this number plays, as a file. */
type Files = ReadonlyMap<number, string>;

/** Reads a scene that comes with viola, or a file. @throws {Failure} */
export async function findScene(name: string): Promise<DemoScene> {
  const classes = await loadSceneClasses();
  const shipped = SHIPPED_SCENES.find((one) => one.name === name);
  if (shipped !== undefined) return { title: name, scene: readScene(shipped.text, classes) };
  return { title: name, scene: await readSceneFile(name, classes) };
}

/** @throws {Failure} with status 1 for a scene that is no demo, 2 when something cannot be reached, 3 unless all held */
export async function runDemoScene(
  { title, scene }: DemoScene,
  out: string,
  report: Report,
): Promise<void> {
  const classes = await loadSceneClasses();
  await step(USAGE, `play ${title}`, () => checkDemo(scene));
  const { GUEST_MEMORY } = await load(() => import("../lib/loopback/mod.ts"));
  const openFiles = DEVICE_FILES * scene.devices.length + OTHER_FILES;
  await demandLimits("play", { openFiles, fileBytes: GUEST_MEMORY });
  using stop = await StopSignal.listen();
  using _folder = await occupy(out);
  const files = await prepare(scene, out);
  const begun = new Date().toISOString();
  const log = new EventLog((event) => tell(report, event));
  try {
    await play(scene, classes, files, out, log, stop.signal);
  } finally {
    await step(UNREACHABLE, `write to ${out}`, () => writeEvents(out, log.events));
  }
  const { events } = log;
  const read = (): CardSound[] => soundsOf(scene, files, out, events);
  const sounds = await step(FAILED, "read the recordings", read);
  const verdicts = judge(scene.expectations, { sounds, events });
  const ok = verdicts.every((verdict) => verdict.ok);
  const source = { title, begun, verdicts, events, sounds };
  const { page } = reportFiles(out);
  await step(UNREACHABLE, `write ${page}`, () => writeReport(out, source));
  report.result({ ok, verdicts, events: `${out}/events.jsonl`, report: page }, [
    ...verdicts.map(verdictLine),
    `report  ${page}`,
    `verdict ${ok ? "success" : "failure"}: ${counted(verdicts.length, "expectation")}`,
  ]);
  if (ok) return;
  const bad = verdicts.filter((verdict) => !verdict.ok);
  throw new Failure(FAILED, `Cannot confirm that ${bad.map(faultText).join("; nor that ")}`);
}

function verdictLine({ ok, expected, found }: Verdict): string {
  return `${ok ? "ok     " : "FAILED "} ${expected}: ${found}`;
}

function faultText({ expected, found }: Verdict): string {
  return `${expected}: ${found}`;
}

// ---- files ----

/** Clears the folder of what an earlier demo left, and makes or finds what is played. @throws {Failure} */
async function prepare(scene: Scene, out: string): Promise<Files> {
  const plays = scene.cues.flatMap(({ action }, cue) =>
    action.kind === "play" ? [{ cue, action }] : []
  );
  const given = plays.map(({ action }) => action.what).filter((what) => what.startsWith("wav:"))
    .map((what) => what.slice("wav:".length));
  for (const file of given) await check(`play ${file}`, () => demandPlayable(file));
  const recordings = scene.devices.map((device) => recordingOf(device, { out }))
    .filter((path) => path !== null);
  await check(
    `write to ${out}`,
    () =>
      clear([
        ...recordings,
        ...takesOf(scene, { out }),
        ...Object.values(reportFiles(out)),
        `${out}/events.jsonl`,
      ], given),
  );
  const files = new Map<number, string>();
  for (const { cue, action } of plays) {
    const make = (): string => fileOf(action, cue, out, given);
    files.set(cue, await step(UNREACHABLE, `write to ${out}`, make));
  }
  demandOneFormat(scene, files);
  return files;
}

/** @throws {Failure} when no card can play a file @throws {WavError} */
function demandPlayable(path: string): void {
  using reader = WavReader.open(path);
  const { format, frames } = reader;
  if (frames === 0) throw new Failure(USAGE, `Cannot play ${path}: it has no samples`);
  if (formatOfWav(format) !== undefined && FRAME_RATES.includes(format.rate)) return;
  throw new Failure(USAGE, `Cannot play ${path}: no card has ${wavFormatText(format)}`);
}

/** The file of a cue; a piece is written to the folder. */
function fileOf(
  { what, seconds }: Extract<Action, { kind: "play" }>,
  cue: number,
  out: string,
  given: readonly string[],
): string {
  if (what.startsWith("wav:")) return what.slice("wav:".length);
  const path = `${out}/cue${cue + 1}-${what}.wav`;
  clear([path], given);
  const piece = pieceNamed(what, seconds);
  const { rate, channels, bits } = piece;
  using writer = WavWriter.create(path, { encoding: "pcm", bits, channels, rate });
  writer.write(pcmBytes(piece));
  writer.commit();
  return path;
}

/** All that a card plays goes to one recording. @throws {Failure} */
function demandOneFormat({ cues, devices }: Scene, files: Files): void {
  for (const { name } of devices) {
    const played = [...files].filter(([cue]) => {
      const { action } = cues[cue]!;
      return action.kind === "play" && action.device === name;
    }).map(([, file]) => {
      using reader = WavReader.open(file);
      return { file, format: reader.format };
    });
    const [first] = played;
    const other = played.find(({ format }) => !sameWavFormat(format, first!.format));
    if (other === undefined) continue;
    const is = `${wavFormatText(other.format)}, and ${first!.file} ${wavFormatText(first!.format)}`;
    throw new Failure(
      USAGE,
      `Cannot play ${other.file} on ${name} too: it is ${is}; a card plays one format in a demo`,
    );
  }
}

async function writeEvents(out: string, events: readonly DemoEvent[]): Promise<void> {
  const lines = events.map((event) => `${JSON.stringify(event)}\n`);
  await Deno.writeTextFile(`${out}/events.jsonl`, lines.join(""));
}

// ---- playing ----

/** How often the cards are looked at, in milliseconds. */
const SAMPLE_MS = 100;

async function play(
  scene: Scene,
  classes: readonly SceneClass[],
  files: Files,
  out: string,
  log: EventLog,
  signal: AbortSignal,
): Promise<void> {
  const { SceneStage } = await load(() => import("./demo_stage.ts"));
  await using stack = new AsyncDisposableStack();
  const places = { folder: await makeFolder(stack), out };
  const fileOf = (cue: number): string => files.get(cue)!;
  const stage = stack.use(
    await SceneStage.start({ scene, classes, places, log, fileOf }, signal),
  );
  const cards = scene.devices.map(({ name }) => name).filter((name) => stage.isCard(name));
  const timer = setInterval(() => cards.forEach((card) => sample(stage, card, log)), SAMPLE_MS);
  stack.defer(() => clearInterval(timer));
  await Promise.race([perform(stepsOf(scene.cues), stage, log, signal), stage.trouble]);
}

type AnyStage = import("./demo_stage.ts").SceneStage;

/** Notes how far a card is that plays. */
function sample(stage: AnyStage, device: string, log: EventLog): void {
  const now = stage.progressOf(device);
  if (now === null) return;
  log.add("sample", { device, ...now });
}

/** Events that are only noted. */
const UNREPORTED = ["sample", "state", "connected", "disconnected", "found", "started", "waiting"];

/** Reports an event as it happens. */
function tell(report: Report, one: DemoEvent): void {
  const { t, event, device, text } = one;
  if (UNREPORTED.includes(event)) return;
  const what = event === "cue" ? actionText(one as unknown as StepAction) : text ?? "";
  const who = device === undefined ? "" : `${device}: `;
  const said = `${t.toFixed(3).padStart(8)} s  ${who}${what === "" ? event : what}`;
  if (event === "failed") report.problem(one, said.trim());
  else report.fact(one, said);
}

// ---- what came of it ----

/** What was played and recorded, of each card that has both. */
function soundsOf(
  scene: Scene,
  files: Files,
  out: string,
  events: readonly DemoEvent[],
): CardSound[] {
  return scene.devices.flatMap((device) => {
    const recording = recordingOf(device, { out });
    const played = events.filter((one) => one.event === "played" && one.device === device.name);
    if (recording === null || played.length === 0) return [];
    const inputs = played.map(({ cue, frames }) =>
      readAll(files.get(Number(cue))!, Number(frames))
    );
    const recorded = readAll(recording);
    const { format } = inputs[0]!;
    if (!sameWavFormat(packedFormat(format), packedFormat(recorded.format))) return [];
    const input = concat(inputs.map(({ bytes }) => bytes));
    return [{ device: device.name, format, input, recording: recorded.bytes }];
  });
}

/** A file's samples, without padding. @throws {WavError} @throws {Error} for a file that is too large */
function readAll(path: string, most = Infinity): Pick<CardSound, "format"> & { bytes: Uint8Array } {
  using reader = WavReader.open(path, most);
  const { format, frames } = reader;
  const length = frames * frameBytes(format);
  if (length > MOST_BYTES) {
    throw new Error(
      `Cannot compare ${path}: it has ${length} bytes, expected at most ${MOST_BYTES}`,
    );
  }
  const bytes = new Uint8Array(length);
  reader.read(bytes);
  return { format, bytes: packSamples(format, bytes) };
}

function concat(all: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const one of all) {
    bytes.set(one, at);
    at += one.length;
  }
  return bytes;
}
