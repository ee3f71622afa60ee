// SPDX-License-Identifier: Apache-2.0
/**
 * What a guest is doing, in memory that its owner reads while the guest's thread blocks; and the one word the other way,
 * by which the owner ends what the guest is doing.
 *
 * A guest at work alone writes, but for the order; while it is idle, its owner may clear what is counted. The words go through Atomics, as two isolates share them. The fractions
 * cannot; they are for display, and a 64-bit machine stores each at once.
 *
 * @module
 */
import type { PcmState } from "../classes/sound/wire.ts";

/** What the driver is in: a stream's state, and two before there is one. */
export type GuestState = "unbound" | "bound" | "draining" | PcmState;

const STATES: readonly GuestState[] = [
  "unbound",
  "bound",
  "idle",
  "params set",
  "prepared",
  "running",
  "draining",
  "stopped",
  "released",
];

/** What the owner wants of a driver at work: to end in order, to let go at once, or to wait for no answer any more. */
export const ORDER = { none: 0, stop: 1, drop: 2, kill: 3 } as const;

const WORDS = [
  "order",
  "state",
  "xruns",
  "dry",
  "ioErrors",
  "latencyBytes",
  "interrupts",
  "messages",
] as const;
const NUMBERS = [
  "position",
  "total",
  "buffered",
  "periods",
  "lastPeriodMs",
  "longestPeriodMs",
] as const;
type Word = typeof WORDS[number];
type Fraction = typeof NUMBERS[number];

/** The numbers behind the words are to lie at a multiple of 8. */
const WORD_BYTES = 8 * Math.ceil(WORDS.length / 2);

/** What a user interface shows. */
export interface ProgressSnapshot {
  state: GuestState;
  /** Frames given back by the device, or captured. */
  position: number;
  /** Frames that there are in all. */
  total: number;
  /** Frames that the device has and did not give back. */
  buffered: number;
  /** Buffers given back by the device. */
  periods: number;
  /** XRUN events of the device. */
  xruns: number;
  /** How often the device had no buffer left although there was more to play. */
  dry: number;
  /** Buffers given back with a status other than OK. */
  ioErrors: number;
  /** What the device last said lies between it and the ear. */
  latencyBytes: number;
  /** Interrupts handled. */
  interrupts: number;
  /** Control messages sent. */
  messages: number;
  /** Between the last two buffers given back, in milliseconds. */
  lastPeriodMs: number;
  /** The longest such time of this stream. */
  longestPeriodMs: number;
}

/** A view of the shared progress; made on both sides over the same memory. */
export class Progress {
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #numbers: Float64Array<SharedArrayBuffer>;

  /** @param shared Memory of another's `shared`; without it, new */
  constructor(
    readonly shared: SharedArrayBuffer = new SharedArrayBuffer(WORD_BYTES + 8 * NUMBERS.length),
  ) {
    this.#words = new Int32Array(shared, 0, WORDS.length);
    this.#numbers = new Float64Array(shared, WORD_BYTES, NUMBERS.length);
  }

  /** One of the whole numbers. */
  get(word: Word): number {
    return Atomics.load(this.#words, WORDS.indexOf(word));
  }

  /** @see {@linkcode get} */
  set(word: Word, value: number): void {
    Atomics.store(this.#words, WORDS.indexOf(word), value);
  }

  /** Counts one more. */
  count(word: Word): void {
    Atomics.add(this.#words, WORDS.indexOf(word), 1);
  }

  /** One of the numbers that may be large or broken. */
  read(name: Fraction): number {
    return this.#numbers[NUMBERS.indexOf(name)]!;
  }

  /** @see {@linkcode read} */
  write(name: Fraction, value: number): void {
    this.#numbers[NUMBERS.indexOf(name)] = value;
  }

  get state(): GuestState {
    return STATES[this.get("state")]!;
  }

  set state(state: GuestState) {
    this.set("state", STATES.indexOf(state));
  }

  /** A stream begins: all that is counted of a stream is 0 again. */
  begin(total: number): void {
    for (const word of ["xruns", "dry", "ioErrors", "latencyBytes"] as const) this.set(word, 0);
    this.#numbers.fill(0);
    this.write("total", total);
  }

  /** All of it, as it is now. */
  snapshot(): ProgressSnapshot {
    return {
      state: this.state,
      position: this.read("position"),
      total: this.read("total"),
      buffered: this.read("buffered"),
      periods: this.read("periods"),
      xruns: this.get("xruns"),
      dry: this.get("dry"),
      ioErrors: this.get("ioErrors"),
      latencyBytes: this.get("latencyBytes") >>> 0,
      interrupts: this.get("interrupts"),
      messages: this.get("messages"),
      lastPeriodMs: this.read("lastPeriodMs"),
      longestPeriodMs: this.read("longestPeriodMs"),
    };
  }
}
