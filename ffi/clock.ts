// SPDX-License-Identifier: Apache-2.0
/**
 * The monotonic clock, and an alarm.
 *
 * @module
 */
import { EPOLLET, EPOLLIN, type Watch, type Watches } from "./epoll.ts";
import { monotonicNs, TimerFd } from "./fd.ts";

/** A monotonic clock in nanoseconds, and one alarm. */
export interface Clock {
  now(): number;
  /** Sets the alarm: {@linkcode onAlarm} is called once at `ns`, at once if that is past; Infinity: never. */
  arm(ns: number): void;
  onAlarm: () => void;
}

/** The monotonic clock. Alarms are moments, not durations, so that a late alarm does not delay the next one. */
export class TimerClock implements Clock, Disposable {
  onAlarm: () => void = () => {};
  #timer = TimerFd.create();
  #watch: Watch;
  #armed = Infinity;

  /** @throws {OsError} */
  constructor(watches: Pick<Watches, "watch">) {
    // Watched edge-triggered, a timer need not be read: setting it clears it.
    this.#watch = watches.watch(this.#timer.number, EPOLLIN | EPOLLET, () => {
      this.#armed = Infinity;
      this.onAlarm();
    });
  }

  now(): number {
    return monotonicNs();
  }

  arm(ns: number): void {
    if (ns === this.#armed) return;
    this.#armed = ns;
    // 0 would disarm it; any other moment in the past expires at once. Rounded up, so that it does not expire too early.
    this.#timer.set(ns === Infinity ? 0 : Math.max(Math.ceil(ns), 1));
  }

  /** Ends the alarm. Calling it again does nothing. */
  close(): void {
    this.#watch.close();
    this.#timer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
