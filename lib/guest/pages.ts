// SPDX-License-Identifier: Apache-2.0
/**
 * The guest's memory, allocated by pages, as a kernel does for rings (contiguous) and for sound buffers (scattered
 * pages).
 *
 * @module
 */
import type { GuestMemory } from "../virtio/memory.ts";
import { GuestError } from "./error.ts";

/** Bytes of one of the guest's pages. */
export const PAGE_SIZE = 4096;

/** An allocator over all of a guest's memory. */
export class GuestPages {
  /** 1 for each page in use. */
  readonly #used: Uint8Array;
  /** Where the next search starts: freed pages are not reused at once, so the use of stale addresses is noticed. */
  #next = 0;

  /**
   * @param base Guest address of the first byte, on a page boundary
   * @param size Bytes; the rest after the last whole page is not used
   */
  constructor(readonly memory: GuestMemory, readonly base: number, size: number) {
    this.#used = new Uint8Array(Math.floor(size / PAGE_SIZE));
  }

  /** Pages in use. */
  get inUse(): number {
    return this.#used.reduce((sum, used) => sum + used, 0);
  }

  /**
   * Allocates contiguous memory, filled with zeros.
   *
   * @param bytes Rounded up to whole pages
   * @returns its guest address
   * @throws {GuestError} ENOMEM
   */
  allocate(bytes: number): number {
    const count = pagesOf(bytes);
    const first = this.#find(count);
    if (first < 0) {
      const all = this.#used.length;
      throw new GuestError(
        "ENOMEM",
        `allocate ${count} pages of guest memory: ${this.inUse} of ${all} are in use`,
      );
    }
    this.#used.fill(1, first, first + count);
    this.#next = first + count;
    const address = this.base + first * PAGE_SIZE;
    this.bytes(address, count * PAGE_SIZE).fill(0);
    return address;
  }

  /**
   * Allocates memory page by page, no two adjacent ones in order: the worst that the kernel's vmalloc may return, which a
   * device must support.
   *
   * @returns the pages' guest addresses
   * @throws {GuestError} ENOMEM
   */
  allocateScattered(bytes: number): number[] {
    return Array.from({ length: pagesOf(bytes) }, () => this.allocate(PAGE_SIZE)).reverse();
  }

  /** Frees what {@linkcode allocate} returned for as many bytes. */
  free(address: number, bytes: number): void {
    const first = (address - this.base) / PAGE_SIZE;
    this.#used.fill(0, first, first + pagesOf(bytes));
  }

  /** Frees everything. */
  freeAll(): void {
    this.#used.fill(0);
  }

  /** A view of guest memory. @throws {MemoryError} when it is not in one region */
  bytes(address: number, length: number): Uint8Array {
    const region = this.memory.region(address, length);
    return region.u8.subarray(address - region.guest, address - region.guest + length);
  }

  /** As {@linkcode bytes}, for reading and writing fields. @throws {MemoryError} */
  view(address: number, length: number): DataView {
    const { buffer, byteOffset } = this.bytes(address, length);
    return new DataView(buffer, byteOffset, length);
  }

  /** First fit from where the last search ended, then from the start; −1 when there is none. */
  #find(count: number): number {
    const after = this.#fit(this.#next, this.#used.length, count);
    if (after >= 0) return after;
    return this.#fit(0, Math.min(this.#next + count - 1, this.#used.length), count);
  }

  #fit(from: number, to: number, count: number): number {
    for (let first = from; first + count <= to; first++) {
      const taken = this.#used.subarray(first, first + count).lastIndexOf(1);
      if (taken < 0) return first;
      first += taken;
    }
    return -1;
  }
}

function pagesOf(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / PAGE_SIZE));
}
