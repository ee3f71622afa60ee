// SPDX-License-Identifier: Apache-2.0
/**
 * The way to the driver's memory for whoever restores a device on the AGL driver. The windows are used up by whoever opened
 * the node, but SHARE_BUF selects any physical address for one mapping of up to 100 pages. The driver has room for 200
 * mappings in a node's life and does not count them: viola does, over all its lives.
 *
 * @module
 */
import { Fd, ioctl, Mapping, pageSize, unwrap, viewMemory } from "../../ffi/mod.ts";
import type { Grow } from "../virtio/memory.ts";

/** A stretch of physical memory: first address, and the one after the last. */
export interface RamRange {
  start: number;
  end: number;
}

/** How to map memory piece by piece; plain data, for a Worker. */
export interface ChunkSource {
  /** The node's descriptor number. */
  readonly fd: number;
  /** The number of SHARE_BUF. */
  readonly request: number;
  /** Where memory is: nothing else is ever mapped, let alone touched. */
  readonly ram: readonly RamRange[];
}

/** Pages in a mapping, so that it is no window. */
const CHUNK_PAGES = 100;
/** Entries of the driver's table of mappings. */
export const MAX_MAPPINGS = 200;

/** Where the number of a node's mappings stands: in the device's state, for all processes that come. */
export interface MappingCount {
  readonly mappings: number;
  countMappings(by: number): void;
}

/**
 * What to map for `length` bytes at an address. Pieces lie side by side, so that no page is in two of them, in whatever
 * order pages are asked for; but for bytes that lie across the border of two.
 */
export function pieceAround(
  ram: readonly RamRange[],
  address: number,
  length: number,
): RamRange | null {
  const range = ram.find(({ start, end }) => address >= start && address < end);
  if (range === undefined) return null;
  const size = CHUNK_PAGES * pageSize();
  const piece = address - (address - range.start) % size;
  const page = address - address % pageSize();
  const start = address + length <= piece + size ? piece : page;
  const end = Math.min(start + size, range.end);
  return address + length <= end ? { start, end } : null;
}

/** The pieces that one process has mapped, and how it maps more. */
export class Chunks implements Disposable {
  readonly #mappings: Mapping[] = [];

  constructor(readonly source: ChunkSource, readonly count: MappingCount) {}

  /** Maps the piece of memory around an address; null where there is no memory, or more than a mapping reaches. */
  readonly grow: Grow = (address, length) => {
    const piece = pieceAround(this.source.ram, address, length);
    if (piece === null) return null;
    return { guest: piece.start, buffer: this.#map(piece.start, piece.end - piece.start) };
  };

  #map(start: number, length: number): ArrayBuffer {
    if (this.count.mappings >= MAX_MAPPINGS) {
      throw new Error(
        `Cannot map memory at 0x${
          start.toString(16)
        }: the loopback node's ${MAX_MAPPINGS} mappings are used up ` +
          `(restart the machine)`,
      );
    }
    this.count.countMappings(1);
    const { fd: number, request } = this.source;
    const address = new BigUint64Array([BigInt(start)]);
    unwrap(ioctl(number, request, new Uint8Array(address.buffer)), "select memory by SHARE_BUF");
    const fd = new Fd(number);
    try {
      const mapping = Mapping.create(fd, length);
      this.#mappings.push(mapping);
      return viewMemory(mapping);
    } finally {
      fd.release();
    }
  }

  /** Unmaps all of it. */
  close(): void {
    for (const mapping of this.#mappings) mapping.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
