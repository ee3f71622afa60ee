// SPDX-License-Identifier: Apache-2.0
/**
 * File descriptors, each with one owner.
 *
 * @module
 */
import { cString, unwrap, WOULD_BLOCK } from "./errno.ts";
import { shim } from "./symbols.ts";

/** A descriptor that its owner closes exactly once. */
export class Fd implements Disposable {
  #number: number;

  /**
   * Takes ownership of a descriptor: this object closes it.
   *
   * @param number An open descriptor
   */
  constructor(number: number) {
    this.#number = number;
  }

  /** Opens a file or device. @throws {OsError} */
  static open(path: string, flags: number): Fd {
    return new Fd(unwrap(shim.viola_open(cString(path), flags), `open ${path}`));
  }

  /** The number, for system calls and for another isolate. @throws {TypeError} once closed */
  get number(): number {
    if (this.#number < 0) throw new TypeError("Cannot use a descriptor that is closed");
    return this.#number;
  }

  /** Whether it was closed or released. */
  get closed(): boolean {
    return this.#number < 0;
  }

  /** Ends the ownership without closing: the caller must close the number. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /** A second descriptor of the same file, with an owner of its own. @throws {OsError} */
  duplicate(): Fd {
    return new Fd(unwrap(shim.viola_dup(this.number), `duplicate descriptor ${this.number}`));
  }

  /** The file's size in bytes; 0 for what has none, such as an eventfd. @throws {OsError} */
  size(): number {
    return unwrap(shim.viola_size(this.number), `find the size of descriptor ${this.number}`);
  }

  /** Closes it. Calling it again does nothing. */
  close(): void {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    shim.viola_close(number);
  }

  /** As {@linkcode close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** `open` flags, asm-generic. */
export const O_RDONLY = 0;
/** @see {@linkcode O_RDONLY} */
export const O_RDWR = 2;

/**
 * Closes a descriptor by its number, such as an unexpected one in a message.
 *
 * @param number An open descriptor that nobody owns
 */
export function closeNumber(number: number): void {
  shim.viola_close(number);
}

/** An eventfd (eventfd(2)). */
export class EventFd extends Fd {
  /**
   * @param initial The initial count
   * @throws {OsError}
   */
  static create(initial = 0): EventFd {
    return new EventFd(unwrap(shim.viola_eventfd(initial, 1), "create an eventfd"));
  }

  /** One whose {@linkcode takeEvent} blocks: for a thread that waits for nothing else. @throws {OsError} */
  static createBlocking(): EventFd {
    return new EventFd(unwrap(shim.viola_eventfd(0, 0), "create an eventfd"));
  }
}

/**
 * Signals an eventfd of this process by its number: for hot paths, without an object or an allocation. One that another
 * process holds too is signalled through `PeerSignal`: this write could block.
 *
 * @throws {OsError}
 */
export function signalEvent(number: number): void {
  const result = shim.viola_eventfd_signal(number);
  if (result < 0 && result !== WOULD_BLOCK) unwrap(result, `signal eventfd ${number}`);
}

/**
 * How often an eventfd was signalled since the last call, 0 if never; waits for a signal if the eventfd blocks.
 *
 * @throws {OsError}
 */
export function takeEvent(number: number): number {
  const result = shim.viola_eventfd_take(number);
  return result === WOULD_BLOCK ? 0 : unwrap(result, `read eventfd ${number}`);
}

/** A timer that becomes readable at a moment of the monotonic clock (timerfd_create(2)). */
export class TimerFd extends Fd {
  /** @throws {OsError} */
  static create(): TimerFd {
    return new TimerFd(unwrap(shim.viola_timerfd(), "create a timer"));
  }

  /** Expires once at `ns` nanoseconds of the monotonic clock (at once if that is past); 0 disarms. @throws {OsError} */
  set(ns: number): void {
    unwrap(shim.viola_timerfd_set(this.number, ns), "set a timer");
  }
}

/** CLOCK_MONOTONIC in nanoseconds: the same clock in every isolate and process. */
export function monotonicNs(): number {
  return shim.viola_monotonic_ns();
}

const pair = new Int32Array(2);

/** A pipe, both ends blocking. @throws {OsError} */
export function createPipe(): { reader: Fd; writer: Fd } {
  unwrap(shim.viola_pipe(pair), "create a pipe");
  return { reader: new Fd(pair[0]!), writer: new Fd(pair[1]!) };
}

/** Makes reads and writes of a descriptor return EAGAIN instead of blocking, or block again. @throws {OsError} */
export function setNonblocking(fd: Fd, on = true): void {
  unwrap(shim.viola_set_nonblocking(fd.number, Number(on)), "make a descriptor non-blocking");
}

/**
 * Reads up to `length` bytes to `buffer[offset…]`.
 *
 * @returns the bytes read, 0 at the end of the file, or −errno
 */
export function readFd(
  number: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
  length: number,
): number {
  checkRange(buffer, offset, length);
  return shim.viola_read(number, buffer, offset, length);
}

/**
 * Writes up to `length` bytes from `buffer[offset…]`.
 *
 * @returns the bytes written, or −errno
 */
export function writeFd(
  number: number,
  buffer: Uint8Array<ArrayBuffer>,
  offset: number,
  length: number,
): number {
  checkRange(buffer, offset, length);
  return shim.viola_write(number, buffer, offset, length);
}

/** Checks that the kernel will not read or write outside a buffer. @throws {RangeError} */
export function checkRange(buffer: Uint8Array, offset: number, length: number): void {
  if (offset < 0 || length < 0 || offset + length > buffer.byteLength) {
    throw new RangeError(
      `Cannot use bytes ${offset} to ${offset + length} of a buffer of ${buffer.byteLength}`,
    );
  }
}

/**
 * An `ioctl`. `argument` is the structure passed by pointer, null for a call without one.
 *
 * @returns the call's value, or −errno
 */
export function ioctl(
  number: number,
  request: number,
  argument: Uint8Array<ArrayBuffer> | null,
): number {
  return shim.viola_ioctl(number, request, argument);
}
