// SPDX-License-Identifier: Apache-2.0
/**
 * The state of one queue that restore needs: a block of the device's state (`state.ts`). Each isolate that writes to it
 * has a class of its own.
 *
 * | bytes | what | written by |
 * | --- | --- | --- |
 * | 0 | set-up, 16 × u32 | the isolate that serves accesses |
 * | 64 | progress, 16 × u32 | the isolate that touches the ring |
 * | 128 | counters, 16 × f64 | 8 by the first, 8 by the second |
 * | 256 | chains in flight, u32 × largest size | the isolate that touches the ring |
 *
 * @module
 */
import {
  availBytes,
  descBytes,
  MAX_QUEUE_SIZE,
  splitRingLayout,
  usedBytes,
} from "./ring_layout.ts";

/** Indices in {@linkcode QueueState.counters} of the counters of the isolate that serves accesses. */
export const ACCESS_QUEUE_COUNTERS = { kicks: 0 } as const;
/** Indices of the counters of the isolate that touches the ring. */
export const RING_QUEUE_COUNTERS = {
  chains: 8,
  completions: 9,
  calls: 10,
  bytesOut: 11,
  bytesIn: 12,
  errors: 13,
  resubmitted: 14,
} as const;
/** All of them. */
export const QUEUE_COUNTERS = { ...ACCESS_QUEUE_COUNTERS, ...RING_QUEUE_COUNTERS } as const;

/** One of the values of a table. */
export type ValueOf<Table> = Table[keyof Table];

const PROGRESS_AT = 64;
const COUNTERS_AT = 128;
const COUNTERS_LENGTH = 16;
const IN_FLIGHT_AT = 256;
const CACHE_LINE = 64;

/** Words of the set-up that the driver writes, as its registers have them; an address is two words, low first. */
export const QUEUE_WORDS = { num: 1, align: 2, desc: 4, avail: 6, used: 8 } as const;
// The others.
const NUM_MAX_WORD = 0;
const READY_WORD = 3;
const EPOCH_WORD = 10;

// Words of the progress block.
const NEXT_SEQUENCE_WORD = 0;
const PROGRESS_EPOCH_WORD = 1;

const IN_FLIGHT = 0x80000000;
const SEQUENCE_MASK = 0x7fffffff;

const AREAS = {
  desc: { name: "descriptor table", align: 16, bytes: descBytes },
  avail: { name: "available ring", align: 2, bytes: availBytes },
  used: { name: "used ring", align: 4, bytes: usedBytes },
} as const;
type Area = keyof typeof AREAS;

type Words = Uint32Array<ArrayBuffer>;

/** Whether `n` is a power of 2, up to 2^31. */
export function isPowerOfTwo(n: number): boolean {
  return n > 0 && n <= 0x80000000 && Number.isInteger(n) && (n & (n - 1)) === 0;
}

/** Whether `n` is a valid size of a split ring, in descriptors. */
export function isQueueSize(n: number): boolean {
  return isPowerOfTwo(n) && n <= MAX_QUEUE_SIZE;
}

/** Bytes of the block of a queue of up to `capacity` descriptors. */
export function queueBlockBytes(capacity: number): number {
  return IN_FLIGHT_AT + Math.ceil(4 * capacity / CACHE_LINE) * CACHE_LINE;
}

/** One queue, read-only: how the driver set it up, and the device's progress. */
export class QueueState {
  protected readonly setup: Words;
  protected readonly progress: Words;
  protected readonly counts: Float64Array<ArrayBuffer>;
  protected readonly entries: Words;
  readonly #legacy: boolean;

  /** Views of a block that {@linkcode create} has initialised; for `DeviceState`. */
  constructor(buffer: ArrayBuffer, at: number, readonly index: number, legacy: boolean) {
    this.setup = new Uint32Array(buffer, at, 16);
    this.progress = new Uint32Array(buffer, at + PROGRESS_AT, 16);
    this.counts = new Float64Array(buffer, at + COUNTERS_AT, COUNTERS_LENGTH);
    this.entries = new Uint32Array(buffer, at + IN_FLIGHT_AT, this.numMax);
    this.#legacy = legacy;
  }

  /** Initialises the block of a queue in memory that is zero. */
  static create(buffer: ArrayBuffer, at: number, numMax: number): void {
    new Uint32Array(buffer, at, 16)[NUM_MAX_WORD] = numMax;
  }

  /** The largest size in a block at `at`, for a check before the rest is read. */
  static numMaxAt(buffer: ArrayBuffer, at: number): number {
    return new Uint32Array(buffer, at, 16)[NUM_MAX_WORD]!;
  }

  /** See {@linkcode QUEUE_COUNTERS}. */
  get counters(): ArrayLike<number> {
    return this.counts;
  }

  /** By head: 0, or the sequence number of the chain in flight that begins there, with the top bit set. */
  get inflight(): ArrayLike<number> {
    return this.entries;
  }

  /** The most descriptors the driver may ask for. */
  get numMax(): number {
    return this.setup[NUM_MAX_WORD]!;
  }

  /** Descriptors in the ring; not yet checked unless {@linkcode ready}. */
  get num(): number {
    return this.setup[QUEUE_WORDS.num]!;
  }

  /** Alignment of the used ring in bytes, version 1 only; not yet checked unless {@linkcode ready}. */
  get align(): number {
    return this.setup[QUEUE_WORDS.align]!;
  }

  /** Whether the driver has set the queue up. The set-up does not change while this is true. */
  get ready(): boolean {
    // acquire: num and the addresses were stored before it
    return Atomics.load(this.setup, READY_WORD) !== 0;
  }

  /** Guest address of the descriptor table. @throws {RangeError} above 2^53 */
  get desc(): number {
    return this.#address("desc");
  }

  /** Guest address of the available ring. @throws {RangeError} above 2^53 */
  get avail(): number {
    return this.#address("avail");
  }

  /** Guest address of the used ring. @throws {RangeError} above 2^53 */
  get used(): number {
    return this.#address("used");
  }

  /** Why the set-up is malformed, with the queue and the value; or null. */
  fault(): string | null {
    const { num, numMax, align } = this;
    if (!isPowerOfTwo(num) || num > numMax) {
      return `queue ${this.index} has size ${num}, expected a power of 2 of at most ${numMax}`;
    }
    if (this.#legacy && !isPowerOfTwo(align)) {
      return `queue ${this.index} has alignment ${align}, expected a power of 2`;
    }
    return this.#addressFault("desc") ?? this.#addressFault("avail") ?? this.#addressFault("used");
  }

  /**
   * Number of the queue's life, changed by every reset of the queue or the device. Written by the isolate that
   * serves accesses, read by the one that touches the rings.
   */
  get epoch(): number {
    return Atomics.load(this.setup, EPOCH_WORD);
  }

  /** How many chains have been taken from the available ring, modulo 2^32. */
  get nextSequence(): number {
    return this.progress[NEXT_SEQUENCE_WORD]!;
  }

  /** Index of the next available entry: rings start at 0, so the low 16 bits of {@linkcode nextSequence}. */
  get nextAvail(): number {
    return this.nextSequence & 0xffff;
  }

  /** Whether the chain with this head is in flight. */
  isInFlight(head: number): boolean {
    return this.entries[head] !== undefined && this.entries[head] !== 0;
  }

  /** Whether no chain is in flight. */
  get isIdle(): boolean {
    return this.entries.every((entry) => entry === 0);
  }

  /** Heads of the chains in flight, in the order in which they were taken. */
  headsInFlight(): number[] {
    const heads: number[] = [];
    for (let head = 0; head < this.entries.length; head++) {
      if (this.entries[head] !== 0) heads.push(head);
    }
    return heads.sort((a, b) => this.#age(b) - this.#age(a));
  }

  /** How many chains were taken since this one, itself included. Sequence numbers wrap, so only distances compare. */
  #age(head: number): number {
    return (this.nextSequence - this.entries[head]!) & SEQUENCE_MASK;
  }

  #address(area: Area): number {
    const word = QUEUE_WORDS[area];
    const address = this.setup[word + 1]! * 2 ** 32 + this.setup[word]!;
    if (address <= Number.MAX_SAFE_INTEGER) return address;
    throw new RangeError(`Cannot use queue ${this.index}: ${this.#addressFault(area)}`);
  }

  #addressFault(area: Area): string | null {
    const { name, align, bytes } = AREAS[area];
    const low = this.setup[QUEUE_WORDS[area]]!;
    const high = this.setup[QUEUE_WORDS[area] + 1]!;
    const hex = (BigInt(high) << 32n | BigInt(low)).toString(16);
    const text = `queue ${this.index} has its ${name} at 0x${hex}`;
    if (low % align !== 0) return `${text}, expected a multiple of ${align}`;
    const end = high * 2 ** 32 + low + bytes(this.num);
    return end <= Number.MAX_SAFE_INTEGER ? null : `${text}, expected an end below 2^53`;
  }

  /** Why the progress in memory is malformed, or null. */
  progressFault(): string | null {
    // The progress of an earlier life is cleared before use, and setting a queue up begins another life.
    if (this.progress[PROGRESS_EPOCH_WORD] !== this.epoch || !this.ready) return null;
    const entries = this.entries.filter((entry) => entry !== 0);
    if (entries.some((entry) => entry < IN_FLIGHT)) {
      return `queue ${this.index} has a chain in flight without the top bit set`;
    }
    if (new Set(entries).size < entries.length) {
      return `queue ${this.index} has two chains in flight with one sequence number`;
    }
    if (this.entries.some((entry, head) => entry !== 0 && head >= this.num)) {
      return `queue ${this.index} of size ${this.num} has a chain in flight beyond it`;
    }
    return null;
  }
}

/** A queue for the isolate that serves accesses: it writes the set-up. */
export class AccessQueue extends QueueState {
  /** Writes one word of the set-up (see {@linkcode QUEUE_WORDS}) of a queue that is not ready. */
  setWord(word: number, value: number): void {
    this.setup[word] = value;
  }

  /**
   * Places the three areas in one block, as version 1 does, from the table's address, the size and the alignment.
   * Nothing is checked: {@linkcode fault} does that.
   */
  placeLegacy(desc: number): void {
    const layout = splitRingLayout(desc, this.num, this.align);
    this.#setAddress("desc", layout.desc);
    this.#setAddress("avail", layout.avail);
    this.#setAddress("used", layout.used);
  }

  /** Marks the set-up as complete. Only if {@linkcode fault} is null. */
  makeReady(): void {
    Atomics.store(this.setup, READY_WORD, 1); // release: see ready
  }

  /** Clears the set-up; the progress is stale from now on, until {@linkcode resumeProgress} clears it. */
  reset(): void {
    // First: a reader that finds the queue ready after reading the set-up has read all of it.
    Atomics.store(this.setup, READY_WORD, 0);
    this.setup.fill(0, QUEUE_WORDS.num, READY_WORD);
    this.setup.fill(0, QUEUE_WORDS.desc, QUEUE_WORDS.used + 2);
    Atomics.add(this.setup, EPOCH_WORD, 1);
  }

  /** Counts. */
  count(counter: ValueOf<typeof ACCESS_QUEUE_COUNTERS>): void {
    this.counts[counter]!++;
  }

  #setAddress(area: Area, address: number): void {
    const word = QUEUE_WORDS[area];
    this.setup[word] = address % 2 ** 32;
    this.setup[word + 1] = Math.floor(address / 2 ** 32);
  }
}

/** A queue for the isolate that touches its ring: it writes the progress. */
export class RingQueue extends QueueState {
  /**
   * Brings the progress to the present {@linkcode epoch}: it is kept if it belongs to it, cleared if to an earlier life.
   * Called by the isolate that touches the ring before it serves it, for the first time or after restore.
   */
  resumeProgress(): void {
    const epoch = this.epoch;
    if (this.progress[PROGRESS_EPOCH_WORD] === epoch) return this.#dropUncommitted();
    this.entries.fill(0);
    Atomics.store(this.progress, NEXT_SEQUENCE_WORD, 0);
    Atomics.store(this.progress, PROGRESS_EPOCH_WORD, epoch); // last: without it the progress is cleared again
  }

  /**
   * Notes that the chain at {@linkcode nextAvail}, with head `head`, is in flight now. At whatever point the process ends,
   * restore finds the chain either not taken or in flight.
   *
   * @param head Less than {@linkcode numMax}
   */
  takeOn(head: number): void {
    const sequence = this.nextSequence;
    this.entries[head] = IN_FLIGHT | sequence;
    Atomics.store(this.progress, NEXT_SEQUENCE_WORD, sequence + 1); // release: the entry comes first
  }

  /** Notes that the chain is no longer in flight. Called when its used element is published. */
  giveBack(head: number): void {
    Atomics.store(this.entries, head, 0); // release: the used index comes first
  }

  /** Counts. */
  count(counter: ValueOf<typeof RING_QUEUE_COUNTERS>, by = 1): void {
    this.counts[counter]! += by;
  }

  #dropUncommitted(): void {
    const uncommitted = (IN_FLIGHT | this.nextSequence) >>> 0;
    const head = this.entries.indexOf(uncommitted);
    if (head >= 0) this.entries[head] = 0;
  }
}
