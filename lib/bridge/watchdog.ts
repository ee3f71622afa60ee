// SPDX-License-Identifier: Apache-2.0
/**
 * Finds back-ends that hang: their socket answers, but their rings make no progress. In some daemons one bad request ends
 * the thread that serves a ring while the process stays.
 *
 * How long a queue may make no progress depends on the class. Streams are paced by a clock, so a class with streams has a
 * short limit for all its requests; other classes have none unless the user sets one.
 *
 * @module
 */
import type { QueueClass } from "../virtio/device_class.ts";
import { type DeviceState, QUEUE_COUNTERS } from "../virtio/state.ts";

/** How long a queue with requests in flight may give none back, in milliseconds. */
export interface QueueLimits {
  /** For a class with streams. */
  readonly streamMs: number;
  /** For other classes; Infinity: no limit while the back-end's socket answers. */
  readonly requestMs: number;
}

/** A queue that makes no progress. */
export interface StillQueue {
  readonly index: number;
  /** For how long, in milliseconds. */
  readonly ms: number;
  /** The limit is reached. */
  readonly isStuck: boolean;
}

/** Checks a device's queues periodically. */
export class Watchdog {
  /** Checks made within the shorter of the two limits. */
  static readonly CHECKS = 5;

  /** Milliseconds between two checks. */
  readonly checkMs: number;
  readonly #limitMs: number;
  readonly #completions: number[];
  readonly #still: number[];

  constructor(
    readonly queues: readonly QueueClass[],
    readonly state: DeviceState,
    limits: QueueLimits,
  ) {
    this.checkMs = checkMsOf(limits);
    const hasStreams = queues.some(({ kind }) => kind === "stream");
    this.#limitMs = hasStreams ? limits.streamMs : limits.requestMs;
    this.#completions = state.queues.map(() => -1);
    this.#still = state.queues.map(() => 0);
  }

  /**
   * Checks once; call it every {@linkcode checkMs}.
   *
   * @param isDue Whether a queue's chains in flight should have come back by now
   * @returns a queue without progress for at least {@linkcode CHECKS} checks; null if there is none
   */
  async check(isDue: (queue: number) => Promise<boolean>): Promise<StillQueue | null> {
    let found: StillQueue | null = null;
    for (const { index, counters } of this.state.queues) {
      const completions = counters[QUEUE_COUNTERS.completions]!;
      const idle = completions === this.#completions[index];
      this.#completions[index] = completions;
      const due = idle && this.queues[index]!.kind !== "event" && await isDue(index);
      const still = this.#still[index] = due ? this.#still[index]! + 1 : 0;
      const ms = still * this.checkMs;
      const isStuck = ms >= this.#limitMs;
      if (still >= Watchdog.CHECKS && (found === null || isStuck)) found = { index, ms, isStuck };
    }
    return found;
  }
}

/** Milliseconds between two checks. */
export function checkMsOf({ streamMs, requestMs }: QueueLimits): number {
  return Math.min(streamMs, requestMs) / Watchdog.CHECKS;
}
