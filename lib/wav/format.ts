// SPDX-License-Identifier: Apache-2.0
/**
 * The format of the samples in a WAV file, and the error of a file that cannot be used.
 *
 * @module
 */

/** The format of a file's samples: interleaved, little-endian, `bits` each (8 is unsigned in "pcm"). */
export interface WavFormat {
  readonly encoding: "pcm" | "float" | "alaw" | "mulaw";
  /** Bits that a sample has: pcm 8, 16, 24, 32; float 32, 64; alaw and mulaw 8. */
  readonly bits: number;
  /** Bits that a sample takes where that is more: 24-bit pcm in the lower 24 of 32 (ALSA's S24_LE). */
  readonly container?: 32;
  readonly channels: number;
  /** Frames per second. */
  readonly rate: number;
}

/** A file that cannot be read or written as WAV; the message names it and says why. */
export class WavError extends Error {
  override readonly name = "WavError";

  /**
   * @param action "read", "write" or "append to"
   * @param path The file
   * @param why What was found and what was expected
   */
  constructor(action: string, path: string, why: string, options?: ErrorOptions) {
    super(`Cannot ${action} ${path}: ${why}`, options);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is WavError {
    return error instanceof Error && error.name === "WavError";
  }
}

/** Bytes of one sample of one channel. */
export function sampleBytes({ bits, container }: WavFormat): number {
  return (container ?? bits) / 8;
}

/** Bytes of one frame: a sample of each channel. */
export function frameBytes(format: WavFormat): number {
  return format.channels * sampleBytes(format);
}

/** A format in words, such as "16-bit pcm, 2 channels, 48000 Hz". */
export function wavFormatText({ encoding, bits, container, channels, rate }: WavFormat): string {
  const padding = container === undefined ? "" : ` in ${container} bits`;
  const plural = channels === 1 ? "" : "s";
  return `${bits}-bit ${encoding}${padding}, ${channels} channel${plural}, ${rate} Hz`;
}

/** Whether samples of one format are samples of the other. */
export function sameWavFormat(a: WavFormat, b: WavFormat): boolean {
  return a.encoding === b.encoding && a.bits === b.bits && a.container === b.container &&
    a.channels === b.channels && a.rate === b.rate;
}

/** The same samples without padding: those that {@linkcode packSamples} makes. */
export function packedFormat({ container: _, ...format }: WavFormat): WavFormat {
  return format;
}

/**
 * Takes the padding out of whole samples, in place: of 24 bits in 32, the fourth byte of each.
 *
 * @returns the bytes that are left, from the beginning on
 */
export function packSamples({ container }: WavFormat, bytes: Uint8Array): Uint8Array {
  if (container === undefined) return bytes;
  const count = bytes.length / 4;
  for (let i = 1; i < count; i++) bytes.copyWithin(3 * i, 4 * i, 4 * i + 3);
  return bytes.subarray(0, 3 * count);
}
