// SPDX-License-Identifier: Apache-2.0
/**
 * Recordings for the scenarios: noise that is the same in every run and different in every file, so that a sample that
 * is missing, repeated or in the wrong file shows. Beside each WAV file lie its samples alone.
 *
 * @module
 */
import { frameBytes, type WavFormat, WavWriter } from "../../lib/wav/mod.ts";

/** A recording. */
interface Recording {
  readonly name: string;
  readonly seconds: number;
  readonly format: WavFormat;
}

const pcm = (bits: number, channels: number, rate: number): WavFormat => ({
  encoding: "pcm",
  bits,
  channels,
  rate,
});
const float: WavFormat = { encoding: "float", bits: 32, channels: 2, rate: 48_000 };

/** Every recording; names are what scenarios know them by. */
const RECORDINGS: readonly Recording[] = [
  { name: "music", seconds: 10, format: pcm(16, 2, 48_000) },
  { name: "voice", seconds: 10, format: pcm(16, 2, 48_000) },
  { name: "short", seconds: 2, format: pcm(16, 2, 48_000) },
  { name: "long-8k", seconds: 30, format: pcm(16, 1, 8_000) },
  { name: "mono-8k", seconds: 2, format: pcm(16, 1, 8_000) },
  { name: "stereo-44k", seconds: 2, format: pcm(16, 2, 44_100) },
  { name: "s24_3", seconds: 2, format: pcm(24, 2, 48_000) },
  { name: "s32-96k", seconds: 1, format: pcm(32, 2, 96_000) },
  { name: "s16-192k", seconds: 1, format: pcm(16, 2, 192_000) },
  { name: "float", seconds: 1, format: float },
];

/** xorshift32: the same bytes for the same seed; no word of four bytes comes twice. */
function fillWithNoise(bytes: Uint8Array<ArrayBuffer>, seed: number): void {
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >>> 2);
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
}

/** Samples of a recording: noise; as floats, numbers from −1 to 1. */
function samplesOf({ format, seconds }: Recording, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frameBytes(format) * format.rate * seconds);
  fillWithNoise(bytes, seed);
  if (format.encoding === "float") {
    const integers = new Int32Array(bytes.buffer);
    new Float32Array(bytes.buffer).set(Float32Array.from(integers, (value) => value / 2 ** 31));
  }
  return bytes;
}

/** Writes NAME.wav and NAME.raw of each. */
export async function writeRecordings(folder: string): Promise<void> {
  for (const [i, recording] of RECORDINGS.entries()) {
    const samples = samplesOf(recording, 0x9e3779b9 + i);
    await Deno.writeFile(`${folder}/${recording.name}.raw`, samples);
    using writer = WavWriter.create(`${folder}/${recording.name}.wav`, recording.format);
    writer.write(samples);
    writer.commit();
  }
}
