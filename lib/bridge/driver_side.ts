// SPDX-License-Identifier: Apache-2.0
/**
 * The driver as the ring Worker sees it: its memory, its epoch and its interrupt.
 *
 * @module
 */
import { type PeerSignal, viewMemory } from "../../ffi/mod.ts";
import { Chunks } from "../loopback/chunks.ts";
import { type LoopbackPort, ring } from "../loopback/port.ts";
import { viewsOf } from "../loopback/views.ts";
import { GuestMemory } from "../virtio/memory.ts";
import { RING_COUNTERS } from "../virtio/state.ts";
import { RingState } from "../virtio/state_writers.ts";
import type { LaneDevice } from "./lane_messages.ts";
import type { LaneQueue } from "./lane_queue.ts";
import { beginUse, endUse, type MemoryUse } from "./memory_use.ts";

/** See the module. */
export class DriverSide {
  readonly state: RingState;
  /** The driver's memory, mapped as it is needed; null where viola does not map it. */
  readonly memory: GuestMemory | null;
  readonly #port: LoopbackPort;
  readonly #use: MemoryUse;
  readonly #chunks: Chunks | null;

  constructor({ port, state, memoryUse }: LaneDevice, readonly signal: PeerSignal) {
    this.state = RingState.open(viewMemory(state));
    this.#port = port;
    this.#use = memoryUse;
    this.#chunks = port.chunks === null ? null : new Chunks(port.chunks, this.state);
    const isMapped = this.#chunks !== null || port.memory.length > 0;
    const grow = this.#chunks?.grow ?? viewsOf(port.memory);
    this.memory = isMapped ? new GuestMemory([], grow) : null;
  }

  /**
   * Begins to use the memory that a queue lies in, unless the driver has reset the device or the queue since.
   *
   * @returns whether it may be used; then {@linkcode endUse} must follow, and the access Worker may wait for it
   */
  beginUse(queue: LaneQueue, epoch: number): boolean {
    beginUse(this.#use);
    if (this.state.epoch === epoch && queue.current) return true;
    endUse(this.#use);
    return false;
  }

  /** Ends a use of memory. */
  endUse(): void {
    endUse(this.#use);
  }

  /**
   * Raises an interrupt. Never between {@linkcode beginUse} and {@linkcode endUse}: the kernel makes two register accesses
   * before this returns, and they may queue behind a reset that waits for the end of the use.
   */
  interrupt(bit: number): void {
    this.state.raiseInterruptStatus(bit);
    this.state.count(RING_COUNTERS.interrupts);
    ring(this.#port.interrupt, this.signal);
  }

  /** Unmaps the memory. */
  close(): void {
    this.#chunks?.close();
  }
}
