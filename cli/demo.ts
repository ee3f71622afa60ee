// SPDX-License-Identifier: Apache-2.0
/**
 * `viola demo`: two virtual sound cards, two files, the whole chain, and whether every sample arrived.
 *
 * @module
 */
import type { Command } from "commander";
import { MAX_CHANNELS } from "../lib/device/spec.ts";
import type { TransferResult } from "../lib/guest/mod.ts";
import { formatOfWav, FRAME_RATES } from "../lib/virtio/sound.ts";
import { type WavFormat, wavFormatText, WavReader, WavWriter } from "../lib/wav.ts";
import { compareWav } from "./compare.ts";
import { check, FAILED, Failure, step, StopSignal, UNREACHABLE, USAGE } from "./exit.ts";
import { choice, collect } from "./options.ts";
import { gong, pcmBytes, type Piece, prelude } from "./pieces.ts";
import { Report, tenths } from "./report.ts";
import { cardFault, type CardVerdict, type Part, type Verdict, verdictText } from "./verdict.ts";

/** As commander gives them. */
interface DemoOptions {
  play?: string[];
  out: string;
  fast?: boolean;
  memory: string;
  json?: boolean;
}

/** What a card without a file plays. */
const PIECES = [prelude, gong] as const;

/** Adds the subcommand. */
export function addDemo(program: Command): void {
  program.command("demo")
    .description(
      "Play two pieces into two virtual sound cards, through viola, and compare what comes out.",
    )
    .option("--play <file>", "a WAV file for the first card; again for the second", collect)
    .option("--out <folder>", "where the files that come out go", "demo-out")
    .option("--fast", "as fast as it goes, not in real time")
    .option("--memory <mode>", "isolated or direct", "isolated")
    .option("--json", "report one JSON object, at the end")
    .action(runDemo);
}

/** @throws {Failure} with status 3 unless all is well */
async function runDemo(options: DemoOptions): Promise<void> {
  using stop = new StopSignal();
  const report = new Report(options.json === true);
  const memory = choice("--memory", options.memory, ["isolated", "direct"]);
  const pace = options.fast === true ? "free" : "real";
  const parts = await prepareParts(options.play ?? [], options.out);
  for (const { card, input, format } of parts) {
    report.text(`card ${card}  plays ${input}, ${wavFormatText(format)}`);
  }
  const { playParts, StepClock } = await import("./stage.ts");
  const clock = new StepClock();
  const results = await playParts(parts, { memory, pace }, clock, report, stop.signal);
  const cards = await step(
    FAILED,
    "compare",
    () => parts.map((part, i) => judge(part, results[i]!)),
  );
  clock.mark("compared");
  const faults = cards.map(cardFault).filter((fault) => fault !== "");
  const ok = faults.length === 0;
  const verdict: Verdict = { ok, pace, memory, cards, steps: clock.steps, ms: clock.ms };
  report.object(verdict);
  report.text(verdictText(verdict));
  if (!ok) throw new Failure(FAILED, `Cannot call it well: ${faults.join("; ")}`);
}

function judge(part: Part, { xruns, longestPeriodMs }: TransferResult): CardVerdict {
  const comparison = compareWav(part.input, part.output);
  return { ...part, ...comparison, xruns, longestPeriodMs: tenths(longestPeriodMs) };
}

/**
 * Finds or makes what the cards play, and makes room for what comes out.
 *
 * @param files Those of the first cards; the others play pieces of their own
 * @throws {Failure} with status 1 for files that no card can play, 2 for what cannot be reached
 */
async function prepareParts(files: readonly string[], folder: string): Promise<Part[]> {
  if (files.length > PIECES.length) {
    const is = `${files.length} × --play given, expected at most ${PIECES.length}`;
    throw new Failure(USAGE, `Cannot play on ${PIECES.length} cards: ${is}`);
  }
  for (const file of files) await check(`play ${file}`, () => readPlayable(file));
  await step(UNREACHABLE, `make ${folder}`, () => Deno.mkdir(folder, { recursive: true }));
  const outputs = PIECES.map((_, card) => `${folder}/card${card}.wav`);
  for (const path of outputs) await check(`write ${path}`, () => clear(path, files));
  const inputs = await step(
    UNREACHABLE,
    `write to ${folder}`,
    () => PIECES.map((compose, card) => files[card] ?? writePiece(folder, compose(), files)),
  );
  return inputs.map((input, card) => {
    return { card, input, output: outputs[card]!, ...readPlayable(input), priority: card };
  });
}

/** What a file holds. @throws {Failure} when no card can play it @throws {WavError} when it is no WAV file */
function readPlayable(path: string): { format: WavFormat; frames: number } {
  using reader = WavReader.open(path);
  const { format, frames } = reader;
  const known = formatOfWav(format) !== undefined && FRAME_RATES.includes(format.rate);
  if (!known || format.channels > MAX_CHANNELS) {
    const expected = `at most ${MAX_CHANNELS} channels at one of ${FRAME_RATES.join(", ")} Hz`;
    const is = wavFormatText(format);
    throw new Failure(USAGE, `Cannot play ${path}: it is ${is}, expected ${expected}`);
  }
  if (frames === 0) throw new Failure(USAGE, `Cannot play ${path}: it holds no sound`);
  return { format, frames };
}

function writePiece(folder: string, piece: Piece, files: readonly string[]): string {
  const { title, rate, channels, bits } = piece;
  const path = `${folder}/${title}.wav`;
  clear(path, files);
  using writer = WavWriter.create(path, { encoding: "pcm", bits, channels, rate });
  writer.write(pcmBytes(piece));
  writer.commit();
  return path;
}

/**
 * Removes what an earlier demo left, so that nothing old is taken for new.
 *
 * @throws {Failure} when it is to be played
 */
function clear(path: string, files: readonly string[]): void {
  try {
    const real = Deno.realPathSync(path);
    const played = files.find((file) => Deno.realPathSync(file) === real);
    if (played !== undefined) {
      throw new Failure(USAGE, `Cannot play ${played}: the demo writes to it, expected another`);
    }
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
