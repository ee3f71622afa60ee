// SPDX-License-Identifier: Apache-2.0
/**
 * Timers that a test turns: deadlines pass when it says so, on a busy machine as on a quiet one.
 *
 * @module
 */
// @ts-types="./fake_timers.d.ts"
import FakeTimers from "@sinonjs/fake-timers";

const realTimeout = globalThis.setTimeout;

/** While it is there, `setTimeout` of this isolate follows `pass()` alone. */
export class FakeTime implements Disposable {
  readonly #clock = FakeTimers.install({ toFake: ["setTimeout", "clearTimeout"] });

  /** Lets so many milliseconds pass: timers that are due by then fire, in order. */
  pass(ms: number): void {
    this.#clock.tick(ms);
  }

  /** When the next timer is due, in milliseconds of this clock; Infinity when none runs. */
  get dueMs(): number {
    return Math.min(...[...this.#clock.timers?.values() ?? []].map(({ callAt }) => callAt));
  }

  [Symbol.dispose](): void {
    this.#clock.uninstall();
  }
}

/** Lets the event loop do what it has to do, whoever turns the timers. */
export function turn(ms = 0): Promise<void> {
  return new Promise((resolve) => realTimeout(resolve, ms));
}
