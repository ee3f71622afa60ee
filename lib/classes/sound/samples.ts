// SPDX-License-Identifier: Apache-2.0
/**
 * Moves the samples of a PCM stream's first buffer to its sink, or from its source.
 *
 * @module
 */
import type { Chain } from "../../virtio/chain.ts";
import { TooSlow } from "./file_ends.ts";
import type { Sink, StreamSetup } from "./sinks.ts";
import type { Source } from "./sources.ts";
import { PCM_XFER_SIZE } from "./wire.ts";

/** Samples are moved in pieces of at most this many bytes. */
const PIECE_BYTES = 2 ** 16;
/** How long a sink or source may make no progress before the buffer fails, in nanoseconds. */
export const MAX_STALL_NS = 2e9;

/** Opens the sink of a playback stream, or the source of a capture stream. */
export interface Endpoint {
  openSink?(format: StreamSetup): Sink;
  openSource?(format: StreamSetup): Source;
}

/** A stream's sink or source, and how much of the first buffer has been moved. */
export class Samples {
  /** Bytes of the first buffer that were moved. */
  moved = 0;
  #sink: Sink | null = null;
  #source: Source | null = null;
  /** When the sink or source, which was not ready in time, has stalled for too long; null: it was ready. */
  #stallEnd: number | null = null;
  /** The last buffer failed: reported once, not for each buffer. */
  #isFailing = false;
  /** The sink has all of the first buffer. */
  #isCommitted = false;

  /** @param id The stream's, for errors */
  constructor(readonly endpoint: Endpoint, readonly isPlayback: boolean, readonly id: number) {}

  /**
   * Opens the sink or source if it is not open, and starts it.
   *
   * @returns false when it is still being opened: this is to be called again
   * @throws {Error}
   */
  open(format: StreamSetup): boolean {
    const { openSink, openSource } = this.endpoint;
    const end = this.isPlayback
      ? this.#sink ??= openSink!(format)
      : this.#source ??= openSource!(format);
    try {
      if (end.isOpen?.() === false) return false;
    } catch (error) {
      this.close();
      throw error;
    }
    end.restart?.();
    this.#isFailing = false;
    return true;
  }

  /** Closes the sink or source. @throws {Error} */
  close(): void {
    const [sink, source] = [this.#sink, this.#source];
    this.#sink = this.#source = null;
    sink?.close();
    source?.close();
  }

  /** Until when the sink or source may stall; null: it was ready in time. */
  get stallEnd(): number | null {
    return this.#stallEnd;
  }

  /** The stream is stopped: the sink or source need not be ready. */
  clearStall(): void {
    this.#stallEnd = null;
  }

  /** Whether the samples are in a file. */
  get isFile(): boolean {
    return (this.#sink ?? this.#source)?.isFile === true;
  }

  /** Starts on another buffer. */
  next(): void {
    this.moved = 0;
    this.#isCommitted = false;
    this.clearStall();
  }

  /** Drops the buffer that was begun. */
  drop(): void {
    this.#sink?.rollback();
    this.next();
  }

  /** Gives the buffer up after an error. @returns whether the one before it did not fail */
  fail(): boolean {
    this.#sink?.rollback();
    const isFirst = !this.#isFailing;
    this.#isFailing = true;
    return isFirst;
  }

  /** Bytes that the sink has taken and that are not heard yet; null for a capture stream. */
  waiting(): number | null {
    return this.#sink?.waiting() ?? null;
  }

  /**
   * Moves what is left of a buffer of `bytes`.
   *
   * @param holdEnd How long the buffer may wait for a file; null: as for a sink or source of another kind
   * @returns false when the sink or source is not ready
   * @throws {Error} when it failed, or has stalled for too long
   */
  move(
    chain: Chain,
    bytes: number,
    frameBytes: number,
    { now, holdEnd }: { now: number; holdEnd: number | null },
  ): boolean {
    const before = this.moved;
    let done = this.isPlayback
      ? this.#play(this.#sink!, chain, bytes)
      : this.#capture(this.#source!, chain, bytes, frameBytes);
    if (!done && holdEnd !== null) done = this.#hold(now, holdEnd);
    else if (!done) this.#stall(now, this.moved > before);
    if (done) this.#isFailing = false;
    return done;
  }

  /**
   * Waits for a file. A buffer that cannot wait any longer is completed before it is written.
   *
   * @returns whether it is to be completed
   * @throws {TooSlow} when there are no samples to complete it with
   */
  #hold(now: number, holdEnd: number): boolean {
    this.#stallEnd = holdEnd;
    if (now < holdEnd) return false;
    if (this.isPlayback) return true;
    const why = "the disk of its file is too slow, and has no samples in time";
    throw new TooSlow(`Cannot capture stream ${this.id}: ${why}`);
  }

  /** @throws {Error} when it has stalled for too long, or had before and no sample has been moved since */
  #stall(now: number, moved: boolean): void {
    if (this.#stallEnd === null || moved) this.#stallEnd = now + MAX_STALL_NS;
    if (!this.#isFailing && now < this.#stallEnd) return;
    const [verb, what] = this.isPlayback
      ? ["play", "the sink has taken"]
      : ["capture", "the source has had"];
    throw new Error(
      `Cannot ${verb} stream ${this.id}: ${what} no samples for ${MAX_STALL_NS / 1e9} s`,
    );
  }

  #play(sink: Sink, chain: Chain, bytes: number): boolean {
    while (this.moved < bytes) {
      const length = Math.min(bytes - this.moved, PIECE_BYTES);
      chain.gather(PCM_XFER_SIZE + this.moved, piece, 0, length);
      const taken = sink.write(piece, 0, length);
      this.moved += taken;
      if (taken < length) return false;
    }
    if (!this.#isCommitted) sink.commit();
    this.#isCommitted = true;
    return sink.isWritten?.() ?? true;
  }

  #capture(source: Source, chain: Chain, bytes: number, frameBytes: number): boolean {
    const most = PIECE_BYTES - PIECE_BYTES % frameBytes;
    while (this.moved < bytes) {
      const length = Math.min(bytes - this.moved, most);
      const given = source.read(piece, 0, length);
      chain.scatter(this.moved, piece, 0, given);
      this.moved += given;
      if (given === 0) return false; // after fewer than asked for it is read again: it may have ended
    }
    return true;
  }
}

/** Shared by the streams of an isolate, which move samples one after the other. */
const piece = new Uint8Array(PIECE_BYTES);
