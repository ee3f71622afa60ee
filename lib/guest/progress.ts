// SPDX-License-Identifier: Apache-2.0
/**
 * What a guest is doing, in memory that its owner reads while the guest's thread blocks; and the one word the other way,
 * by which the owner ends what the guest is doing.
 *
 * A guest that runs a call alone writes, but for the order; while it is idle, its owner may clear what is counted. The words go
 * through Atomics, as two isolates share them. The numbers cannot; they are for display, and a 64-bit machine stores each at
 * once.
 *
 * @module
 */

/** What a class's driver shows besides what every driver does: names, in the order in which they lie in memory. */
export interface ProgressLayout {
  /** What the driver may be in while it is bound, besides `bound`. */
  readonly states: readonly string[];
  /** What is counted for as long as the guest lives, in 32 bits each. */
  readonly totals: readonly string[];
  /** What begins anew with each call, in 32 bits each; with the totals at most 29. */
  readonly words: readonly string[];
  /** The same, for what may be large or broken; at most 32. */
  readonly numbers: readonly string[];
}

/** A driver with nothing to show of its own. */
export const NO_PROGRESS = { states: [], totals: [], words: [], numbers: [] } as const;

/** The states of every driver: without a device, and with one. */
const STATES = ["unbound", "bound"] as const;

/** The words of every driver: the owner's order, the state, interrupts handled. */
const WORDS = ["order", "state", "interrupts"] as const;

/** What the owner wants of a driver that runs a call: to end in order, to let go at once, or to wait for no answer any more. */
export const ORDER = { none: 0, stop: 1, drop: 2, kill: 3 } as const;

/** 32 words, then 32 numbers. */
const MOST = 32;
const WORD_BYTES = 4 * MOST;
const BYTES = WORD_BYTES + 8 * MOST;

/**
 * What a driver is in.
 *
 * @internal
 */
export type StateOf<L extends ProgressLayout> = typeof STATES[number] | L["states"][number];
/**
 * What is counted.
 *
 * @internal
 */
export type WordOf<L extends ProgressLayout> =
  | typeof WORDS[number]
  | L["totals"][number]
  | L["words"][number];
/**
 * What is measured.
 *
 * @internal
 */
export type NumberOf<L extends ProgressLayout> = L["numbers"][number];

/** What a user interface shows: the state, the interrupts handled, and what the class has. */
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
  /** To be handed to the other side. */
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

  /** One of the words. */
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

  /** One of the numbers. */
  read(name: NumberOf<L>): number {
    return this.#numbers[this.layout.numbers.indexOf(name)]!;
  }

  /** @see {@linkcode read} */
  write(name: NumberOf<L>, value: number): void {
    this.#numbers[this.layout.numbers.indexOf(name)] = value;
  }

  /** What the driver is in. */
  get state(): StateOf<L> {
    const states: readonly StateOf<L>[] = [...STATES, ...this.layout.states];
    return states[this.get("state")]!;
  }

  set state(state: StateOf<L>) {
    this.set("state", [...STATES, ...this.layout.states].indexOf(state));
  }

  /** A call begins: what is counted of one is 0 again. */
  clear(): void {
    const first = WORDS.length + this.layout.totals.length;
    for (let i = first; i < MOST; i++) Atomics.store(this.#words, i, 0);
    this.#numbers.fill(0);
  }

  /** All of it, as it is now; words as unsigned. */
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
