// SPDX-License-Identifier: Apache-2.0
/**
 * The io threads of a block device, as the device sees them: Workers that read and write its file, so that the device itself
 * never waits for the medium.
 *
 * Threads are started when they are first needed: one more whenever an operation is queued and none is idle.
 *
 * @module
 */
import { asset, EPOLLIN, EventFd, takeEvent, type Watch } from "../../../ffi/mod.ts";
import { IoSlots, SLOTS } from "./io_slots.ts";

/** The message that starts an io thread. */
export interface IoThread {
  readonly shared: SharedArrayBuffer;
  /** Descriptor of the file. */
  readonly file: number;
  /** The eventfd to signal after each operation. */
  readonly done: number;
}

/** The most threads of one device, and so operations that wait for the medium at once. */
const MAX_THREADS = 4;
/** How long the first thread may take to start, and all of them to end, in milliseconds. */
const START_MS = 30_000;
const END_MS = 10_000;

/** What a pool uses of its device. */
export interface IoPoolOptions {
  /** Descriptor of the file. */
  readonly file: number;
  /** Watches a descriptor in the device's event loop. */
  readonly watch: (number: number, events: number, onEvent: () => void) => Watch;
  /** Called when an operation is done, with its slot and 0 or −errno; the slot is free when this returns. */
  readonly onDone: (slot: number, result: number) => void;
}

/** The threads, and the slots of operations. */
export class IoPool implements Disposable {
  readonly #options: IoPoolOptions;
  readonly #slots = new IoSlots();
  readonly #done = EventFd.create();
  readonly #watch: Watch;
  readonly #workers: Worker[] = [];
  /** Free slots. The last is taken first: light load uses the same memory again and again. */
  readonly #free = Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i);
  /** Slots that are queued or being worked on. */
  readonly #busy = new Set<number>();
  /** Operations that were queued and not announced yet. */
  #unannounced = 0;
  #firstStart = Infinity;

  /** @throws {OsError} */
  constructor(options: IoPoolOptions) {
    this.#options = options;
    this.#watch = options.watch(this.#done.number, EPOLLIN, () => {
      takeEvent(this.#done.number);
      this.#reap();
    });
  }

  /** Data: slot n's from n × SLOT_BYTES. */
  get bytes(): Uint8Array {
    return this.#slots.bytes;
  }

  /** Whether a thread serves, or none is needed yet. */
  get hasStarted(): boolean {
    return this.#workers.length === 0 || this.#slots.started > 0;
  }

  /** Takes a free slot, −1 if there is none. The caller fills in its data and queues it. */
  take(): number {
    return this.#free.pop() ?? -1;
  }

  /** Queues an operation; {@linkcode announce} must follow. */
  queue(slot: number, op: number, position: number, length: number): void {
    this.#busy.add(slot);
    this.#slots.queue(slot, op, position, length);
    this.#unannounced++;
  }

  /** Wakes threads for the operations queued since the last call. @throws {Error} when no thread can be started */
  announce(now: number): void {
    if (this.#unannounced > 0) {
      const { idle } = this.#slots;
      if (idle < this.#unannounced && this.#workers.length < MAX_THREADS) this.#startThread(now);
      this.#slots.announce(this.#unannounced);
      this.#unannounced = 0;
    }
    if (this.hasStarted || now < this.#firstStart + START_MS * 1e6) return;
    throw new Error(`Cannot read or write a disk: no io thread started within ${START_MS} ms`);
  }

  #startThread(now: number): void {
    this.#firstStart = Math.min(this.#firstStart, now);
    const name = `block io ${this.#workers.length}`;
    const worker = new Worker(asset("lib/classes/block/io_worker.ts"), { type: "module", name });
    this.#workers.push(worker);
    this.#slots.addThread();
    const { shared } = this.#slots;
    worker.postMessage({ shared, file: this.#options.file, done: this.#done.number } as IoThread);
  }

  /** Reports the operations that are done. */
  #reap(): void {
    for (const slot of this.#busy) {
      if (!this.#slots.isDone(slot)) continue;
      this.#busy.delete(slot);
      this.#options.onDone(slot, this.#slots.result(slot));
      this.#free.push(slot);
    }
  }

  /**
   * Ends the threads, after their present operations. Calling it again does nothing.
   *
   * @returns false when a thread still waits for the medium: then the file must stay open
   */
  close(): boolean {
    if (this.#done.closed) return true;
    this.#watch.close();
    const hasEnded = this.#slots.end(END_MS);
    for (const worker of this.#workers) worker.terminate();
    if (hasEnded) this.#done.close(); // a thread that still waits for the medium would signal a reused descriptor
    else this.#done.release();
    return hasEnded;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
