// SPDX-License-Identifier: Apache-2.0
/**
 * Operations on their way between a device and its io threads, in shared memory.
 *
 * A slot is one operation with its data. The device queues slots; each is taken by one thread, which does it and marks it
 * done. All words go through Atomics, which order what is written before a store before what is read after the load that
 * sees it: so a thread that takes a slot sees its fields and data, and the device that sees it done sees its result.
 *
 * @module
 */

/** The most operations at once; a power of 2. */
export const SLOTS = 64;
/** Bytes of data in one operation. */
export const SLOT_BYTES = 131072;

// Words.
const END = 0;
/** Threads that have not ended. */
const ALIVE = 1;
/** Threads that have begun to serve. */
const STARTED = 2;
/** Threads that wait for an operation. */
const IDLE = 3;
/** Operations taken, and operations queued, both modulo 2^32. The device alone writes the second. */
const HEAD = 4;
const TAIL = 5;
const QUEUE = 8;
/** Of each slot: whether it is done, its operation, its result. */
const STATES = QUEUE + SLOTS;
const OPS = STATES + SLOTS;
const RESULTS = OPS + SLOTS;
const WORDS = RESULTS + SLOTS;
/** Of each slot: its position in the file, and its length. */
const NUMBERS_AT = 4 * WORDS;
const DATA_AT = 4096;

const MASK = SLOTS - 1;

/** The shared memory, from both sides. */
export class IoSlots {
  /** Data: slot n's from n × {@linkcode SLOT_BYTES}. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #numbers: Float64Array<SharedArrayBuffer>;

  /** @param shared The other side's; without it, new memory */
  constructor(
    readonly shared: SharedArrayBuffer = new SharedArrayBuffer(DATA_AT + SLOTS * SLOT_BYTES),
  ) {
    this.#words = new Int32Array(shared, 0, WORDS);
    this.#numbers = new Float64Array(shared, NUMBERS_AT, 2 * SLOTS);
    this.bytes = new Uint8Array(shared, DATA_AT);
  }

  // ---- the device ----

  /** Threads that have begun to serve, since the beginning. */
  get started(): number {
    return Atomics.load(this.#words, STARTED);
  }

  /** Threads that wait for an operation just now. */
  get idle(): number {
    return Atomics.load(this.#words, IDLE);
  }

  /** Notes a thread that is about to be started. */
  addThread(): void {
    Atomics.add(this.#words, ALIVE, 1);
  }

  /** Queues a slot whose data is in place. Threads look for it when {@linkcode announce} was called. */
  queue(slot: number, op: number, position: number, length: number): void {
    const words = this.#words;
    this.#numbers[2 * slot] = position;
    this.#numbers[2 * slot + 1] = length;
    Atomics.store(words, OPS + slot, op);
    Atomics.store(words, STATES + slot, 0);
    const tail = Atomics.load(words, TAIL);
    Atomics.store(words, QUEUE + (tail & MASK), slot);
    Atomics.store(words, TAIL, tail + 1 | 0);
  }

  /** Wakes up to `count` threads that wait. */
  announce(count: number): void {
    Atomics.notify(this.#words, TAIL, count);
  }

  /** Whether a queued slot is done. */
  isDone(slot: number): boolean {
    return Atomics.load(this.#words, STATES + slot) === 1;
  }

  /** The result of a slot that is done: 0 or −errno. */
  result(slot: number): number {
    return Atomics.load(this.#words, RESULTS + slot);
  }

  /** Has every thread end after its present operation, and waits for that. @returns false when one did not end in time */
  end(timeoutMs: number): boolean {
    const words = this.#words;
    Atomics.store(words, END, 1);
    Atomics.add(words, TAIL, 1); // for a thread that is about to wait
    Atomics.notify(words, TAIL);
    const deadline = performance.now() + timeoutMs;
    for (let alive; (alive = Atomics.load(words, ALIVE)) > 0;) {
      const left = deadline - performance.now();
      if (left <= 0 || Atomics.wait(words, ALIVE, alive, left) === "timed-out") return false;
    }
    return true;
  }

  // ---- a thread ----

  /** Notes that this thread serves from now on. */
  start(): void {
    Atomics.add(this.#words, STARTED, 1);
  }

  /** Takes the next slot, and waits for one as long as that takes. @returns −1 when the device has ended */
  next(): number {
    const words = this.#words;
    while (Atomics.load(words, END) === 0) {
      const head = Atomics.load(words, HEAD);
      if (head === Atomics.load(words, TAIL)) {
        Atomics.add(words, IDLE, 1);
        Atomics.wait(words, TAIL, head);
        Atomics.sub(words, IDLE, 1);
      } else {
        // The queue has room for all slots, so this entry is overwritten only after its slot was taken.
        const slot = Atomics.load(words, QUEUE + (head & MASK));
        if (Atomics.compareExchange(words, HEAD, head, head + 1 | 0) === head) return slot;
      }
    }
    return -1;
  }

  op(slot: number): number {
    return Atomics.load(this.#words, OPS + slot);
  }

  position(slot: number): number {
    return this.#numbers[2 * slot]!;
  }

  length(slot: number): number {
    return this.#numbers[2 * slot + 1]!;
  }

  /** Marks a slot done. */
  finish(slot: number, result: number): void {
    const words = this.#words;
    Atomics.store(words, RESULTS + slot, result);
    Atomics.store(words, STATES + slot, 1);
  }

  /** Notes that this thread has ended. */
  leave(): void {
    Atomics.sub(this.#words, ALIVE, 1);
    Atomics.notify(this.#words, ALIVE);
  }
}
