// SPDX-License-Identifier: Apache-2.0
/**
 * Direct memory, in the ring Worker: the back-end works in the driver's memory, so all that is left is to pass its calls
 * on as interrupts.
 *
 * @module
 */
import { QUEUE_COUNTERS } from "../virtio/state.ts";
import type { Session } from "./lane_messages.ts";
import { CALL, driverMemory, LaneRings } from "./rings.ts";

/** A device whose memory the back-end has. */
export class DirectRings extends LaneRings {
  #epoch = -1;
  readonly #memory = driverMemory(this.device.port);

  protected serveQueue(queue: number, bits: number): void {
    if ((bits & CALL) === 0 || this.state.epoch !== this.#epoch) return;
    this.state.queues[queue]!.counters[QUEUE_COUNTERS.calls]!++;
    this.interrupt();
  }

  /** The rings are where the driver put them, and go on from their used index: nothing before it is in flight. */
  attach(session: Session): number[] {
    this.#epoch = session.epoch;
    return session.rings.map(({ used }) => this.#index(used));
  }

  detach(): void {
    this.#epoch = -1;
    this.clearMarks();
  }

  /** Either side may have missed the other's last word: one interrupt makes the driver look. */
  go(): void {
    this.interrupt();
    this.report({ id: this.device.id, kind: "live", requeued: 0, replayed: 0 });
  }

  isDue(queue: number): boolean {
    const { avail, used, ready } = this.state.queues[queue]!;
    return ready && this.#memory !== null && this.#index(avail) !== this.#index(used);
  }

  /** A ring part's idx, its second u16; 0 where viola has not mapped the memory: a first life begins there. */
  #index(part: number): number {
    if (this.#memory === null) return 0;
    const { u16, guest } = this.#memory.region(part, 4);
    return Atomics.load(u16, (part - guest) / 2 + 1);
  }
}
