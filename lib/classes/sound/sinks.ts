// SPDX-License-Identifier: Apache-2.0
/**
 * Sinks: where the samples of a playback stream go.
 *
 * @module
 */
import type { SampleFormat } from "./wire.ts";
import type { WavFormat } from "../../wav/mod.ts";
import { CommandEnd, type Commands } from "../../device/command.ts";
import { type FilePort, FileSink } from "./file_ends.ts";
import { variablesOf } from "./names.ts";
import type { SinkSpec } from "./spec.ts";

/** Format of a stream's samples. */
export interface StreamFormat {
  readonly sample: SampleFormat;
  readonly channels: number;
  /** Frames per second. */
  readonly rate: number;
}

/** What a stream's samples go through, or come from, is told. */
export interface StreamSetup extends StreamFormat {
  /** Size of the driver's buffer. */
  readonly bufferBytes: number;
}

/** Takes the samples of one playback, from START to RELEASE. */
export interface Sink {
  /** It reads or writes a file aside: a buffer waits for that as long as the driver can bear it. */
  readonly isFile?: boolean;
  /** Whether it is open yet; it calls `onReady` when it is. Absent: it is. @throws {Error} when it cannot be opened */
  isOpen?(): boolean;
  /** START, the first or a later one: starts the sink again if it has ended. @throws {OsError} */
  restart?(): void;
  /**
   * Takes whole samples from `bytes[offset…]`, which it may overwrite.
   *
   * @returns how many bytes it took; fewer than `length`: it is full, and calls `onReady` when there is room
   * @throws {Error} when it has ended
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number;
  /** A whole buffer was written, and must not be lost from now on. */
  commit(): void;
  /** Whether nothing is lost when the process is killed now; it calls `onReady` when that is so. Absent: always. @throws {Error} when something is lost */
  isWritten?(): boolean;
  /** The buffer will not be completed: drops its samples where that is possible. */
  rollback(): void;
  /** Bytes that it took and that are not played yet. */
  waiting(): number;
  close(): void;
}

/** What sinks and sources use of their device. */
export interface Surroundings {
  readonly commands: Commands;
  /** Where the stream's file is; null when it has none. */
  readonly port: FilePort | null;
  /** Called when a full sink has room, or an empty source has samples. */
  readonly onReady: () => void;
  /** Called with a sentence about something odd that is no error. */
  readonly onNotice: (text: string) => void;
}

/** Opens a sink. @throws {OsError} */
export function openSink(spec: SinkSpec, format: StreamSetup, around: Surroundings): Sink {
  if (spec.kind === "null") return NULL_SINK;
  if (spec.kind === "wav") {
    return new FileSink(around.port!, spec, wavFormatOf(format), format.bufferBytes);
  }
  return new ExecSink(spec.command, format, around);
}

/** @throws {TypeError} for a format that WAV does not have; streams with such a file do not offer it */
export function wavFormatOf({ sample, channels, rate }: StreamFormat): WavFormat {
  if (sample.wav === null) throw new TypeError(`Cannot put ${sample.name} into a WAV file`);
  return { ...sample.wav, channels, rate };
}

const NULL_SINK: Sink = {
  write: (_bytes, _offset, length) => length,
  commit: () => {},
  rollback: () => {},
  waiting: () => 0,
  close: () => {},
};

class ExecSink extends CommandEnd implements Sink {
  constructor(text: string, format: StreamFormat, { commands, onReady }: Surroundings) {
    super(commands, () => commands.startWriting(text, variablesOf(format), onReady));
  }

  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    return this.command.write(bytes, offset, length);
  }

  commit(): void {}

  rollback(): void {}

  waiting(): number {
    return this.command.waiting();
  }
}
