// SPDX-License-Identifier: Apache-2.0
/** WAV files whose samples tell where they belong, so that a missing, repeated or padded one shows. */
import { frameBytes, type WavFormat, WavReader, WavWriter } from "../../lib/wav/mod.ts";

/** Byte `i` of the samples: a sequence that repeats after no power of two, so no period or page looks like the next. */
export function numberedBytes(offset: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => ((offset + i) * 7 + ((offset + i) >> 8) * 13) % 253);
}

/** Writes so many frames. @returns the samples' bytes */
export function writeNumbered(
  path: string,
  format: WavFormat,
  frames: number,
): Uint8Array<ArrayBuffer> {
  const bytes = numberedBytes(0, frames * frameBytes(format));
  using writer = WavWriter.create(path, format);
  writer.write(bytes);
  writer.commit();
  return bytes;
}

/** All samples of a file. */
export function readSamples(path: string): Uint8Array<ArrayBuffer> {
  using reader = WavReader.open(path);
  const bytes = new Uint8Array(reader.frames * frameBytes(reader.format));
  reader.read(bytes);
  return bytes;
}
