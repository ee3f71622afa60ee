// SPDX-License-Identifier: Apache-2.0
/**
 * Slots for chains in the memory shared with a back-end: their allocation and their layout.
 *
 * @module
 */
import { DESC_SIZE } from "../virtio/split_ring.ts";

/** Slots are powers of two, from 64 bytes up. */
const SMALLEST = 6;

/**
 * Allocates power-of-two slots in a fixed range of memory. A slot is cut from the unused end once, and kept in a free list
 * of its size afterwards. A device uses the same few sizes all the time, so slots are never split or merged, and nothing
 * is allocated on the heap. If a size runs out while no slot is in use, the free lists are dropped and cutting starts again.
 */
export class SlotAllocator {
  readonly #free: Int32Array[] = [];
  readonly #count: Int32Array;
  #end: number;
  #used = 0;

  /**
   * @param start Offset of its first byte, a multiple of 64
   * @param limit Offset after its last byte
   * @param slots The most slots in use at once
   */
  constructor(readonly start: number, readonly limit: number, slots: number) {
    this.#end = start;
    const classes = Math.max(1, Math.floor(Math.log2(limit - start)) - SMALLEST + 1);
    this.#count = new Int32Array(classes);
    for (let i = 0; i < classes; i++) this.#free.push(new Int32Array(slots));
  }

  /**
   * Takes room for `bytes` bytes.
   *
   * @returns its offset, −1 when there is none now; {@linkcode give} makes room
   */
  take(bytes: number): number {
    const c = sizeClass(bytes);
    if (c >= this.#free.length) return -1;
    const offset = this.#find(c);
    if (offset >= 0) this.#used++;
    return offset;
  }

  #find(c: number): number {
    const count = this.#count[c]!;
    if (count > 0) {
      this.#count[c] = count - 1;
      return this.#free[c]![count - 1]!;
    }
    const size = 2 ** (c + SMALLEST);
    if (this.#end + size > this.limit && this.#used === 0) {
      this.#count.fill(0);
      this.#end = this.start;
    }
    const offset = this.#end;
    if (offset + size > this.limit) return -1;
    this.#end = offset + size;
    return offset;
  }

  /** Gives back what {@linkcode take} returned for as many bytes. */
  give(offset: number, bytes: number): void {
    const c = sizeClass(bytes);
    const count = this.#count[c]!;
    this.#free[c]![count] = offset;
    this.#count[c] = count + 1;
    this.#used--;
  }
}

/** The logarithm of a slot's size. A chain may exceed 2^32 bytes, beyond bit operations; no slot is that large. */
function sizeClass(bytes: number): number {
  if (bytes <= 64) return 0;
  return bytes > 2 ** 31 ? Infinity : 32 - Math.clz32(bytes - 1) - SMALLEST;
}

/** Alignment of segments in bytes: a back-end may map structures onto them. */
const SEGMENT_ALIGN = 16;

function aligned(bytes: number): number {
  return bytes + (-bytes & (SEGMENT_ALIGN - 1)); // masking the sum would truncate it to 32 bits
}

/**
 * The layout of a chain's slot: an indirect table with a descriptor per segment, if there are several, then the segments,
 * each at a multiple of 16. Space for the table is reserved even if it is not used, so that a chain's layout is the same
 * for every back-end.
 */
export class SlotLayout {
  /** Segments. */
  count = 0;
  /** Offset of each segment in the slot. */
  readonly at: Float64Array<ArrayBuffer>;
  /** Bytes of the slot. */
  bytes = 0;

  /** @param capacity The most segments */
  constructor(capacity: number) {
    this.at = new Float64Array(capacity);
  }

  /** Lays out the segments of a chain, by their lengths. */
  lay(lengths: ArrayLike<number>, count: number): void {
    let at = count > 1 ? DESC_SIZE * count : 0;
    for (let i = 0; i < count; i++) {
      this.at[i] = at;
      at += aligned(lengths[i]!);
    }
    this.count = count;
    this.bytes = at;
  }
}
