// SPDX-License-Identifier: Apache-2.0
/**
 * A guest's progress, in memory that its owner reads while the guest's thread blocks; and one word in the other direction,
 * the order by which the owner ends the running call.
 *
 * During a call only the guest writes, except the order; while it is idle, its owner may clear the counts. The words go
 * through Atomics, as two isolates share them. The numbers cannot (f64); they are for display, and a 64-bit machine stores each
 * in one piece.
 *
 * @module
 */

/** Names of the progress values of a class's driver, besides those of every driver, in the order in memory. */
export interface ProgressLayout {
  /** States of the bound driver, besides `bound`. */
  readonly states: readonly string[];
  /** Counters over the guest's whole life, 32 bits each. */
  readonly totals: readonly string[];
  /** Counters that each call starts from 0, 32 bits each; with the totals at most 29. */
  readonly words: readonly string[];
  /** The same for large values or fractions (f64); at most 32. */
  readonly numbers: readonly string[];
}

/** The layout of a driver without values of its own. */
export const NO_PROGRESS = { states: [], totals: [], words: [], numbers: [] } as const;

/** The states of every driver: without a device, and with one. */
const STATES = ["unbound", "bound"] as const;

/** Words of every driver: the owner's order, the state, interrupts handled. */
const WORDS = ["order", "state", "interrupts"] as const;

/** Orders to a driver during a call: end in order, reset at once, stop waiting for responses, or pause. */
export const ORDER = { none: 0, stop: 1, drop: 2, kill: 3, pause: 4 } as const;

/** 32 words, then 32 numbers. */
const MOST = 32;
const WORD_BYTES = 4 * MOST;
const BYTES = WORD_BYTES + 8 * MOST;

/**
 * A driver's state.
 *
 * @internal
 */
export type StateOf<L extends ProgressLayout> = typeof STATES[number] | L["states"][number];
/**
 * Name of a counter.
 *
 * @internal
 */
export type WordOf<L extends ProgressLayout> =
  | typeof WORDS[number]
  | L["totals"][number]
  | L["words"][number];
/**
 * Name of a measured value.
 *
 * @internal
 */
export type NumberOf<L extends ProgressLayout> = L["numbers"][number];

/** All values, for display: the state, the interrupts handled, and the class's own. */
export type ProgressSnapshot<L extends ProgressLayout = ProgressLayout> = {
  readonly [Name in Exclude<WordOf<L> | NumberOf<L>, "order">]: string extends Name
    ? number | string
    : Name extends "state" ? StateOf<L>
    : number;
};

/** Memory for a progress of any layout. */
export function createProgress(): SharedArrayBuffer {
  return new SharedArrayBuffer(BYTES);
}

/** A view of the shared progress; made on both sides over the same memory. */
export class Progress<L extends ProgressLayout = ProgressLayout> {
  readonly layout: L;
  /** The memory, for the other side. */
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #numbers: Float64Array<SharedArrayBuffer>;
  readonly #names: readonly string[];

  /**
   * @param shared Another's `shared`; without it, new memory
   * @throws {RangeError} when the layout has too many names
   */
  constructor(layout: L, shared: SharedArrayBuffer = createProgress()) {
    this.layout = layout;
    this.shared = shared;
    this.#names = [...WORDS, ...layout.totals, ...layout.words];
    if (this.#names.length > MOST || layout.numbers.length > MOST) {
      throw new RangeError(
        `Cannot show ${this.#names.length} words and ${layout.numbers.length} numbers, expected at most ${MOST}`,
      );
    }
    this.#words = new Int32Array(shared, 0, MOST);
    this.#numbers = new Float64Array(shared, WORD_BYTES, MOST);
  }

  /** Reads a word. */
  get(word: WordOf<L>): number {
    return Atomics.load(this.#words, this.#names.indexOf(word));
  }

  /** @see {@linkcode get} */
  set(word: WordOf<L>, value: number): void {
    Atomics.store(this.#words, this.#names.indexOf(word), value);
  }

  /** Counts one more. */
  count(word: WordOf<L>): void {
    Atomics.add(this.#words, this.#names.indexOf(word), 1);
  }

  /** Reads a number. */
  read(name: NumberOf<L>): number {
    return this.#numbers[this.layout.numbers.indexOf(name)]!;
  }

  /** @see {@linkcode read} */
  write(name: NumberOf<L>, value: number): void {
    this.#numbers[this.layout.numbers.indexOf(name)] = value;
  }

  /** The driver's state. */
  get state(): StateOf<L> {
    const states: readonly StateOf<L>[] = [...STATES, ...this.layout.states];
    return states[this.get("state")]!;
  }

  set state(state: StateOf<L>) {
    this.set("state", [...STATES, ...this.layout.states].indexOf(state));
  }

  /** Starts the counters of a call from 0. */
  clear(): void {
    const first = WORDS.length + this.layout.totals.length;
    for (let i = first; i < MOST; i++) Atomics.store(this.#words, i, 0);
    this.#numbers.fill(0);
  }

  /** The present values; words as unsigned. */
  snapshot(): ProgressSnapshot<L> {
    const { numbers } = this.layout;
    const entries = [
      ...this.#names.slice(1).map((word, i) =>
        [word, Atomics.load(this.#words, i + 1) >>> 0] as const
      ),
      ...numbers.map((name) => [name, this.read(name)] as const),
    ];
    const all = { ...Object.fromEntries(entries), state: this.state };
    return all as ProgressSnapshot<L>; // by the layout's names
  }
}
