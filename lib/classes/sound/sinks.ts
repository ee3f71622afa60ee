// SPDX-License-Identifier: Apache-2.0
/**
 * Where the samples of a playback stream go.
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

/** What a stream's samples are. */
export interface StreamFormat {
  readonly sample: SampleFormat;
  readonly channels: number;
  /** Frames per second. */
  readonly rate: number;
}

/** Takes one playback's samples, from START to RELEASE. */
export interface Sink {
  /** The stream starts, the first time or again: begins anew if it has ended. @throws {OsError} */
  restart?(): void;
  /**
   * Takes whole samples from `bytes[offset…]`, which may be changed by it.
   *
   * @returns how many bytes it took; fewer than `length`: it is full, and says when there is room
   * @throws {Error} when it takes no more
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number;
  /** A whole buffer was written: from now on it must not be lost. */
  commit(): void;
  /** The buffer will not be whole: forget its beginning, if that can be. */
  rollback(): void;
  /** Bytes it took that were not yet heard. */
  waiting(): number;
  close(): void;
}

/** What sinks and sources are made with. */
export interface Surroundings {
  readonly commands: Commands;
  readonly files: OpenFiles;
  /** To be called when a sink that was full has room, a source that was empty has samples. */
  readonly onReady: () => void;
  /** To be called with what is odd, and no error. */
  readonly onNotice: (text: string) => void;
}

/** Opens a sink. @throws {WavError} @throws {OsError} */
export function openSink(spec: SinkSpec, format: StreamFormat, around: Surroundings): Sink {
  if (spec.kind === "null") return NULL_SINK;
  if (spec.kind === "wav") return new WavSink(spec, wavFormatOf(format), around.files);
  return new ExecSink(spec.command, format, around);
}

/** @throws {TypeError} when a WAV file cannot carry it, which a stream with such a file does not offer */
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

/** A file, without padding: few programs read S24_LE from a file as what it is, all read its 24 bits alone. */
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
