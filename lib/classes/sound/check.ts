// SPDX-License-Identifier: Apache-2.0
/**
 * What can be looked at before a device starts, or a stream.
 *
 * @module
 */
import { type WavFormat, wavFormatText, WavReader, WavWriter } from "../../wav/mod.ts";
import { SpecError } from "../../device/role.ts";
import { OpenFiles } from "./files.ts";
import {
  MAX_CHANNELS,
  parseSound,
  type SinkSpec,
  type SoundSpec,
  type SourceSpec,
} from "./spec.ts";
import { formatOfWav, FRAME_RATES } from "./wire.ts";

/** What a source's file is. */
export interface SourceFile {
  format: WavFormat;
  /** What is odd about it, in words that name it. */
  remarks: string[];
}

/** Looks at a source's file. @throws {WavError} @throws {SpecError} when no sound device can have its format */
export function lookAtSource(path: string): SourceFile {
  using reader = WavReader.open(path);
  const { format } = reader;
  const known = formatOfWav(format) !== undefined && FRAME_RATES.includes(format.rate);
  if (known && format.channels <= MAX_CHANNELS) return { format, remarks: remarksOn(reader) };
  throw new SpecError(
    `Cannot capture from ${path}: it holds ${wavFormatText(format)}, expected at most ` +
      `${MAX_CHANNELS} channels at one of ${FRAME_RATES.join(", ")} Hz`,
  );
}

/** What is odd about a source's file, in words that name it. */
export function remarksOn({ path, frames, remarks }: WavReader): string[] {
  const empty = frames === 0 ? ["it holds no sound, only silence is captured"] : [];
  return [...empty, ...remarks].map((remark) => `${path}: ${remark}`);
}

/**
 * Looks at all files of a card: that each can be used, and that none which is written to is another one as well. Files to
 * come are made for as long as this takes, so that they can be told apart like the others.
 *
 * @throws {SpecError} @throws {WavError}
 */
function checkFiles(sinks: readonly SinkSpec[], sources: readonly SourceSpec[]): void {
  const files = new OpenFiles();
  using probes = new DisposableStack();
  for (const source of sources) {
    if (source.kind !== "wav") continue;
    lookAtSource(source.path);
    using reader = WavReader.open(source.path);
    files.open({ identity: reader.identity, path: source.path, isWritten: false });
  }
  for (const sink of sinks) {
    if (sink.kind !== "wav") continue;
    const { identity } = probes.use(WavWriter.probe(sink.path));
    files.open({ identity, path: sink.path, isWritten: true });
  }
}

/** Checks what can be checked before a card is there. @throws {SpecError} */
export function checkSound(spec: SoundSpec): void {
  const { sinks, sources } = parseSound(spec);
  try {
    checkFiles(sinks, sources);
  } catch (error) {
    const { message, cause = error } = error as Error;
    throw new SpecError(message, { cause });
  }
}
