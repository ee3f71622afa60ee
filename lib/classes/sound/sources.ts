// SPDX-License-Identifier: Apache-2.0
/**
 * Sources: where the samples of a capture stream come from.
 *
 * @module
 */
import { sameWavFormat, WavError, wavFormatText, WavReader } from "../../wav/mod.ts";
import { CommandEnd } from "../../device/command.ts";
import { remarksOn } from "./check.ts";
import { variablesOf } from "./names.ts";
import { type StreamFormat, type Surroundings, wavFormatOf } from "./sinks.ts";
import type { SourceSpec } from "./spec.ts";

/** Provides the samples of one capture, from START to RELEASE. */
export interface Source {
  /** START, the first or a later one: starts the source again if it has ended. @throws {OsError} */
  restart?(): void;
  /**
   * Writes samples to `bytes[offset…]`.
   *
   * @returns how many bytes; fewer than `length`: there are no more yet, and it calls `onReady` when there are
   * @throws {Error} when it has ended
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

/** Fills with the bytes of a sample, repeated; offset and length are whole samples. */
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

  /** @throws {WavError} when its format has changed @throws {SpecError} when another stream writes to it */
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
    // Killed, as a recorder does not end by itself: it notices the closed pipe only at its next write.
    this.command.child.signal(SIGTERM);
  }
}

const SIGTERM = 15;
