// SPDX-License-Identifier: Apache-2.0
/**
 * Whether two WAV files hold the same sound, to the last bit.
 *
 * @module
 */
import {
  frameBytes,
  packedFormat,
  packSamples,
  sameWavFormat,
  wavFormatText,
  WavReader,
} from "../lib/wav/mod.ts";

/** What a comparison found. */
export interface Comparison {
  equal: boolean;
  /** Frames in the file that was made. */
  frames: number;
  /** How it differs, in words; empty when it does not. */
  difference: string;
}

/** Frames that are compared at a time. */
const CHUNK = 1 << 16;

/**
 * Compares the samples of two files, all of them, and their formats; how their headers are laid out is no matter, nor
 * whether 24-bit samples lie in 3 bytes or in 4.
 *
 * @param original What it must be equal to
 * @param copy What was made
 * @param most Frames of the original that count
 * @throws {WavError} when one of them cannot be read
 */
export function compareWav(original: string, copy: string, most = Infinity): Comparison {
  using a = WavReader.open(original, most);
  using b = WavReader.open(copy);
  const { frames } = b;
  const differs = (difference: string) => ({ equal: false, frames, difference });
  if (!sameWavFormat(packedFormat(a.format), packedFormat(b.format))) {
    return differs(`it is ${wavFormatText(b.format)}, expected ${wavFormatText(a.format)}`);
  }
  const at = firstDifference(a, b);
  if (at < Math.min(a.frames, b.frames)) return differs(`frame ${at} is another`);
  if (a.frames !== b.frames) return differs(`it has ${frames} frames, expected ${a.frames}`);
  return { equal: true, frames, difference: "" };
}

/** The first frame that differs, or how many the shorter one has. */
function firstDifference(a: WavReader, b: WavReader): number {
  const size = frameBytes(packedFormat(a.format));
  const [readLeft, readRight] = [a, b].map(packedReads);
  for (let base = 0;; base += CHUNK) {
    const [left, right] = [readLeft!(), readRight!()];
    const length = Math.min(left.length, right.length);
    for (let i = 0; i < length; i++) {
      if (left[i] !== right[i]) return base + Math.floor(i / size);
    }
    if (length < CHUNK * size) return base + length / size;
  }
}

/** Reads a file in chunks of so many frames, without the padding of its samples. */
function packedReads(reader: WavReader): () => Uint8Array {
  const buffer = new Uint8Array(CHUNK * frameBytes(reader.format));
  return () => packSamples(reader.format, buffer.subarray(0, reader.read(buffer)));
}
