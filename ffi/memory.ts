// SPDX-License-Identifier: Apache-2.0
/**
 * Mapped memory, and the one way to look at it.
 *
 * @module
 */
import { cString, OsError, unwrap } from "./errno.ts";
import { Fd } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Where a mapping lies, for another isolate to borrow. Valid while its owner keeps it. */
export interface MappedRange {
  /** Address in this process. */
  readonly address: bigint;
  /** Bytes. */
  readonly length: number;
}

/** The size of a page in bytes. */
export function pageSize(): number {
  return unwrap(shim.viola_page_size(), "ask for the page size");
}

/**
 * Memory without a name that can be handed to another process: a memfd of `size` bytes, all zero. Its size is sealed, so
 * that the other process cannot cut it short under our feet.
 *
 * @throws {OsError}
 */
export function createMemory(name: string, size: number): Fd {
  return new Fd(unwrap(shim.viola_memfd(cString(name), size), `create ${size} bytes of memory`));
}

/** A shared read-write mapping that its owner unmaps exactly once. */
export class Mapping implements Disposable, MappedRange {
  #address: bigint;

  private constructor(address: bigint, readonly length: number) {
    this.#address = address;
  }

  /**
   * Maps `length` bytes of a file from `offset`, shared, for reading and writing. A child process does not inherit it
   * (MADV_DONTFORK).
   *
   * @throws {OsError}
   */
  static create(fd: Fd, length: number, offset = 0): Mapping {
    const address = shim.viola_mmap(fd.number, length, offset);
    if (address < 0n) {
      throw new OsError(`map ${length} bytes of descriptor ${fd.number}`, Number(-address));
    }
    return new Mapping(address, length);
  }

  /** @throws {TypeError} once unmapped */
  get address(): bigint {
    if (this.#address === 0n) throw new TypeError("Cannot use a mapping that is unmapped");
    return this.#address;
  }

  /** What another isolate needs to {@linkcode viewMemory} it. */
  get range(): MappedRange {
    return { address: this.address, length: this.length };
  }

  /** Unmaps it; again is no harm. A view of it touched after that kills the process: see to it that none is kept. */
  close(): void {
    if (this.#address === 0n) return;
    const address = this.#address;
    this.#address = 0n;
    shim.viola_munmap(address, this.length);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The mapping's bytes. Make one view and keep it: this costs 0.7 µs, an access through it nothing. The view must not
 * outlive the mapping.
 */
export function viewMemory(range: MappedRange): ArrayBuffer {
  const pointer = Deno.UnsafePointer.create(range.address);
  if (pointer === null) throw new TypeError("Cannot view memory at address 0");
  return Deno.UnsafePointerView.getArrayBuffer(pointer, range.length);
}
