// SPDX-License-Identifier: Apache-2.0
/**
 * Maps the driver's memory for a process that restores a device on the AGL driver. The process that opened the node has
 * used up the windows, but SHARE_BUF selects any physical address for one mapping of up to 100 pages. The driver has room
 * for 200 mappings in a node's life and does not check that: viola counts them in the device's state.
 *
 * @module
 */
import { Fd, ioctl, Mapping, pageSize, unwrap, viewMemory } from "../../ffi/mod.ts";
import type { Grow } from "../virtio/memory.ts";

/** A range of physical memory: first address, and the one after the last. */
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
  /** The ranges of memory; no other address is mapped. */
  readonly ram: readonly RamRange[];
}

/** The most pages of a mapping that is not a window. */
const CHUNK_PAGES = 100;
/** Entries in the driver's table of mappings. */
export const MAX_MAPPINGS = 200;

/** The counter of a node's mappings, in the device's state, so that later processes have it too. */
export interface MappingCount {
  readonly mappings: number;
  countMappings(by: number): void;
}

/**
 * The piece to map for `length` bytes at an address. Pieces are aligned, so that no page is mapped twice, except for bytes
 * that cross the border of two pieces.
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

/** The pieces that one process has mapped. */
export class Chunks implements Disposable {
  readonly #mappings: Mapping[] = [];

  constructor(readonly source: ChunkSource, readonly count: MappingCount) {}

  /** Maps the piece around an address; null where there is no memory, or the range is longer than a mapping. */
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

  /** Unmaps all pieces. */
  close(): void {
    for (const mapping of this.#mappings) mapping.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
