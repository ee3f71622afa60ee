// SPDX-License-Identifier: Apache-2.0
/**
 * Sinks: where the samples of a playback stream go.
 *
 * @module
 */
import type { SampleFormat } from "./wire.ts";
import { packedFormat, packSamples, type WavFormat, WavWriter } from "../../wav/mod.ts";
import { CommandEnd, type Commands } from "../../device/command.ts";
import type { OpenFiles } from "./files.ts";
import { variablesOf } from "./names.ts";
import type { SinkSpec } from "./spec.ts";

type WavSinkSpec = Extract<SinkSpec, { kind: "wav" }>;

/** Format of a stream's samples. */
export interface StreamFormat {
  readonly sample: SampleFormat;
  readonly channels: number;
  /** Frames per second. */
  readonly rate: number;
}

/** Takes the samples of one playback, from START to RELEASE. */
export interface Sink {
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
  /** The buffer will not be completed: drops its samples where that is possible. */
  rollback(): void;
  /** Bytes that it took and that are not played yet. */
  waiting(): number;
  close(): void;
}

/** What sinks and sources use of their device. */
export interface Surroundings {
  readonly commands: Commands;
  readonly files: OpenFiles;
  /** Called when a full sink has room, or an empty source has samples. */
  readonly onReady: () => void;
  /** Called with a sentence about something odd that is no error. */
  readonly onNotice: (text: string) => void;
}

/** Opens a sink. @throws {WavError} @throws {OsError} */
export function openSink(spec: SinkSpec, format: StreamFormat, around: Surroundings): Sink {
  if (spec.kind === "null") return NULL_SINK;
  if (spec.kind === "wav") return new WavSink(spec, wavFormatOf(format), around.files);
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

/** A file, without padding: few programs read S24_LE from a file correctly, all read packed 24 bits. */
class WavSink implements Sink {
  readonly #format: WavFormat;
  readonly #writer: WavWriter;
  readonly #use: Disposable;

  constructor({ path, append }: WavSinkSpec, format: WavFormat, files: OpenFiles) {
    using opened = new DisposableStack();
    const admit = (identity: string) =>
      void opened.use(files.open({ identity, path, isWritten: true }));
    const open = append ? WavWriter.append : WavWriter.create;
    this.#format = format;
    this.#writer = open(path, packedFormat(format), admit);
    this.#use = opened.move();
  }

  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    this.#writer.write(packSamples(this.#format, bytes.subarray(offset, offset + length)));
    return length;
  }

  commit(): void {
    this.#writer.commit();
  }

  rollback(): void {
    this.#writer.rollback();
  }

  waiting(): number {
    return 0;
  }

  close(): void {
    this.#use[Symbol.dispose]();
    this.#writer.close();
  }
}

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
