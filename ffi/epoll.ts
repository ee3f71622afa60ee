// SPDX-License-Identifier: Apache-2.0
/**
 * Waiting for many descriptors at once: blocking (a Worker's whole life), or awaited (the main isolate's).
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
/** The other side will send no more. */
export const EPOLLRDHUP = 0x2000;
/** Report each new event once. An eventfd watched so need never be read: every ring is a new event. */
export const EPOLLET = 0x80000000;

const MAX_EVENTS = 64;

/** A set of watched descriptors. Any thread may add and remove while another waits. */
export class Epoll extends Fd {
  /** Pairs of what the last wait found: the watch's key, the events. */
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

  /** Stops watching; one that is not watched is no harm. */
  remove(number: number): void {
    shim.viola_epoll_ctl(this.number, 2, number, 0, 0);
  }

  /**
   * Blocks this thread until something happens.
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
  /** Ends it; again is no harm. */
  close(): void;
}

/** Watched descriptors, each with a function to call: the core of a Worker's blocking loop and of a {@linkcode Reactor}. */
export class Watches implements Disposable {
  readonly epoll: Epoll = Epoll.create();
  #watchers = new Map<number, Watcher>();
  #nextKey = 1;

  /**
   * Calls `watcher` whenever `events` are there.
   *
   * @param number An open descriptor
   * @param events EPOLL bits; with EPOLLET the watcher must take all there is before it returns
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
 * Waits, awaited, for any number of descriptors with one of the process's 32 waiting calls. About 40 µs from event to
 * callback: for conversations, not for sound.
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

  /** Waits until there is something to read, or the other side is gone, or the time is up. @param timeoutMs Milliseconds */
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

  /** Ends all watches, and the waiting call; again is no harm. */
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
