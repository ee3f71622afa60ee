// SPDX-License-Identifier: Apache-2.0
/**
 * A queue as the ring Worker serves it, whichever way its chains reach the back-end.
 *
 * @module
 */
import type { ActivationRing } from "./lane_messages.ts";
import type { GuestMemory } from "../virtio/memory.ts";

/** The driver rang. */
export const KICK = 1;
/** The back-end rang. */
export const CALL = 2;
/** Nobody rang, but there may be chains of the driver's. */
export const LOOK = 4;

/** What a queue needs to know of a back-end besides its ring. */
export interface BackEndRings {
  /** For errors. */
  readonly name: string;
  /** The memory of shadow queues; null when there are none. */
  readonly memory: GuestMemory | null;
  /** VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX, between viola and the back-end. */
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

/** A queue, for one life of the driver and any number of back-ends. */
export interface LaneQueue {
  readonly index: number;
  /** Whether the driver has not reset the queue since. */
  readonly current: boolean;
  /** Whose ring was being read: who is to blame for an error. */
  readonly blame: "driver" | "back-end";
  /** Whether the driver may have to be interrupted for what came back before this process heard of it. */
  readonly mayOweInterrupt: boolean;

  /** Takes up a back-end. @returns where in its ring it begins */
  attach(ring: ActivationRing, rings: BackEndRings): number;

  /** Lets go of the back-end and its memory. What it had is still in flight. */
  detach(): void;

  /**
   * Offers the new back-end what the last one had, in order; then it is to be rung.
   *
   * @returns how many chains
   * @throws {RingError} when a ring is malformed
   */
  reoffer(): number;

  /**
   * One turn.
   *
   * @param marks What there may be to do: {@linkcode KICK}, {@linkcode CALL}, {@linkcode LOOK}
   * @returns what is left of it
   * @throws {RingError} when a ring is malformed
   */
  serve(marks: number): number;

  /** Whether the back-end wants to be rung for what was offered since this was last asked. */
  takeKick(): boolean;

  /** Whether the driver wants an interrupt for what came back since this was last asked. */
  takeInterrupt(): boolean;

  /**
   * Whether the oldest chain in flight should have come back by now, as far as its class knows.
   *
   * @throws {RingError} when the driver's ring is malformed
   */
  isDue(): boolean;
}
