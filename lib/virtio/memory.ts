// SPDX-License-Identifier: Apache-2.0
/**
 * A driver's memory, looked up by guest address. Every address from a ring or a register is looked up here before
 * it is used.
 *
 * @module
 */
import { MemoryError } from "./error.ts";

/** A stretch of guest memory and the bytes behind it. */
export interface MemoryRegion {
  /** Guest address of the first byte, a multiple of 16. */
  readonly guest: number;
  /** All of its bytes. */
  readonly buffer: ArrayBuffer;
}

/** A region with its views made once. The byte of guest address `a` is `u8[a - guest]`. */
export class RegionView implements MemoryRegion {
  readonly guest: number;
  /** Guest address behind the last byte. */
  readonly end: number;
  readonly buffer: ArrayBuffer;
  readonly u8: Uint8Array<ArrayBuffer>;
  readonly u16: Uint16Array<ArrayBuffer>;
  readonly u32: Uint32Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;

  /** @throws {RangeError} when the region cannot be addressed */
  constructor({ guest, buffer }: MemoryRegion) {
    const end = guest + buffer.byteLength;
    if (!Number.isSafeInteger(guest) || guest < 0 || guest % 16 !== 0) {
      throw new RangeError(`Cannot place memory at ${guest}, expected a multiple of 16 below 2^53`);
    }
    if (buffer.byteLength === 0 || !Number.isSafeInteger(end)) {
      throw new RangeError(
        `Cannot place ${buffer.byteLength} bytes of memory at 0x${guest.toString(16)}, ` +
          `expected at least one and an end below 2^53`,
      );
    }
    this.guest = guest;
    this.end = end;
    this.buffer = buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer, 0, Math.floor(buffer.byteLength / 2));
    this.u32 = new Uint32Array(buffer, 0, Math.floor(buffer.byteLength / 4));
    this.view = new DataView(buffer);
  }
}

/** Maps a region for a range that no region holds yet, for good; null if there is no such memory. */
export type Grow = (address: number, length: number) => MemoryRegion | null;

/** Guest memory: regions that do not overlap, except those that were added by {@linkcode Grow}. */
export class GuestMemory {
  readonly #regions: RegionView[];
  readonly #grow: Grow | null;
  // The region of the last lookup: chains lie close together, and most memories have one region only.
  #last: RegionView | null;

  /**
   * @param grow Called for ranges that no region holds; without it there are only the regions given
   * @throws {RangeError} when there is no region and no way to grow, one cannot be addressed, or two overlap
   */
  constructor(regions: readonly MemoryRegion[], grow: Grow | null = null) {
    this.#grow = grow;
    this.#regions = regions.map((region) => new RegionView(region))
      .sort((a, b) => a.guest - b.guest);
    this.#regions.forEach((region, i) => {
      const previous = this.#regions[i - 1];
      if (previous !== undefined && region.guest < previous.end) {
        throw new RangeError(
          `Cannot place memory at 0x${region.guest.toString(16)}: the region before it ends at ` +
            `0x${previous.end.toString(16)}`,
        );
      }
    });
    if (this.#regions[0] === undefined && grow === null) {
      throw new RangeError("Cannot make a memory of no regions");
    }
    this.#last = this.#regions[0] ?? null;
  }

  /** Sorted by guest address; then those added by {@linkcode Grow}, in the order in which they were added. */
  get regions(): readonly RegionView[] {
    return this.#regions;
  }

  /**
   * The region that holds all of `length` bytes at a guest address, null if there is none. A range that crosses from one
   * region into the next has none, even if there is no gap between them: no single view holds it.
   */
  find(address: number, length: number): RegionView | null {
    const last = this.#last;
    if (last !== null && address >= last.guest && address + length <= last.end) return last;
    for (const region of this.#regions) {
      if (address >= region.guest && address + length <= region.end) return this.#last = region;
    }
    return this.#grow === null ? null : this.#growBy(this.#grow, address, length);
  }

  /** Bytes from a guest address to the end of its region, 0 if no region holds it. */
  reach(address: number): number {
    const region = this.find(address, 1);
    return region === null ? 0 : region.end - address;
  }

  /**
   * A copy of a range that may span several regions without a gap between them; null if part of it is in no
   * region.
   */
  copy(address: number, length: number): DataView<ArrayBuffer> | null {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const n = Math.min(this.reach(address + done), length - done);
      if (n === 0) return null;
      const { u8, guest } = this.region(address + done, n);
      copyBytes(bytes, done, u8, address + done - guest, n);
      done += n;
    }
    return new DataView(bytes.buffer);
  }

  #growBy(grow: Grow, address: number, length: number): RegionView | null {
    const found = grow(address, length);
    if (found === null) return null;
    const region = new RegionView(found);
    this.#regions.push(region);
    return this.#last = region;
  }

  /** Describes the memory for an error. Where it grows, the regions so far say nothing about what there is. */
  #describe(): string {
    if (this.#grow !== null) return "there is no such memory";
    const regions = this.#regions
      .map(({ guest, end }) => `0x${guest.toString(16)} to 0x${end.toString(16)}`);
    return `memory is ${regions.join(", ")}`;
  }

  /**
   * The region that holds all of `length` bytes at a guest address.
   *
   * @throws {MemoryError} when no single region does
   */
  region(address: number, length: number): RegionView {
    const found = this.find(address, length);
    if (found !== null) return found;
    throw new MemoryError(address, length, this.#describe());
  }
}

// `set` costs 33 ns at any length, and a view to be freed; a loop costs 1 ns a byte and frees nothing.
const SHORT = 32;

/** Copies bytes between two arrays. The caller has checked both ranges; they do not overlap. */
export function copyBytes(
  target: Uint8Array,
  targetOffset: number,
  source: Uint8Array,
  sourceOffset: number,
  length: number,
): void {
  if (length > SHORT) {
    target.set(source.subarray(sourceOffset, sourceOffset + length), targetOffset);
  } else {
    for (let i = 0; i < length; i++) target[targetOffset + i] = source[sourceOffset + i]!;
  }
}
