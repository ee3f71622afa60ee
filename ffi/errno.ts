// SPDX-License-Identifier: Apache-2.0
/**
 * Errors of system calls.
 *
 * @module
 */

/** errno name and meaning by number, asm-generic (x86-64 and arm64 agree). */
const ERRNO: Record<number, readonly [name: string, meaning: string]> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted"],
  5: ["EIO", "input/output error"],
  6: ["ENXIO", "no such device or address"],
  9: ["EBADF", "bad file descriptor"],
  10: ["ECHILD", "no child process"],
  11: ["EAGAIN", "try again"],
  12: ["ENOMEM", "out of memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address"],
  16: ["EBUSY", "device or resource busy"],
  17: ["EEXIST", "file exists"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  21: ["EISDIR", "is a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in the system"],
  24: ["EMFILE", "too many open files for RLIMIT_NOFILE, ulimit -n"],
  25: ["ENOTTY", "not a device of this kind"],
  26: ["ETXTBSY", "text file busy"],
  27: ["EFBIG", "file too large for its system or for RLIMIT_FSIZE, ulimit -f"],
  28: ["ENOSPC", "no space left"],
  29: ["ESPIPE", "illegal seek"],
  30: ["EROFS", "read-only file system"],
  32: ["EPIPE", "broken pipe"],
  36: ["ENAMETOOLONG", "name too long"],
  38: ["ENOSYS", "function not implemented"],
  40: ["ELOOP", "too many symbolic links"],
  71: ["EPROTO", "protocol error"],
  88: ["ENOTSOCK", "not a socket"],
  90: ["EMSGSIZE", "message too long"],
  91: ["EPROTOTYPE", "wrong socket type"],
  93: ["EPROTONOSUPPORT", "protocol not supported"],
  95: ["EOPNOTSUPP", "operation not supported"],
  97: ["EAFNOSUPPORT", "address family not supported"],
  98: ["EADDRINUSE", "address already in use"],
  99: ["EADDRNOTAVAIL", "this machine does not have the address"],
  100: ["ENETDOWN", "network is down"],
  104: ["ECONNRESET", "connection reset by peer"],
  105: ["ENOBUFS", "no buffer space"],
  107: ["ENOTCONN", "not connected"],
  110: ["ETIMEDOUT", "timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  121: ["EREMOTEIO", "remote input/output error"],
};

/** The name of an errno, "E<number>" if it is not in the table. */
export function errnoName(errno: number): string {
  return ERRNO[errno]?.[0] ?? `E${errno}`;
}

/** A system call that failed: what was attempted, and with which errno. */
export class OsError extends Error {
  override readonly name = "OsError";
  /** The errno's name, such as "ENOENT". */
  readonly code: string;

  /**
   * @param operation What was attempted, as the continuation of "Cannot …"
   * @param errno The positive errno
   */
  constructor(readonly operation: string, readonly errno: number) {
    const code = errnoName(errno);
    super(`Cannot ${operation}: ${ERRNO[errno]?.[1] ?? "unknown error"} (${code})`);
    this.code = code;
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is OsError {
    return error instanceof Error && error.name === "OsError";
  }
}

/** Numbers of the errnos in the table, by name. */
const NUMBERS: ReadonlyMap<string, number> = new Map(
  Object.entries(ERRNO).map(([number, [name]]) => [name, Number(number)]),
);

/** An error with an errno of our choice. @param code The errno's name, one of those in the table */
export function osError(operation: string, code: string): OsError {
  return new OsError(operation, NUMBERS.get(code)!);
}

/**
 * The value of a shim call; throws if it failed.
 *
 * @param result What the shim returned: a value, or −errno
 * @param operation What was attempted, as the continuation of "Cannot …"
 * @throws {OsError} when `result` is negative
 */
export function unwrap(result: number, operation: string): number {
  if (result < 0) throw new OsError(operation, -result);
  return result;
}

/** −EAGAIN, as the shim returns it: nothing to read now, or no room to write. */
export const WOULD_BLOCK = -11;

const encoder = new TextEncoder();

/** `text` as a C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`Cannot pass a text to the system: it contains a NUL character: "${text}"`);
  }
  return encoder.encode(`${text}\0`);
}
