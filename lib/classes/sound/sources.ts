// SPDX-License-Identifier: Apache-2.0
/**
 * Where the samples of a capture stream come from.
 *
 * @module
 */
import { sameWavFormat, WavError, wavFormatText, WavReader } from "../../wav/mod.ts";
import { CommandEnd } from "../../device/command.ts";
import { remarksOn } from "./check.ts";
import { variablesOf } from "./names.ts";
import { type StreamFormat, type Surroundings, wavFormatOf } from "./sinks.ts";
import type { SourceSpec } from "./spec.ts";

/** Gives one capture's samples, from START to RELEASE. */
export interface Source {
  /** The stream starts, the first time or again: begins anew if it has ended. @throws {OsError} */
  restart?(): void;
  /**
   * Puts samples to `bytes[offset…]`.
   *
   * @returns how many bytes; fewer than `length`: there are no more yet, and it says when there are
   * @throws {Error} when there will be no more
   */
  read(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number;
  close(): void;
}

/** Opens a source. @throws {WavError} @throws {OsError} */
export function openSource(spec: SourceSpec, format: StreamFormat, around: Surroundings): Source {
  if (spec.kind === "exec") return new ExecSource(spec.command, format, around);
  if (spec.kind === "wav") return new WavSource(spec.path, format, around);
  return silenceSource(format.sample.silence);
}

/** Fills with a sample's bytes, over and over; streams only ask for whole samples from whole samples on. */
function fill(bytes: Uint8Array, offset: number, length: number, silence: readonly number[]): void {
  const n = silence.length;
  if (n === 1 || silence.every((byte) => byte === 0)) {
    bytes.fill(silence[0]!, offset, offset + length);
  } else {
    for (let i = 0; i < length; i++) bytes[offset + i] = silence[i % n]!;
  }
}

function silenceSource(silence: readonly number[]): Source {
  return {
    read(bytes, offset, length) {
      fill(bytes, offset, length, silence);
      return length;
    },
    close: () => {},
  };
}

/** A file, then silence. */
class WavSource implements Source {
  readonly #reader: WavReader;
  readonly #silence: readonly number[];
  readonly #use: Disposable;

  /** @throws {WavError} when it is no longer what the stream offers @throws {SpecError} when it is being written to */
  constructor(path: string, format: StreamFormat, { files, onNotice }: Surroundings) {
    using opened = new DisposableStack();
    this.#reader = opened.use(WavReader.open(path));
    const [is, expected] = [this.#reader.format, wavFormatOf(format)];
    if (!sameWavFormat(is, expected)) {
      const why = `it holds ${wavFormatText(is)}, expected ${wavFormatText(expected)} as before`;
      throw new WavError("capture from", path, why);
    }
    this.#silence = format.sample.silence;
    this.#use = files.open({ identity: this.#reader.identity, path, isWritten: false });
    remarksOn(this.#reader).forEach(onNotice);
    opened.move();
  }

  read(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    const n = this.#reader.read(bytes.subarray(offset, offset + length));
    fill(bytes, offset + n, length - n, this.#silence);
    return length;
  }

  close(): void {
    this.#use[Symbol.dispose]();
    this.#reader.close();
  }
}

class ExecSource extends CommandEnd implements Source {
  constructor(text: string, format: StreamFormat, { commands, onReady }: Surroundings) {
    super(commands, () => commands.startReading(text, variablesOf(format), onReady));
  }

  read(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    return this.command.read(bytes, offset, length);
  }

  override close(): void {
    super.close();
    // A recorder would record for ever; the closed pipe tells it only when it writes next.
    this.command.child.signal(SIGTERM);
  }
}

const SIGTERM = 15;
