// SPDX-License-Identifier: Apache-2.0
/**
 * A queue that the back-end serves in the driver's own memory: viola forwards kicks and calls, and does not touch the ring.
 *
 * @module
 */
import { type GuestMemory } from "../virtio/memory.ts";
import { Chain, DeviceRing, type RingLayout, type RingOptions } from "../virtio/split_ring.ts";
import { RING_QUEUE_COUNTERS, type RingQueue } from "../virtio/state.ts";
import { CALL, type LaneQueue } from "./lane_queue.ts";

/** What a direct queue is created from. */
export interface DirectQueueParts {
  readonly state: RingQueue;
  /** The driver's memory; null where viola has not mapped it. */
  readonly memory: GuestMemory | null;
  /** Where the driver's ring lies. */
  readonly layout: RingLayout;
  readonly options: RingOptions;
  /** Whether a chain should have come back by now, as its class says. */
  readonly isDue: (chain: Chain) => boolean;
}

/** See the module. */
export class DirectQueue implements LaneQueue {
  readonly index: number;
  /** Buffers used before viola watched the call eventfd may have raised no interrupt. */
  readonly mayMissInterrupt = true;
  readonly blame = "driver";
  readonly #parts: DirectQueueParts;
  readonly #epoch: number;
  /** How many chains the current back-end found in flight or waiting; null before the first one attached. */
  #found: number | null = null;
  /** The used index when {@linkcode isDue} last looked. */
  #lastUsedIdx = -1;
  #interruptWanted = false;

  constructor(parts: DirectQueueParts) {
    this.index = parts.layout.index;
    this.#parts = parts;
    this.#epoch = parts.state.epoch;
  }

  get current(): boolean {
    const { state } = this.#parts;
    return state.ready && state.epoch === this.#epoch;
  }

  /**
   * A back-end starts at the used index, since nothing before it is in flight. Where viola has not mapped the ring it
   * starts at 0: there is only one activation then, and its ring is new.
   */
  attach(): number {
    const { memory, layout: { avail } } = this.#parts;
    const isFirst = this.#found === null;
    this.#found = 0;
    if (memory === null) return 0;
    const { usedIdx } = this.#look(memory);
    if (!isFirst) this.#found = (readIdx(memory, avail) - usedIdx) & 0xffff;
    return usedIdx;
  }

  /** Nothing to do: the chains in flight lie in the driver's ring. */
  detach(): void {}

  /** The back-end finds the chains in the driver's ring. */
  reoffer(): number {
    return this.#found ?? 0;
  }

  serve(marks: number): number {
    if ((marks & CALL) === 0) return 0;
    this.#parts.state.count(RING_QUEUE_COUNTERS.calls);
    this.#interruptWanted = true;
    return 0;
  }

  /** Never: the access Worker signals kicks. */
  takeKick(): boolean {
    return false;
  }

  takeInterrupt(): boolean {
    const wanted = this.#interruptWanted;
    this.#interruptWanted = false;
    return wanted;
  }

  /** Whether the oldest chain in flight is due, and none came back since the last call. */
  isDue(): boolean {
    const { memory, isDue } = this.#parts;
    if (memory === null) return false;
    const ring = this.#look(memory);
    const moved = ring.usedIdx !== this.#lastUsedIdx;
    this.#lastUsedIdx = ring.usedIdx;
    if (moved) return false;
    const chain = new Chain();
    return ring.pop(chain) && isDue(chain);
  }

  /** The ring as a device would see it after the last used element. Changes nothing in it. */
  #look(memory: GuestMemory): DeviceRing {
    const { layout, options } = this.#parts;
    const usedIdx = readIdx(memory, layout.used);
    return new DeviceRing(memory, layout, options, { nextAvail: usedIdx, usedIdx });
  }
}

/** The `idx` of an available or a used ring. Acquire: what it covers is read after it. */
function readIdx(memory: GuestMemory, at: number): number {
  const { u16, guest } = memory.region(at, 4);
  return Atomics.load(u16, (at - guest) / 2 + 1);
}
