// SPDX-License-Identifier: Apache-2.0
/**
 * Whether two WAV files hold the same sound, to the last bit.
 *
 * @module
 */
import { frameBytes, sameWavFormat, wavFormatText, WavReader } from "../lib/wav.ts";

/** What a comparison found. */
export interface Comparison {
  equal: boolean;
  /** Frames in the file that was made. */
  frames: number;
  /** How it differs, in words; empty when it does not. */
  difference: string;
}

const CHUNK = 1 << 16;

/**
 * Compares the samples of two files, all of them, and their formats; how their headers are laid out is no matter.
 *
 * @param original What it must be equal to
 * @param copy What was made
 * @throws {WavError} when one of them cannot be read
 */
export function compareWav(original: string, copy: string): Comparison {
  using a = WavReader.open(original);
  using b = WavReader.open(copy);
  const { frames } = b;
  const differs = (difference: string) => ({ equal: false, frames, difference });
  if (!sameWavFormat(a.format, b.format)) {
    return differs(`it is ${wavFormatText(b.format)}, expected ${wavFormatText(a.format)}`);
  }
  const at = firstDifference(a, b);
  if (at < Math.min(a.frames, b.frames)) return differs(`frame ${at} is another`);
  if (a.frames !== b.frames) return differs(`it has ${frames} frames, expected ${a.frames}`);
  return { equal: true, frames, difference: "" };
}

/** The first frame that differs, or how many the shorter one has. */
function firstDifference(a: WavReader, b: WavReader): number {
  const size = frameBytes(a.format);
  const [left, right] = [new Uint8Array(CHUNK * size), new Uint8Array(CHUNK * size)];
  for (let base = 0;; base += CHUNK) {
    const length = Math.min(a.read(left), b.read(right));
    for (let i = 0; i < length; i++) {
      if (left[i] !== right[i]) return base + Math.floor(i / size);
    }
    if (length < left.length) return base + length / size;
  }
}
