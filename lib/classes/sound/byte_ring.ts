// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes on their way from one thread to another: one writes, one reads.
 *
 * Positions count bytes from the beginning, modulo 2^32; the ring's size is a power of 2, so that they wrap with it. The
 * writer alone stores the tail, the reader alone the head, both through Atomics: a store orders what was copied before
 * it, and the load that sees it what is copied after it. So the reader sees whole bytes, and the writer overwrites none that
 * are still being read.
 *
 * @module
 */

/** The largest ring. */
export const MOST_RING_BYTES: number = 2 ** 24;

const LEAST_RING_BYTES = 2 ** 16;

/** The size of a ring that has room for as many bytes, at most {@linkcode MOST_RING_BYTES}. */
export function ringSize(bytes: number): number {
  const size = 2 ** Math.ceil(Math.log2(Math.max(bytes, LEAST_RING_BYTES)));
  return Math.min(size, MOST_RING_BYTES);
}

/** A ring in shared memory, from one of its two sides. */
export class ByteRing {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  #size = MOST_RING_BYTES;
  /** The writer's: where it has come to, part of which it may not have published. */
  #written = 0;

  /** @param words The head and the tail @param bytes {@linkcode MOST_RING_BYTES} */
  constructor(words: Int32Array<SharedArrayBuffer>, bytes: Uint8Array<SharedArrayBuffer>) {
    this.#words = words;
    this.#bytes = bytes;
  }

  /** Begins anew, empty, with a size of {@linkcode ringSize}: neither side may use it at the time. */
  begin(size: number): void {
    this.#size = size;
    this.#written = 0;
    Atomics.store(this.#words, 0, 0);
    Atomics.store(this.#words, 1, 0);
  }

  /** The other side has begun it anew. */
  follow(size: number): void {
    this.#size = size;
    this.#written = this.#tail;
  }

  get #head(): number {
    return Atomics.load(this.#words, 0);
  }

  get #tail(): number {
    return Atomics.load(this.#words, 1);
  }

  /** Published bytes that were not taken yet. */
  get waiting(): number {
    return this.#tail - this.#head | 0;
  }

  // ---- the writer ----

  /** Bytes that can be put. */
  get room(): number {
    return this.#size - (this.#written - this.#head | 0);
  }

  /** Puts bytes into the ring, for which there must be room; the reader does not see them yet. */
  put(from: Uint8Array, offset: number, length: number): void {
    for (let done = 0; done < length;) {
      const at = (this.#written & this.#size - 1) >>> 0;
      const count = Math.min(length - done, this.#size - at);
      this.#bytes.set(from.subarray(offset + done, offset + done + count), at);
      this.#written = this.#written + count | 0;
      done += count;
    }
  }

  /** Shows the reader what was put. */
  publish(): void {
    Atomics.store(this.#words, 1, this.#written);
  }

  /** Forgets what was put and not published. */
  rollback(): void {
    this.#written = this.#tail;
  }

  // ---- the reader ----

  /** Copies the next bytes without taking them; there must be as many. */
  peek(to: Uint8Array, offset: number, length: number): void {
    const head = this.#head;
    for (let done = 0; done < length;) {
      const at = (head + done & this.#size - 1) >>> 0;
      const count = Math.min(length - done, this.#size - at);
      to.set(this.#bytes.subarray(at, at + count), offset + done);
      done += count;
    }
  }

  /** Takes bytes: their room is the writer's again. */
  take(length: number): void {
    Atomics.store(this.#words, 0, this.#head + length | 0);
  }
}
