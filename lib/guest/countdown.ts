// SPDX-License-Identifier: Apache-2.0
/**
 * A deadline of which time counts in which this process could act: while it was stopped (SIGSTOP), its device could as
 * little be answered as it could be seen to answer.
 *
 * @module
 */

/** What is left of a time to wait, which is waited for in slices. */
export class Countdown {
  #left: number;
  #start = 0;
  #slice = 0;

  /**
   * @param ms The time, in milliseconds
   * @param now A clock in milliseconds that does not go back
   */
  constructor(ms: number, readonly now: () => number = () => performance.now()) {
    this.#left = ms;
  }

  /** Whether nothing is left. */
  get isOver(): boolean {
    return this.#left <= 0;
  }

  /**
   * Begins a slice.
   *
   * @param most Milliseconds that it may take
   * @returns those that it may take now: no more than are left, in whole milliseconds
   */
  begin(most: number): number {
    this.#start = this.now();
    this.#slice = Math.ceil(Math.min(this.#left, most));
    return this.#slice;
  }

  /** Ends the slice: it took as long as it was meant to, at most. */
  end(): void {
    this.#left -= Math.min(this.now() - this.#start, this.#slice);
  }
}
