// SPDX-License-Identifier: Apache-2.0
/**
 * `viola demo`: plays two files into two virtual sound cards, through the whole chain, and checks that every sample arrived.
 *
 * @module
 */
import type { Command } from "commander";
import { MAX_CHANNELS } from "../lib/classes/sound/spec.ts";
import { formatOfWav, FRAME_RATES } from "../lib/classes/sound/wire.ts";
import { frameBytes, wavFormatText, WavReader, WavWriter } from "../lib/wav/mod.ts";
import { compareWav, type Comparison } from "./compare.ts";
import {
  check,
  FAILED,
  Failure,
  load,
  messageOf,
  step,
  StopSignal,
  UNREACHABLE,
  USAGE,
} from "./exit.ts";
import { clear, occupy } from "./folder.ts";
import { demandLimits } from "./limits.ts";
import { choice, collect } from "./options.ts";
import { gong, pcmBytes, type Piece, prelude } from "../lib/scene/pieces.ts";
import { Report, tenths } from "./report.ts";
import type { Played } from "./stage.ts";
import {
  cardFault,
  type CardVerdict,
  type Part,
  remarkLines,
  restText,
  type Verdict,
  verdictLines,
} from "./verdict.ts";

/** The options, from commander. */
interface DemoOptions {
  play?: string[];
  out: string;
  fast?: boolean;
  memory?: string;
  list?: boolean;
  json?: boolean;
}

/** Open files needed: the adapter for two cards needs the most of all processes; and some more. */
const OPEN_FILES = 96;
/** More than the header of an output file. */
const HEADER_BYTES = 4096;

/** The pieces for cards without a file. */
const PIECES = [prelude, gong] as const;

const HELP = `
A scene is a file as for viola up, with what happens when, and what shall hold:
  [[device]]                 [[cue]]                [[expect]]
  class = "sound"            at = 0                 equal = "music"
  name = "music"             play = "prelude"
  loopback = "soft"          on = "music"           (viola schema: all keys)`;

/** Adds the subcommand. */
export function addDemo(program: Command): void {
  program.command("demo")
    .description("Play sound into virtual cards, through viola, and compare the output.")
    .argument("[scene]", "a scene file, or one of --list (two pieces on two cards)")
    .option("--list", "print the scenes that come with viola")
    .option(
      "--play <file>",
      "a WAV file for the first card; a second one\nfor the second card",
      collect,
    )
    .option("--out <folder>", "folder for the output files", "demo-out")
    .option("--fast", "as fast as possible, not in real time")
    .option("--memory <mode>", "isolated (default) or direct")
    .option("--json", "report as JSON, the verdict last")
    .addHelpText("after", HELP)
    .action(run);
}

async function run(name: string | undefined, options: DemoOptions): Promise<void> {
  if (options.list) return await list(new Report(options.json === true));
  if (name === undefined) return await runDemo(options);
  for (const option of ["play", "fast", "memory"] as const) {
    if (options[option] === undefined) continue;
    throw new Failure(
      USAGE,
      `Cannot use --${option} with ${name}: the scene says how it is played`,
    );
  }
  const { findScene, runDemoScene } = await import("./demo_scene.ts");
  await runDemoScene(await findScene(name), options.out, new Report(options.json === true));
}

async function list(report: Report): Promise<void> {
  const { SHIPPED_SCENES } = await import("../lib/scene/scenes.ts");
  const scenes = SHIPPED_SCENES.map(({ name, description }) => ({ name, description }));
  report.result(
    { scenes },
    scenes.map(({ name, description }) => `${name.padEnd(10)} ${description}`),
  );
}

/** @throws {Failure} with status 3 unless every sample arrived */
async function runDemo(options: DemoOptions): Promise<void> {
  const report = new Report(options.json === true);
  const memory = choice("--memory", options.memory ?? "isolated", ["isolated", "direct"]);
  const pace = options.fast === true ? "free" : "real";
  const files = options.play ?? [];
  await checkFiles(files);
  await checkLimits(files);
  using stop = await StopSignal.listen();
  using _folder = await occupy(options.out);
  const parts = await prepareParts(files, options.out);
  const { playParts, StepClock } = await load(() => import("./stage.ts"));
  for (const part of parts) {
    const { card, input, format } = part;
    const plays = `card ${card}  plays ${input}, ${wavFormatText(format)}${restText(part)}`;
    report.text(plays, ...remarkLines(part));
  }
  const clock = new StepClock();
  const results = await playParts(parts, { memory, pace }, clock, report, stop.signal);
  const cards = parts.map((part, i) => judge(part, results[i]!));
  clock.mark("compared");
  const faults = cards.map(cardFault).filter((fault) => fault !== "");
  const ok = faults.length === 0;
  const verdict: Verdict = { ok, pace, memory, cards, steps: clock.steps, ms: clock.ms };
  report.result(verdict, verdictLines(verdict));
  if (!ok) {
    throw new Failure(FAILED, `Cannot confirm that every sample arrived: ${faults.join("; ")}`);
  }
}

function judge(part: Part, played: Played): CardVerdict {
  const { xruns, ioErrors, deviceErrors } = played;
  const longestPeriodMs = tenths(played.longestPeriodMs);
  const remarks = [...part.remarks, ...growthOf(part)];
  return { ...part, ...compare(part), remarks, xruns, ioErrors, deviceErrors, longestPeriodMs };
}

/** A remark on an input that is still being recorded. */
function growthOf({ input, frames }: Part): string[] {
  try {
    using reader = WavReader.open(input);
    if (reader.frames <= frames) return [];
    return [
      `it has grown during the demo: the first ${frames} of ${reader.frames} frames were played`,
    ];
  } catch {
    return []; // the comparison says why
  }
}

/** A device that failed may have left no file, or an unreadable one. */
function compare({ input, output, frames }: Part): Comparison {
  try {
    return compareWav(input, output, frames);
  } catch (error) {
    return { equal: false, frames: 0, difference: messageOf(error) };
  }
}

/** @throws {Failure} with status 1 for files that no card can play, 2 for those that cannot be read */
async function checkFiles(files: readonly string[]): Promise<void> {
  if (files.length > PIECES.length) {
    const is = `${files.length} × --play given, expected at most ${PIECES.length}`;
    throw new Failure(USAGE, `Cannot play on ${PIECES.length} cards: ${is}`);
  }
  for (const file of files) await check(`play ${file}`, () => readPlayable(file));
}

/** @throws {Failure} with status 2 when a limit of this process is too low for a demo */
async function checkLimits(files: readonly string[]): Promise<void> {
  const { GUEST_MEMORY } = await load(() => import("../lib/loopback/mod.ts"));
  const outputs = files.map((file) => {
    const { format, frames } = readPlayable(file);
    return frames * frameBytes(format) + HEADER_BYTES;
  });
  await demandLimits("play", {
    openFiles: OPEN_FILES,
    fileBytes: Math.max(GUEST_MEMORY, ...outputs),
  });
}

/**
 * Finds or makes the input files, and prepares the output folder.
 *
 * @param files For the first cards; the others play viola's own pieces
 * @throws {Failure} with status 1 for an input that is also an output, 2 for a file that cannot be reached
 */
async function prepareParts(files: readonly string[], folder: string): Promise<Part[]> {
  const outputs = PIECES.map((_, card) => `${folder}/card${card}.wav`);
  await check(`write to ${folder}`, () => clear(outputs, files));
  const inputs = await step(
    UNREACHABLE,
    `write to ${folder}`,
    () => PIECES.map((compose, card) => files[card] ?? writePiece(folder, compose(), files)),
  );
  return inputs.map((input, card) => {
    return { card, input, output: outputs[card]!, ...readPlayable(input), priority: card };
  });
}

/** A file's format and length. @throws {Failure} when no card can play it @throws {WavError} when it is not a WAV file */
function readPlayable(path: string): Pick<Part, "format" | "frames" | "restBytes" | "remarks"> {
  using reader = WavReader.open(path);
  const { format, frames, remarks } = reader;
  const known = formatOfWav(format) !== undefined && FRAME_RATES.includes(format.rate);
  if (!known || format.channels > MAX_CHANNELS) {
    const expected = `at most ${MAX_CHANNELS} channels at one of ${FRAME_RATES.join(", ")} Hz`;
    const is = wavFormatText(format);
    throw new Failure(USAGE, `Cannot play ${path}: it is ${is}, expected ${expected}`);
  }
  if (frames === 0) {
    const why = ["it has no samples", ...remarks].join("; ");
    throw new Failure(USAGE, `Cannot play ${path}: ${why}`);
  }
  return { format, frames, restBytes: reader.rest, remarks: [...remarks] };
}

function writePiece(folder: string, piece: Piece, files: readonly string[]): string {
  const { title, rate, channels, bits } = piece;
  const path = `${folder}/${title}.wav`;
  clear([path], files);
  using writer = WavWriter.create(path, { encoding: "pcm", bits, channels, rate });
  writer.write(pcmBytes(piece));
  writer.commit();
  return path;
}
