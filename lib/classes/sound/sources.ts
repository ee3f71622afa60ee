// SPDX-License-Identifier: Apache-2.0
/**
 * Sources: where the samples of a capture stream come from.
 *
 * @module
 */
import { CommandEnd } from "../../device/command.ts";
import { FileSource } from "./file_ends.ts";
import { variablesOf } from "./names.ts";
import { fill } from "./silence.ts";
import { type StreamFormat, type StreamSetup, type Surroundings, wavFormatOf } from "./sinks.ts";
import type { SourceSpec } from "./spec.ts";

/** Provides the samples of one capture, from START to RELEASE. */
export interface Source {
  /** See {@linkcode Sink.isFile}. */
  readonly isFile?: boolean;
  /** See {@linkcode Sink.isOpen}. */
  isOpen?(): boolean;
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

/** Opens a source. @throws {OsError} */
export function openSource(spec: SourceSpec, format: StreamSetup, around: Surroundings): Source {
  const { sample: { silence }, bufferBytes } = format;
  if (spec.kind === "exec") return new ExecSource(spec.command, format, around);
  if (spec.kind === "silence") return silenceSource(silence);
  return new FileSource(around.port!, spec, wavFormatOf(format), { silence, bufferBytes });
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
