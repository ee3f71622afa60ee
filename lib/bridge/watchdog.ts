// SPDX-License-Identifier: Apache-2.0
/**
 * Finds back-ends that live and do nothing: their socket answers, their rings do not move. Some daemons' ring threads end
 * for good over one bad request while the process stays.
 *
 * @module
 */
import type { QueueClass } from "../virtio/device_class.ts";
import { type DeviceState, QUEUE_COUNTERS } from "../virtio/state.ts";

/** Looks at a device's queues again and again. */
export class Watchdog {
  /** So many looks in a row a queue may have requests in flight and give none back. */
  static readonly LOOKS = 5;

  readonly #completions: number[];
  readonly #still: number[];

  constructor(readonly queues: readonly QueueClass[], readonly state: DeviceState) {
    this.#completions = state.queues.map(() => -1);
    this.#still = state.queues.map(() => 0);
  }

  /**
   * To be called {@linkcode Watchdog.LOOKS} times in what a back-end's patience is.
   *
   * @param isDue Whether a queue's chains in flight should have come back by now
   * @returns the queue that is stuck, null if none is
   */
  async stuck(isDue: (queue: number) => Promise<boolean>): Promise<number | null> {
    for (const { index, counters } of this.state.queues) {
      const completions = counters[QUEUE_COUNTERS.completions]!;
      const idle = completions === this.#completions[index];
      this.#completions[index] = completions;
      const { kind } = this.queues[index]!;
      const due = idle && kind !== "event" && await isDue(index);
      this.#still[index] = due ? this.#still[index]! + 1 : 0;
      if (this.#still[index]! >= Watchdog.LOOKS) return index;
    }
    return null;
  }
}
