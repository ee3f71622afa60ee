// SPDX-License-Identifier: Apache-2.0
/**
 * WAV files, streamed: read from front to back, written so that the file is valid at every instant.
 *
 * A file is RIFF: `RIFF size WAVE`, then chunks `id size bytes`, each padded to an even length. `fmt ` has the format of the
 * samples, `data` the samples. RF64 and BW64 are the same with 64-bit sizes, in a chunk `ds64`.
 *
 * @module
 */
export {
  frameBytes,
  packedFormat,
  packSamples,
  sameWavFormat,
  sampleBytes,
  WavError,
  type WavFormat,
  wavFormatText,
} from "./format.ts";
export { WavReader } from "./reader.ts";
export { type WavProbe, WavWriter } from "./writer.ts";
