// SPDX-License-Identifier: Apache-2.0
/**
 * Environment variables for a stream's command: above all the sample format, under the names that different programs use.
 *
 * @module
 */
import type { StreamFormat } from "./sinks.ts";
import { SAMPLE_FORMATS, type SampleFormat } from "./wire.ts";

/** By the standard's name: pw-cat's `--format` (those of all its versions), sox's `-t`, ffmpeg's `-f`. */
const NAMES: Readonly<Record<string, { pw?: string; sox?: string; ffmpeg?: string }>> = {
  MU_LAW: { pw: "ulaw", sox: "ul", ffmpeg: "mulaw" },
  A_LAW: { pw: "alaw", sox: "al", ffmpeg: "alaw" },
  S8: { pw: "s8", sox: "s8", ffmpeg: "s8" },
  U8: { pw: "u8", sox: "u8", ffmpeg: "u8" },
  S16: { pw: "s16", sox: "s16", ffmpeg: "s16le" },
  U16: { sox: "u16", ffmpeg: "u16le" },
  S24_3: { sox: "s24", ffmpeg: "s24le" },
  U24_3: { sox: "u24", ffmpeg: "u24le" },
  S32: { pw: "s32", sox: "s32", ffmpeg: "s32le" },
  U32: { sox: "u32", ffmpeg: "u32le" },
  FLOAT: { pw: "f32", sox: "f32", ffmpeg: "f32le" },
  FLOAT64: { pw: "f64", sox: "f64", ffmpeg: "f64le" },
};

/** The format's name in each variable that can have one. */
const FORMAT_VARIABLES: Readonly<Record<string, (format: SampleFormat) => string | undefined>> = {
  FORMAT: ({ alsa }) => alsa,
  PW_FORMAT: ({ name }) => NAMES[name]?.pw,
  SOX_FORMAT: ({ name }) => NAMES[name]?.sox,
  FFMPEG_FORMAT: ({ name }) => NAMES[name]?.ffmpeg,
};

/** Environment variables of a command; a variable whose program has no name for the format is left out. */
export function variablesOf({ sample, channels, rate }: StreamFormat): Record<string, string> {
  const names = Object.entries(FORMAT_VARIABLES).flatMap(([variable, nameOf]) => {
    const name = nameOf(sample);
    return name === undefined ? [] : [[variable, name]];
  });
  const numbers = { RATE: `${rate}`, CHANNELS: `${channels}`, BITS: `${8 * sample.bytes}` };
  return { ...numbers, ...Object.fromEntries(names) };
}

/** The formats for which every variable that a command uses is set. */
export function formatsFor(command: string): SampleFormat[] {
  const wanted = Object.keys(FORMAT_VARIABLES)
    .filter((variable) => new RegExp(`\\$\\{?${variable}\\b`).test(command));
  return SAMPLE_FORMATS.filter((format) =>
    format.bytes > 0 &&
    wanted.every((variable) => FORMAT_VARIABLES[variable]!(format) !== undefined)
  );
}
