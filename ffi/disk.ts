// SPDX-License-Identifier: Apache-2.0
/**
 * Files and block devices that are read and written at positions. Calls return a value or −errno, so that a hot path
 * allocates no error for what it expects.
 *
 * Buffers may lie in a SharedArrayBuffer.
 *
 * @module
 */
import { OsError, unwrap } from "./errno.ts";
import { checkRange, Fd, ioctl } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Of {@linkcode readAt}: fail with EAGAIN instead of waiting for the medium. */
export const RWF_NOWAIT = 0x08;
/** Of {@linkcode writeAt}: return when the data is on the medium. */
export const RWF_DSYNC = 0x02;

/** Of {@linkcode allocateRange}: the file keeps its size. */
export const FALLOC_FL_KEEP_SIZE = 0x01;
/** Of {@linkcode allocateRange}: deallocates; the range reads as zeros. */
export const FALLOC_FL_PUNCH_HOLE = 0x02;
/** Of {@linkcode allocateRange}: the range reads as zeros and stays allocated. */
export const FALLOC_FL_ZERO_RANGE = 0x10;

/** asm-generic; for {@linkcode Fd.open} of a path that may be a FIFO, which would wait for its other end. */
const O_NONBLOCK = 0o4000;

/**
 * Reads up to `length` bytes at `position` of a file to `buffer[at…]`.
 *
 * @param flags 0 or {@linkcode RWF_NOWAIT}
 * @returns the bytes read, 0 at the end of the file, or −errno
 */
export function readAt(
  number: number,
  buffer: Uint8Array,
  at: number,
  length: number,
  position: number,
  flags = 0,
): number {
  checkRange(buffer, at, length);
  // Deno passes the address of a view of a SharedArrayBuffer as well; only its types say ArrayBuffer.
  return shim.viola_pread(number, buffer as Uint8Array<ArrayBuffer>, at, length, position, flags);
}

/**
 * Writes up to `length` bytes from `buffer[at…]` at `position` of a file.
 *
 * @param flags 0 or {@linkcode RWF_DSYNC}
 * @returns the bytes written, or −errno
 */
export function writeAt(
  number: number,
  buffer: Uint8Array,
  at: number,
  length: number,
  position: number,
  flags = 0,
): number {
  checkRange(buffer, at, length);
  return shim.viola_pwrite(number, buffer as Uint8Array<ArrayBuffer>, at, length, position, flags);
}

/** Returns when all that was written to a file is on the medium. @returns 0 or −errno */
export function syncData(number: number): number {
  return shim.viola_fdatasync(number);
}

/** Allocates, deallocates or clears a range of a file in bytes (fallocate(2)). @returns 0 or −errno */
export function allocateRange(
  number: number,
  mode: number,
  position: number,
  length: number,
): number {
  return shim.viola_fallocate(number, mode, position, length);
}

/** Locks a file for this process; other processes that lock it too are refused. @throws {OsError} EAGAIN when one has it */
export function lockFile(fd: Fd, path: string): void {
  unwrap(shim.viola_flock(fd.number), `lock ${path}`);
}

/** Kinds of files that have positions. */
export type DiskKind = "file" | "block device";

const S_IFMT = 0o170000;
const KINDS: ReadonlyMap<number, DiskKind> = new Map([
  [0o100000, "file"],
  [0o060000, "block device"],
]);

/**
 * Opens a file or a block device.
 *
 * @param flags {@linkcode O_RDONLY} or {@linkcode O_RDWR}
 * @throws {OsError} ESPIPE for another kind of file
 */
export function openDisk(path: string, flags: number): { fd: Fd; kind: DiskKind } {
  const fd = Fd.open(path, flags | O_NONBLOCK);
  try {
    const mode = unwrap(shim.viola_file_mode(fd.number), `find out what ${path} is`);
    const kind = KINDS.get(mode & S_IFMT);
    if (kind !== undefined) return { fd, kind };
    throw new OsError(`use ${path}, which is neither a file nor a block device`, 29);
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** ioctl requests of `<linux/fs.h>`; both write an int. */
export const BLOCK_REQUESTS = { BLKSSZGET: 0x1268, BLKPBSZGET: 0x127b } as const;

/** Bytes of a block device's logical and physical blocks. @throws {OsError} */
export function blockSizes(fd: Fd): { logical: number; physical: number } {
  const ask = (request: number): number => {
    const answer = new Uint8Array(4);
    unwrap(ioctl(fd.number, request, answer), `ask descriptor ${fd.number} for its block size`);
    return new DataView(answer.buffer).getInt32(0, true);
  };
  return { logical: ask(BLOCK_REQUESTS.BLKSSZGET), physical: ask(BLOCK_REQUESTS.BLKPBSZGET) };
}
