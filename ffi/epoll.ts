// SPDX-License-Identifier: Apache-2.0
/**
 * Waiting for many descriptors at once: blocking (in a Worker), or awaited (in the main isolate).
 *
 * @module
 */
import { unwrap } from "./errno.ts";
import { EventFd, Fd, signalEvent } from "./fd.ts";
import { shim } from "./symbols.ts";

/** There is something to read. */
export const EPOLLIN = 0x001;
/** There is room to write. */
export const EPOLLOUT = 0x004;
/** An error; reported whether it is watched for or not. */
export const EPOLLERR = 0x008;
/** The other side has closed both ways; reported whether it is watched for or not. */
export const EPOLLHUP = 0x010;
/** The other side will send no more. */
export const EPOLLRDHUP = 0x2000;
/** Report each new event once. An eventfd that is watched with it need not be read: every write is a new event. */
export const EPOLLET = 0x80000000;

const MAX_EVENTS = 64;

/** A set of watched descriptors. A thread may add and remove while another waits. */
export class Epoll extends Fd {
  /** Results of the last wait, as pairs: the watch's key, the events. */
  readonly found: Uint32Array<ArrayBuffer> = new Uint32Array(2 * MAX_EVENTS);

  /** @throws {OsError} */
  static create(): Epoll {
    return new Epoll(unwrap(shim.viola_epoll(), "create an epoll descriptor"));
  }

  /**
   * Watches a descriptor; events on it are reported with `key`.
   *
   * @throws {OsError}
   */
  add(number: number, events: number, key: number): void {
    unwrap(
      shim.viola_epoll_ctl(this.number, 1, number, events >>> 0, key),
      `watch descriptor ${number}`,
    );
  }

  /** Changes what is watched for. @throws {OsError} */
  modify(number: number, events: number, key: number): void {
    unwrap(
      shim.viola_epoll_ctl(this.number, 3, number, events >>> 0, key),
      `watch descriptor ${number}`,
    );
  }

  /** Stops watching a descriptor; does nothing if it is not watched. */
  remove(number: number): void {
    shim.viola_epoll_ctl(this.number, 2, number, 0, 0);
  }

  /**
   * Blocks this thread until an event or the timeout.
   *
   * @param timeoutMs Longest wait in milliseconds, −1 for ever
   * @returns how many pairs {@linkcode found} holds
   * @throws {OsError}
   */
  wait(timeoutMs: number): number {
    const n = shim.viola_epoll_wait(this.number, this.found, MAX_EVENTS, timeoutMs);
    return n < 0 ? unwrap(n, "wait for events") : n;
  }
}

/** Called with the events seen, on the isolate that owns the watch. */
export type Watcher = (events: number) => void;

/** A watch of one descriptor; closing it ends it, and must come before the descriptor is closed. */
export interface Watch extends Disposable {
  /** Ends it. Calling it again does nothing. */
  close(): void;
}

/** Watched descriptors, each with a function to call: the core of a Worker's blocking loop and of a {@linkcode Reactor}. */
export class Watches implements Disposable {
  readonly epoll: Epoll = Epoll.create();
  #watchers = new Map<number, Watcher>();
  #nextKey = 1;

  /**
   * Calls `watcher` at each of the `events`.
   *
   * @param number An open descriptor
   * @param events EPOLL bits; with EPOLLET the watcher must read everything before it returns
   * @throws {OsError}
   */
  watch(number: number, events: number, watcher: Watcher): Watch {
    const key = this.#nextKey++;
    this.epoll.add(number, events, key);
    this.#watchers.set(key, watcher);
    const close = (): void => {
      if (this.#watchers.delete(key) && !this.epoll.closed) this.epoll.remove(number);
    };
    return { close, [Symbol.dispose]: close };
  }

  /** Calls the watchers of the first `n` pairs of `epoll.found`. */
  dispatch(n: number): void {
    const { found } = this.epoll;
    for (let i = 0; i < n; i++) this.#watchers.get(found[2 * i]!)?.(found[2 * i + 1]!);
  }

  /** Ends all watches. */
  close(): void {
    this.#watchers.clear();
    this.epoll.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Awaits events on any number of descriptors, with one of the process's 32 asynchronous calls. About 40 µs from event to
 * callback: fast enough for vhost-user messages, not for rings.
 */
export class Reactor implements AsyncDisposable {
  #watches = new Watches();
  #wake = EventFd.create();
  #closing = false;
  #running: Promise<void>;

  constructor() {
    this.#watches.watch(this.#wake.number, EPOLLIN | EPOLLET, () => {});
    this.#running = this.#run();
  }

  /** See {@linkcode Watches.watch}; a watcher runs on this isolate's event loop. @throws {OsError} */
  watch(number: number, events: number, watcher: Watcher): Watch {
    return this.#watches.watch(number, events, watcher);
  }

  /** Waits until a descriptor is readable, its other side has closed, or the time is over. @param timeoutMs Milliseconds */
  async readable(fd: Fd, timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    using _watch = this.watch(fd.number, EPOLLIN, () => resolve());
    const timer = setTimeout(resolve, timeoutMs);
    await promise;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { epoll } = this.#watches;
    while (!this.#closing) {
      const n = await shim.viola_epoll_wait_async(epoll.number, epoll.found, MAX_EVENTS, -1);
      this.#watches.dispatch(unwrap(n, "wait for events"));
    }
  }

  /** Ends all watches, and the asynchronous call. Calling it again does nothing. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      signalEvent(this.#wake.number);
    }
    await this.#running;
    this.#watches.close();
    this.#wake.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
