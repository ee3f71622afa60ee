// SPDX-License-Identifier: Apache-2.0
/**
 * A queue that the back-end serves in the driver's own memory: viola passes kicks and calls on, and touches nothing.
 *
 * @module
 */
import { type GuestMemory } from "../virtio/memory.ts";
import { Chain, DeviceRing, type RingLayout, type RingOptions } from "../virtio/split_ring.ts";
import type { DeviceReplay } from "./replay.ts";
import { firstWord } from "./shadow_queue.ts";

/** A queue of a device with direct memory. */
export class DirectQueue {
  readonly index: number;
  /** The used index when {@linkcode isDue} last looked. */
  #lastUsedIdx = -1;

  /** @param memory The driver's memory; null where viola has not mapped it */
  constructor(
    readonly layout: RingLayout,
    readonly memory: GuestMemory | null,
    readonly options: RingOptions,
  ) {
    this.index = layout.index;
  }

  /**
   * Where a back-end begins: at the used index, since nothing before it is in flight. 0 where viola does not see it: a
   * first life begins there, and there is no second.
   */
  get base(): number {
    return this.memory === null ? 0 : this.#look(this.memory).usedIdx;
  }

  /** How many chains a new back-end finds in flight or waiting. */
  get waiting(): number {
    if (this.memory === null) return 0;
    const { avail } = this.layout;
    const { u16, guest } = this.memory.region(avail, 4);
    return (Atomics.load(u16, (avail - guest) / 2 + 1) - this.base) & 0xffff;
  }

  /**
   * Whether no chain came back since this was last asked, and the oldest in flight should have.
   *
   * @throws {RingError} when the driver's ring cannot be true
   */
  isDue(isRequest: boolean, replay: DeviceReplay): boolean {
    if (this.memory === null) return false;
    const ring = this.#look(this.memory);
    const moved = ring.usedIdx !== this.#lastUsedIdx;
    this.#lastUsedIdx = ring.usedIdx;
    if (moved) return false;
    const chain = new Chain();
    return ring.pop(chain) && (isRequest || replay.isDue(this.index, firstWord(chain)));
  }

  /** The ring as its device would take it up after all that is used. Looking at it changes nothing. */
  #look(memory: GuestMemory): DeviceRing {
    const { used } = this.layout;
    const { u16, guest } = memory.region(used, 4);
    const usedIdx = Atomics.load(u16, (used - guest) / 2 + 1);
    return new DeviceRing(memory, this.layout, this.options, { nextAvail: usedIdx, usedIdx });
  }
}
