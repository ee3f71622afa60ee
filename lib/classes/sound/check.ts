// SPDX-License-Identifier: Apache-2.0
/**
 * Checks that are made before a device or a stream is started.
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

/** A source's file. */
export interface SourceFile {
  format: WavFormat;
  /** What is odd about it, as sentences that name the file. */
  remarks: string[];
}

/** Reads the format of a source's file. @throws {WavError} @throws {SpecError} when no sound device can have its format */
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

/** What is odd about a source's file, as sentences that name the file. */
export function remarksOn({ path, frames, remarks }: WavReader): string[] {
  const empty = frames === 0 ? ["it has no samples: silence is captured"] : [];
  return [...empty, ...remarks].map((remark) => `${path}: ${remark}`);
}

/**
 * Checks all files of a card: that each can be used, and that no file that is written to is used twice. Sink files that do
 * not exist yet are created during the check, so that they can be compared by inode like the others.
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

/** Checks what can be checked before a card is made. @throws {SpecError} */
export function checkSound(spec: SoundSpec): void {
  const { sinks, sources } = parseSound(spec);
  try {
    checkFiles(sinks, sources);
  } catch (error) {
    const { message, cause = error } = error as Error;
    throw new SpecError(message, { cause });
  }
}
