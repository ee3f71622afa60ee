// SPDX-License-Identifier: Apache-2.0
/**
 * Finds back-ends that live and do nothing: their socket answers, their rings do not move. Some daemons' ring threads end
 * for good over one bad request while the process stays.
 *
 * How long a queue may stand still is the class's affair. Streams are played by a clock, so with a class that has them
 * none of its requests may take long; requests of others have no limit but the user's.
 *
 * @module
 */
import type { QueueClass } from "../virtio/device_class.ts";
import { type DeviceState, QUEUE_COUNTERS } from "../virtio/state.ts";

/** How long queues may have requests in flight and give none back, in milliseconds. */
export interface QueueLimits {
  /** Those of a class with streams. */
  readonly streamMs: number;
  /** Those of others; Infinity: as long as the back-end's socket answers. */
  readonly requestMs: number;
}

/** A queue that stands still. */
export interface StillQueue {
  readonly index: number;
  /** For how long, in milliseconds. */
  readonly ms: number;
  /** It may not take longer. */
  readonly isStuck: boolean;
}

/** Looks at a device's queues again and again. */
export class Watchdog {
  /** So many looks are made in the shorter of the two limits. */
  static readonly LOOKS = 5;

  /** Milliseconds between two looks. */
  readonly lookMs: number;
  readonly #limitMs: number;
  readonly #completions: number[];
  readonly #still: number[];

  constructor(
    readonly queues: readonly QueueClass[],
    readonly state: DeviceState,
    limits: QueueLimits,
  ) {
    this.lookMs = lookMsOf(limits);
    const hasStreams = queues.some(({ kind }) => kind === "stream");
    this.#limitMs = hasStreams ? limits.streamMs : limits.requestMs;
    this.#completions = state.queues.map(() => -1);
    this.#still = state.queues.map(() => 0);
  }

  /**
   * To be called every {@linkcode lookMs}.
   *
   * @param isDue Whether a queue's chains in flight should have come back by now
   * @returns a queue that has stood still for {@linkcode LOOKS} looks at least; null if none has
   */
  async look(isDue: (queue: number) => Promise<boolean>): Promise<StillQueue | null> {
    let found: StillQueue | null = null;
    for (const { index, counters } of this.state.queues) {
      const completions = counters[QUEUE_COUNTERS.completions]!;
      const idle = completions === this.#completions[index];
      this.#completions[index] = completions;
      const due = idle && this.queues[index]!.kind !== "event" && await isDue(index);
      const still = this.#still[index] = due ? this.#still[index]! + 1 : 0;
      const ms = still * this.lookMs;
      const isStuck = ms >= this.#limitMs;
      if (still >= Watchdog.LOOKS && (found === null || isStuck)) found = { index, ms, isStuck };
    }
    return found;
  }
}

/** Milliseconds between two looks. */
export function lookMsOf({ streamMs, requestMs }: QueueLimits): number {
  return Math.min(streamMs, requestMs) / Watchdog.LOOKS;
}
