// SPDX-License-Identifier: Apache-2.0
/**
 * Time, and a moment to be woken at.
 *
 * @module
 */
import { EPOLLET, EPOLLIN, type Watch, type Watches } from "./epoll.ts";
import { monotonicNs, TimerFd } from "./fd.ts";

/** Nanoseconds that only go forward, and one alarm. */
export interface Clock {
  now(): number;
  /** Calls {@linkcode onAlarm} once at this moment, at once if it is past; Infinity: never. Takes the last one's place. */
  arm(ns: number): void;
  onAlarm: () => void;
}

/** The monotonic clock. Alarms are moments, not spans, so that lateness of one does not delay the next. */
export class TimerClock implements Clock, Disposable {
  onAlarm: () => void = () => {};
  #timer = TimerFd.create();
  #watch: Watch;
  #armed = Infinity;

  /** @throws {OsError} */
  constructor(watches: Pick<Watches, "watch">) {
    // Edge-triggered, a timer need not be read: setting it clears it.
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
    // 0 would disarm it; any other moment past is at once. Rounded up, so that it does not ring too early.
    this.#timer.set(ns === Infinity ? 0 : Math.max(Math.ceil(ns), 1));
  }

  /** No alarm any more; again is no harm. */
  close(): void {
    this.#watch.close();
    this.#timer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
