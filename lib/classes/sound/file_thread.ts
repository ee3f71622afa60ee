// SPDX-License-Identifier: Apache-2.0
/**
 * The file thread of a card, as the device sees it: a Worker that reads and writes the files of all its streams, so that
 * the device never waits for a disk.
 *
 * @module
 */
import { asset, EPOLLIN, EventFd, takeEvent } from "../../../ffi/mod.ts";
import type { DeviceHost } from "../../device/role.ts";
import type { FileLink } from "./file_link.ts";

/** The message that starts a file thread. */
export interface FileThreadStart {
  /** Of each link: its memory. */
  readonly links: readonly SharedArrayBuffer[];
  readonly signals: SharedArrayBuffer;
  /** The eventfd to signal after each step. */
  readonly done: number;
}

/** What does the work of a card's links. */
export interface FileThread {
  /** A link has work. */
  wake(): void;
  /**
   * Ends it, when all work is done.
   *
   * @returns false when that takes too long
   */
  close(): boolean;
}

/** Starts a file thread. @param onDone Called when something was done */
export type StartFileThread = (
  links: readonly FileLink[],
  host: Pick<DeviceHost, "watch" | "wake">,
  onDone: () => void,
) => FileThread;

// Words between a device and its thread.
/** Counts what the device wakes the thread for. */
const SIGNAL = 0;
const HAS_STARTED = 1;
const IS_TO_END = 2;
const HAS_ENDED = 3;

/** How long the thread may take to start, and to write what is left at the end, in milliseconds. */
const START_MS = 30_000;
const END_MS = 4_000;

/** The words, from both sides. */
export class FileSignals {
  readonly #words: Int32Array<SharedArrayBuffer>;

  constructor(readonly shared: SharedArrayBuffer = new SharedArrayBuffer(16)) {
    this.#words = new Int32Array(shared);
  }

  // ---- the device ----

  wake(): void {
    Atomics.add(this.#words, SIGNAL, 1);
    Atomics.notify(this.#words, SIGNAL);
  }

  /** Waits until the thread serves. @returns false when it does not start */
  awaitStart(): boolean {
    return Atomics.wait(this.#words, HAS_STARTED, 0, START_MS) !== "timed-out";
  }

  /** Has the thread end when its work is done, and waits for that. @returns false when it did not end in time */
  end(): boolean {
    Atomics.store(this.#words, IS_TO_END, 1);
    this.wake();
    return Atomics.wait(this.#words, HAS_ENDED, 0, END_MS) !== "timed-out";
  }

  // ---- the thread ----

  start(): void {
    Atomics.store(this.#words, HAS_STARTED, 1);
    Atomics.notify(this.#words, HAS_STARTED);
  }

  /** What it was woken for so far: asked before it looks for work. */
  get signal(): number {
    return Atomics.load(this.#words, SIGNAL);
  }

  /** Waits until it is woken for more than `signal`. @returns false when it is to end instead */
  wait(signal: number): boolean {
    if (Atomics.load(this.#words, IS_TO_END) === 1) {
      return Atomics.load(this.#words, SIGNAL) !== signal;
    }
    Atomics.wait(this.#words, SIGNAL, signal);
    return true;
  }

  leave(): void {
    Atomics.store(this.#words, HAS_ENDED, 1);
    Atomics.notify(this.#words, HAS_ENDED);
  }
}

/**
 * Starts a Worker, and waits until it serves: a stream's first samples are written like all others.
 *
 * @param script The Worker's
 * @throws {OsError} @throws {Error} when it does not start
 */
export function startFileThread(
  links: readonly FileLink[],
  host: Pick<DeviceHost, "watch" | "wake">,
  onDone: () => void,
  script: URL = asset("lib/classes/sound/file_worker.ts"),
): FileThread {
  const signals = new FileSignals();
  const done = EventFd.create();
  const watch = host.watch(done.number, EPOLLIN, () => {
    takeEvent(done.number);
    onDone();
  });
  const worker = new Worker(script, { type: "module", name: "sound files" });
  worker.postMessage(
    {
      links: links.map(({ shared }) => shared),
      signals: signals.shared,
      done: done.number,
    } satisfies FileThreadStart,
  );
  if (!signals.awaitStart()) {
    throw new Error(`Cannot read or write files: no thread for them started within ${START_MS} ms`);
  }
  return {
    wake: () => signals.wake(),
    close() {
      if (done.closed) return true;
      watch.close();
      const hasEnded = signals.end();
      worker.terminate();
      if (hasEnded) done.close();
      else done.release(); // a thread that still waits for its disk would signal a reused descriptor
      return hasEnded;
    },
  };
}
