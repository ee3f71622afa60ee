// SPDX-License-Identifier: Apache-2.0
/**
 * Where the samples of a playback stream go.
 *
 * @module
 */
import type { SampleFormat } from "./wire.ts";
import { packedFormat, packSamples, type WavFormat, WavWriter } from "../../wav/mod.ts";
import { CommandEnd, type Commands, type Variables } from "../../device/command.ts";
import type { SinkSpec } from "./spec.ts";

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
  /** To be called when a sink that was full has room, a source that was empty has samples. */
  readonly onReady: () => void;
}

/** Opens a sink. @throws {WavError} @throws {OsError} */
export function openSink(spec: SinkSpec, format: StreamFormat, around: Surroundings): Sink {
  if (spec.kind === "null") return NULL_SINK;
  if (spec.kind === "wav") return new WavSink(spec.path, spec.append, wavFormatOf(format));
  return new ExecSink(spec.command, format, around);
}

/** @throws {TypeError} when a WAV file cannot carry it, which a stream with such a sink does not offer */
function wavFormatOf({ sample, channels, rate }: StreamFormat): WavFormat {
  if (sample.wav === null) throw new TypeError(`Cannot put ${sample.name} into a WAV file`);
  return { ...sample.wav, channels, rate };
}

/** What a command finds in its environment. */
export function variablesOf({ sample, channels, rate }: StreamFormat): Variables {
  return { RATE: rate, CHANNELS: channels, BITS: 8 * sample.bytes, FORMAT: sample.alsa };
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
  #format: WavFormat;
  #writer: WavWriter;

  constructor(path: string, append: boolean, format: WavFormat) {
    const packed = packedFormat(format);
    this.#format = format;
    this.#writer = append ? WavWriter.append(path, packed) : WavWriter.create(path, packed);
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
