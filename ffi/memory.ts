// SPDX-License-Identifier: Apache-2.0
/**
 * Mapped memory and its views.
 *
 * @module
 */
import { cString, OsError, unwrap } from "./errno.ts";
import { Fd } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Address and length of a mapping, for views in another isolate. Valid until its owner unmaps it. */
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
 * Anonymous memory that can be passed to another process: a memfd of `size` bytes, all zero. Its size is sealed, so
 * that the other process cannot shrink it while we have it mapped.
 *
 * @throws {OsError}
 */
export function createMemory(name: string, size: number): Fd {
  return new Fd(unwrap(shim.viola_memfd(cString(name), size), `create ${size} bytes of memory`));
}

/** The size of a file's pages in bytes, which are large in hugetlbfs and with MFD_HUGETLB. @throws {OsError} */
export function filePageSize(fd: Fd): number {
  const what = `ask for the page size of descriptor ${fd.number}`;
  return unwrap(shim.viola_file_page_size(fd.number), what);
}

const F_SEAL_SHRINK = 2;

/**
 * Whether a file is sealed against shrinking (F_SEAL_SHRINK, fcntl(2)). Any holder can shrink other files; an
 * access to a mapping of it then ends this process with SIGBUS.
 */
export function cannotShrink(fd: Fd): boolean {
  const seals = shim.viola_seals(fd.number);
  return seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
}

/**
 * The whole pages that hold a range of a file.
 *
 * @param offset Where the range begins, in bytes
 * @param length Bytes of it, at least one
 * @param page Bytes of a page
 */
export function pagesAround(
  offset: number,
  length: number,
  page: number,
): { offset: number; length: number } {
  const start = offset - offset % page;
  return { offset: start, length: Math.ceil((offset + length - start) / page) * page };
}

/** A shared read-write mapping that its owner unmaps exactly once. */
export class Mapping implements Disposable, MappedRange {
  #address: bigint;
  /** Bytes that are mapped before the requested range. */
  readonly #skipped: number;
  /** All bytes that are mapped. */
  readonly #mapped: number;

  private constructor(address: bigint, readonly length: number, skipped = 0, mapped = length) {
    this.#address = address;
    this.#skipped = skipped;
    this.#mapped = mapped;
  }

  /**
   * Maps `length` bytes of a file from `offset`, shared, for reading and writing. A child process does not inherit it
   * (MADV_DONTFORK).
   *
   * @throws {OsError}
   */
  static create(fd: Fd, length: number, offset = 0): Mapping {
    return new Mapping(map(fd, length, offset), length);
  }

  /**
   * As {@linkcode create}, for any offset and length: maps the whole pages that hold the range. Pages of a file in
   * huge pages (hugetlbfs, MFD_HUGETLB) are large, and no smaller range of it can be mapped or unmapped.
   *
   * @throws {OsError}
   */
  static createWithin(fd: Fd, length: number, offset: number): Mapping {
    const page = filePageSize(fd);
    const pages = pagesAround(offset, length, page);
    const address = map(fd, pages.length, pages.offset);
    return new Mapping(address, length, offset - pages.offset, pages.length);
  }

  /** @throws {TypeError} once unmapped */
  get address(): bigint {
    if (this.#address === 0n) throw new TypeError("Cannot use a mapping that is unmapped");
    return this.#address + BigInt(this.#skipped);
  }

  /** For {@linkcode viewMemory} in another isolate. */
  get range(): MappedRange {
    return { address: this.address, length: this.length };
  }

  /**
   * Unmaps it. Calling it again does nothing. Using a view of it afterwards kills the process: keep none.
   *
   * @throws {OsError} and it stays mapped until the process ends
   */
  close(): void {
    if (this.#address === 0n) return;
    const address = this.#address;
    this.#address = 0n;
    unwrap(shim.viola_munmap(address, this.#mapped), `unmap ${this.#mapped} bytes`);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function map(fd: Fd, length: number, offset: number): bigint {
  const address = shim.viola_mmap(fd.number, length, offset);
  if (address >= 0n) return address;
  throw new OsError(`map ${length} bytes of descriptor ${fd.number}`, Number(-address));
}

/**
 * A view of a mapping's bytes. Make one and keep it: making it costs 0.7 µs, an access through it nothing. The view must not
 * be used after the mapping is closed.
 */
export function viewMemory(range: MappedRange): ArrayBuffer {
  const pointer = Deno.UnsafePointer.create(range.address);
  if (pointer === null) throw new TypeError("Cannot view memory at address 0");
  return Deno.UnsafePointerView.getArrayBuffer(pointer, range.length);
}
