// SPDX-License-Identifier: Apache-2.0
/**
 * What is done to a disk's file, one operation at a time. Each call may wait for the medium.
 *
 * @module
 */
import {
  allocateRange,
  errnoName,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  osError,
  readAt,
  RWF_DSYNC,
  syncData,
  writeAt,
} from "../../../ffi/mod.ts";

/** The operations. Those that change the disk can be made {@linkcode STABLE}. */
export const OP = {
  read: 0,
  write: 1,
  flush: 2,
  discard: 3,
  /** Fills a range with zeros that stays allocated. */
  zero: 4,
  /** Fills a range with zeros, and deallocates it where that is possible. */
  zeroUnmap: 5,
} as const;

/** Added to an operation that changes the disk: it returns when the change is on the medium. */
export const STABLE = 8;

/** What the operations are called in errors. */
const NAMES: readonly string[] = [
  "read",
  "write",
  "flush",
  "discard",
  "write zeros",
  "write zeros",
];

/** What an operation is called in errors. */
export function operationName(op: number): string {
  return NAMES[op & ~STABLE]!;
}

/** A system call of its own writes and commits. */
const STABLE_WRITE = OP.write | STABLE;

/** −EIO: also what a file gives that has become shorter than its disk. */
export const EIO: number = -osError("", "EIO").errno;
const EINTR = -osError("", "EINTR").errno;
/** What file systems and devices without an operation answer; EINVAL is a block device's, for a range in parts of its blocks. */
const NOT_SERVED: ReadonlySet<string> = new Set(["EOPNOTSUPP", "EINVAL", "ENODEV", "ENOSYS"]);

const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const ZERO = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
/** Zeros to write where a file system cannot make them. */
const ZEROS = new Uint8Array(65536);

/**
 * Does an operation on a whole range.
 *
 * @param number The file's descriptor
 * @param op One of {@linkcode OP}, or that with {@linkcode STABLE}
 * @param position Where in the file, in bytes
 * @param length Bytes
 * @param bytes Holds the data of reads and writes, from `at`
 * @returns 0 or −errno
 */
export function perform(
  number: number,
  op: number,
  position: number,
  length: number,
  bytes: Uint8Array,
  at: number,
): number {
  if ((op & STABLE) !== 0 && op !== STABLE_WRITE) {
    return perform(number, op & ~STABLE, position, length, bytes, at) || syncData(number);
  }
  switch (op) {
    case OP.read:
      return readAll(number, bytes, at, length, position);
    case OP.write:
      return writeAll(number, bytes, at, length, position, 0);
    case STABLE_WRITE:
      return writeAll(number, bytes, at, length, position, RWF_DSYNC);
    case OP.flush:
      return syncData(number);
    case OP.discard:
      return discard(number, position, length);
    case OP.zero:
      return zero(number, position, length, [ZERO]);
    default: // OP.zeroUnmap
      return zero(number, position, length, [PUNCH, ZERO]);
  }
}

function readAll(
  number: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  position: number,
): number {
  for (let done = 0; done < length;) {
    const n = readAt(number, bytes, at + done, length - done, position + done);
    if (n === 0) return EIO;
    if (n > 0) done += n;
    else if (n !== EINTR) return n;
  }
  return 0;
}

function writeAll(
  number: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  position: number,
  flags: number,
): number {
  for (let done = 0; done < length;) {
    const n = writeAt(number, bytes, at + done, length - done, position + done, flags);
    if (n === 0) return EIO;
    if (n > 0) done += n;
    else if (n !== EINTR) return n;
  }
  return 0;
}

function allocate(number: number, mode: number, position: number, length: number): number {
  for (;;) {
    const result = allocateRange(number, mode, position, length);
    if (result !== EINTR) return result;
  }
}

/** Where deallocation is not served nothing is done: a discard is a hint. */
function discard(number: number, position: number, length: number): number {
  const result = allocate(number, PUNCH, position, length);
  return isNotServed(result) ? 0 : result;
}

/** Fills with zeros by the first of these that the file system serves, or else by writing them. */
function zero(number: number, position: number, length: number, modes: readonly number[]): number {
  for (const mode of modes) {
    const result = allocate(number, mode, position, length);
    if (!isNotServed(result)) return result;
  }
  for (let done = 0; done < length; done += ZEROS.length) {
    const n = Math.min(length - done, ZEROS.length);
    const result = writeAll(number, ZEROS, 0, n, position + done, 0);
    if (result < 0) return result;
  }
  return 0;
}

function isNotServed(result: number): boolean {
  return result < 0 && NOT_SERVED.has(errnoName(-result));
}
