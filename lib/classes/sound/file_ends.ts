// SPDX-License-Identifier: Apache-2.0
/**
 * Sinks and sources whose samples are in a file, which the card's file thread reads and writes: sinks write behind, sources read
 * ahead, and the device waits for neither.
 *
 * @module
 */
import { frameBytes, type WavFormat } from "../../wav/mod.ts";
import { ringSize } from "./byte_ring.ts";
import { FileLink, type FileRequest } from "./file_link.ts";
import type { FileThread } from "./file_thread.ts";
import { fill } from "./silence.ts";
import type { Sink } from "./sinks.ts";
import type { Source } from "./sources.ts";
import type { SinkSpec, SourceSpec } from "./spec.ts";

/** How long START waits for a file to be opened, in nanoseconds: Linux gives a control request a second. */
export const OPEN_NS = 9e8;
/** Seconds of samples that may wait for a disk, or are read ahead. */
const RING_SECONDS = 4;

/** Samples are lost, as a disk is too slow. */
export class TooSlow extends Error {
  override readonly name = "TooSlow";

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is TooSlow {
    return error instanceof Error && error.name === "TooSlow";
  }
}

/** What a stream's file uses of its device. */
export interface FileSurroundings {
  readonly thread: () => FileThread;
  readonly now: () => number;
  readonly onNotice: (text: string) => void;
  readonly onError: (text: string) => void;
}

/** The place of a stream's files: one after the other is open there. */
export class FilePort {
  readonly link = new FileLink();
  #mustClose = false;
  #isClosing = false;

  constructor(readonly around: FileSurroundings) {}

  /** Something was done: carries on with what had to wait for it. */
  poll(): void {
    if (!this.link.isAnswered) return;
    if (this.#isClosing) {
      this.#isClosing = false;
      const error = this.link.takeFailure() ?? this.link.answer.error;
      if (error !== undefined) this.around.onError(error);
    }
    if (!this.#mustClose) return;
    this.#mustClose = false;
    this.#isClosing = true;
    this.#ask({ kind: "close" });
    this.poll();
  }

  #ask(request: FileRequest): void {
    this.link.ask(request);
    this.around.thread().wake();
  }

  /** Has a file opened. @returns false while the one before it is still being closed */
  open(request: FileRequest): boolean {
    this.poll();
    if (!this.link.isAnswered) return false;
    this.#ask(request);
    return true;
  }

  /** Has the file closed when all that it was given is written. */
  close(): void {
    this.#mustClose = true;
    this.poll();
  }
}

/** A file that is open, or about to be. */
class FileEnd {
  readonly isFile = true;
  protected readonly port: FilePort;
  readonly #request: Exclude<FileRequest, { kind: "close" }>;
  readonly #since: number;
  #state: "waiting" | "opening" | "open" = "waiting";

  constructor(port: FilePort, request: Exclude<FileRequest, { kind: "close" }>) {
    this.port = port;
    this.#request = request;
    this.#since = port.around.now();
  }

  /** See {@linkcode Sink.isOpen}. */
  isOpen(): boolean {
    const { link, around } = this.port;
    if (this.#state === "waiting" && this.port.open(this.#request)) this.#state = "opening";
    if (this.#state === "opening" && link.isAnswered) {
      const { error, remarks = [] } = link.answer;
      if (error !== undefined) throw new Error(error);
      this.#state = "open";
      remarks.forEach(around.onNotice);
    }
    if (this.#state === "open") return true;
    if (around.now() < this.#since + OPEN_NS) return false;
    const { path } = this.#request;
    throw new TooSlow(`Cannot open ${path}: its disk has not answered for ${OPEN_NS / 1e9} s`);
  }

  close(): void {
    if (this.#state !== "waiting") this.port.close();
  }
}

/** Bytes of the ring of a stream. @param bufferBytes The driver's buffer */
function ringBytes(format: WavFormat, bufferBytes: number): number {
  return ringSize(Math.max(RING_SECONDS * format.rate * frameBytes(format), bufferBytes));
}

/** A file that is written to. */
export class FileSink extends FileEnd implements Sink {
  readonly #path: string;

  constructor(
    port: FilePort,
    { path, append }: Extract<SinkSpec, { kind: "wav" }>,
    format: WavFormat,
    bufferBytes: number,
  ) {
    super(port, { kind: "write", path, append, format, ringBytes: ringBytes(format, bufferBytes) });
    this.#path = path;
  }

  /** The ring has room for a whole buffer of the driver's: when it is full, buffers before it were not written in time. */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    const { ring } = this.port.link;
    if (ring.room < length) {
      const why = "its disk is too slow, and samples are lost until it has caught up";
      throw new TooSlow(`Cannot write ${this.#path}: ${why}`);
    }
    ring.put(bytes, offset, length);
    return length;
  }

  commit(): void {
    this.port.link.ring.publish();
    this.port.around.thread().wake();
  }

  isWritten(): boolean {
    const isWritten = this.port.link.ring.waiting === 0;
    const failure = this.port.link.takeFailure();
    if (failure !== null) throw new Error(failure);
    return isWritten;
  }

  rollback(): void {
    this.port.link.ring.rollback();
  }

  waiting(): number {
    return 0;
  }
}

/** A file, then silence. */
export class FileSource extends FileEnd implements Source {
  readonly #silence: readonly number[];
  /** An error after which nothing is read any more. */
  #failure: string | null = null;

  constructor(
    port: FilePort,
    { path }: Extract<SourceSpec, { kind: "wav" }>,
    format: WavFormat,
    { silence, bufferBytes }: { silence: readonly number[]; bufferBytes: number },
  ) {
    super(port, { kind: "read", path, format, ringBytes: ringBytes(format, bufferBytes) });
    this.#silence = silence;
  }

  read(bytes: Uint8Array<ArrayBuffer>, offset: number, length: number): number {
    const { link, around } = this.port;
    const { isAtEnd, ring } = link; // in this order
    const count = Math.min(length, ring.waiting);
    ring.peek(bytes, offset, count);
    ring.take(count);
    if (!isAtEnd && count > 0) around.thread().wake();
    if (count === length || !isAtEnd) return count;
    this.#failure ??= link.takeFailure();
    if (this.#failure !== null && count === 0) throw new Error(this.#failure);
    if (this.#failure !== null) return count;
    fill(bytes, offset + count, length - count, this.#silence);
    return length;
  }
}
