// SPDX-License-Identifier: Apache-2.0
/**
 * A deadline that counts only the time in which this process ran: while it is stopped (SIGSTOP), its device may be
 * answering without this process seeing it.
 *
 * @module
 */

/** The rest of a time to wait, which is spent in slices. */
export class Countdown {
  #left: number;
  #start = 0;
  #slice = 0;

  /**
   * @param ms The time, in milliseconds
   * @param now A monotonic clock, in milliseconds
   */
  constructor(ms: number, readonly now: () => number = () => performance.now()) {
    this.#left = ms;
  }

  /** Whether the time has run out. */
  get isOver(): boolean {
    return this.#left <= 0;
  }

  /**
   * Begins a slice.
   *
   * @param most The most milliseconds that it may take
   * @returns how many it may take: no more than are left, in whole milliseconds
   */
  begin(most: number): number {
    this.#start = this.now();
    this.#slice = Math.ceil(Math.min(this.#left, most));
    return this.#slice;
  }

  /** Ends the slice; a longer one counts as the time that {@linkcode begin} allowed. */
  end(): void {
    this.#left -= Math.min(this.now() - this.#start, this.#slice);
  }
}
