// SPDX-License-Identifier: Apache-2.0
/**
 * A descriptor chain, read once and checked: virtio 1.2 §2.7.5.
 *
 * @module
 */
import { copyBytes, type GuestMemory } from "./memory.ts";

/** The most segments a chain may have, as in QEMU; a driver's indirect table may be longer than its queue. */
export const MAX_SEGMENTS = 1024;

/**
 * One request: segments for the device to read, then segments for it to write. Made once and refilled by each
 * `DeviceRing.pop`. It holds a copy: a driver that rewrites its descriptors changes nothing here.
 */
export class Chain {
  /** Guest address of each segment's first byte. */
  readonly address: Float64Array<ArrayBuffer>;
  /** Bytes of each segment, never 0. */
  readonly length: Uint32Array<ArrayBuffer>;
  /** Index of each segment's descriptor in its table. */
  readonly index: Uint16Array<ArrayBuffer>;
  /** Index of the first descriptor, which names the chain when it is completed. */
  head = 0;
  /** Number of segments; the readable ones come first. */
  count = 0;
  /** Number of readable segments. */
  readableCount = 0;
  /** Number of segments in the ring's own table; the others are in an indirect table. */
  directCount = 0;
  /** Index of the ring's descriptor that refers to the indirect table, −1 if there is none. */
  tableIndex = -1;
  /** Number of readable bytes. */
  readableBytes = 0;
  /** Number of writable bytes. */
  writableBytes = 0;
  #memory: GuestMemory | null = null;

  /** @param capacity The most segments it can hold; a longer chain is refused as malformed */
  constructor(readonly capacity: number = MAX_SEGMENTS) {
    this.address = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
    this.index = new Uint16Array(capacity);
  }

  /** Number of writable segments, which follow the readable ones. */
  get writableCount(): number {
    return this.count - this.readableCount;
  }

  /** Empties it, for a ring to fill. */
  begin(memory: GuestMemory, head: number): void {
    this.#memory = memory;
    this.head = head;
    this.count = this.readableCount = this.directCount = 0;
    this.tableIndex = -1;
    this.readableBytes = this.writableBytes = 0;
  }

  /** Adds a segment, for a ring that has checked it. */
  add(index: number, address: number, length: number, writable: boolean): void {
    const i = this.count++;
    this.index[i] = index;
    this.address[i] = address;
    this.length[i] = length;
    if (this.tableIndex < 0) this.directCount++;
    if (writable) {
      this.writableBytes += length;
    } else {
      this.readableCount++;
      this.readableBytes += length;
    }
  }

  /**
   * Copies bytes out of the readable segments.
   *
   * @param offset Where in those segments, counted across all of them
   * @param target Receives them at `at`
   * @param length The most bytes to copy
   * @returns how many were copied: fewer when the segments end before
   * @throws {RangeError} when `target` has no room for `length` bytes
   */
  gather(offset: number, target: Uint8Array, at = 0, length: number = target.length - at): number {
    return this.#copy(false, offset, target, at, length);
  }

  /**
   * Copies bytes into the writable segments.
   *
   * @param offset Where in those segments, counted across all of them
   * @param source Gives them, from `at`
   * @param length The most bytes to copy
   * @returns how many were copied: fewer when the segments end before
   * @throws {RangeError} when `source` does not hold `length` bytes
   */
  scatter(offset: number, source: Uint8Array, at = 0, length: number = source.length - at): number {
    return this.#copy(true, offset, source, at, length);
  }

  #copy(write: boolean, offset: number, other: Uint8Array, at: number, length: number): number {
    if (!(offset >= 0 && at >= 0 && length >= 0 && at + length <= other.length)) {
      throw new RangeError(
        `Cannot copy ${length} bytes at offset ${offset} of a chain from or to byte ${at} of ${other.length}`,
      );
    }
    const end = write ? this.count : this.readableCount;
    let left = length;
    for (let i = write ? this.readableCount : 0; i < end && left > 0; i++) {
      const size = this.length[i]!;
      if (offset < size) {
        const n = Math.min(size - offset, left);
        const address = this.address[i]! + offset;
        const { u8, guest } = this.#memory!.region(address, n);
        if (write) copyBytes(u8, address - guest, other, at, n);
        else copyBytes(other, at, u8, address - guest, n);
        at += n;
        left -= n;
        offset = 0;
      } else {
        offset -= size;
      }
    }
    return length - left;
  }
}
