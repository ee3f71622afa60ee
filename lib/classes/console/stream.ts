// SPDX-License-Identifier: Apache-2.0
/**
 * A descriptor that bytes are read from and written to without waiting: edge-triggered, so that one that is not read, or has
 * no room, costs nothing until that changes.
 *
 * @module
 */
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  type Fd,
  type OsError,
  readFd,
  type UnixSocket,
  type Watch,
  WOULD_BLOCK,
  writeFd,
} from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";

/** System calls of a descriptor, each of which returns at once: a number of bytes, 0 at the end, or −errno. */
export interface RawBytes {
  readonly number: number;
  read(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  close(): void;
}

/** A terminal, pipe or file that does not block. */
export function rawFile(fd: Fd): RawBytes {
  const { number } = fd;
  return {
    number,
    read: (buffer, at, length) => readFd(number, buffer, at, length),
    write: (buffer, at, length) => writeFd(number, buffer, at, length),
    close: () => fd.close(),
  };
}

const EPERM = -1;
const ECONNRESET = -104;

/** A socket; whoever sends descriptors along is taken for one that is gone. */
export function rawSocket(socket: UnixSocket): RawBytes {
  const attempt = (call: () => number): number => {
    try {
      return call();
    } catch (error) {
      return -(error as OsError).errno || ECONNRESET;
    }
  };
  return {
    number: socket.number,
    read: (buffer, at, length) => attempt(() => socket.receive(buffer, at, length, 0).length),
    write: (buffer, at, length) => attempt(() => socket.send(buffer, at, length) || WOULD_BLOCK),
    close: () => socket.hangUp(),
  };
}

const ALL = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

/** See the module. */
export class Stream implements Disposable {
  readonly #watch: Watch | null;
  #mayRead = true;
  #mayWrite = true;
  /** Nothing more will be read. */
  isEnded = false;
  /** Nothing more can be written. */
  isBroken = false;
  /** The other side sends no more; what it wrote may still be read. */
  isHalfClosed = false;
  /** The other side has closed both ways. */
  isHungUp = false;

  /** @param raw It is closed with the stream @throws {OsError} */
  constructor(readonly raw: RawBytes, watch: DeviceHost["watch"]) {
    this.#watch = watchUnlessFile(() => watch(raw.number, ALL, (events) => this.#onEvents(events)));
  }

  #onEvents(events: number): void {
    if ((events & (EPOLLHUP | EPOLLERR)) !== 0) this.isHungUp = true;
    if ((events & EPOLLRDHUP) !== 0) this.isHalfClosed = true;
    if ((events & ~EPOLLOUT) !== 0) this.#mayRead = true;
    if ((events & ~EPOLLIN) !== 0) this.#mayWrite = true;
  }

  /** @returns bytes read, 0 when there are none now or will be none: {@linkcode isEnded} tells */
  read(buffer: Uint8Array<ArrayBuffer>): number {
    if (!this.#mayRead || this.isEnded) return 0;
    const count = this.raw.read(buffer, 0, buffer.length);
    if (count > 0) return count;
    this.#mayRead = false;
    if (count !== WOULD_BLOCK) this.isEnded = true;
    return 0;
  }

  /** @returns bytes written, 0 when there is no room now or never will be: {@linkcode isBroken} tells */
  write(buffer: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (!this.#mayWrite || this.isBroken) return 0;
    const count = this.raw.write(buffer, at, length);
    if (count > 0) return count;
    this.#mayWrite = false;
    if (count !== WOULD_BLOCK) this.isBroken = true;
    return 0;
  }

  /** Begins anew, after another program has opened the other side. */
  renew(): void {
    this.#mayRead = this.#mayWrite = true;
    this.isEnded =
      this.isBroken =
      this.isHalfClosed =
      this.isHungUp =
        false;
  }

  [Symbol.dispose](): void {
    this.#watch?.close();
    this.raw.close();
  }
}

/** A file is always ready, and cannot be watched. */
function watchUnlessFile(watch: () => Watch): Watch | null {
  try {
    return watch();
  } catch (error) {
    if ((error as OsError).errno === -EPERM) return null;
    throw error;
  }
}
