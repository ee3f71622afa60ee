// SPDX-License-Identifier: Apache-2.0
/**
 * Compares two WAV files bit by bit.
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

/** Result of a comparison. */
export interface Comparison {
  equal: boolean;
  /** Frames in the copy. */
  frames: number;
  /** The first difference, as text; empty when there is none. */
  difference: string;
}

/** Frames that are compared at once. */
const CHUNK = 1 << 16;

/**
 * Compares all samples of two files and their formats. The layout of their headers does not matter, nor
 * whether 24-bit samples take 3 or 4 bytes.
 *
 * @param original The expected file
 * @param copy The file to compare with it
 * @param most The most frames of the original to compare
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
  if (at < Math.min(a.frames, b.frames)) return differs(`frame ${at} differs`);
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
