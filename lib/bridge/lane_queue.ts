// SPDX-License-Identifier: Apache-2.0
/**
 * The interface of the ring Worker to a queue, shadow or direct.
 *
 * @module
 */
import type { ActivationRing } from "./lane_messages.ts";
import type { GuestMemory } from "../virtio/memory.ts";

/** The driver kicked the queue. */
export const KICK = 1;
/** The back-end signalled its call eventfd. */
export const CALL = 2;
/** The driver may have added chains without a kick. */
export const LOOK = 4;

/**
 * What became of the chains of a queue:
 *
 * - `settled`: none is due, and none will be before the driver kicks a queue
 * - `moving`: some were given back since the last look, or the back-end looks for chains without being kicked
 * - `due`: some should have come back by now, as their class says
 */
export type Progress = "settled" | "moving" | "due";

/** What a queue needs to know of a back-end besides its ring. */
export interface BackEndRings {
  /** The back-end's name, for errors. */
  readonly name: string;
  /** The memory of shadow queues; null when there are none. */
  readonly memory: GuestMemory | null;
  /** VIRTIO_F_INDIRECT_DESC and VIRTIO_F_EVENT_IDX, between viola and the back-end. */
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** It knows the chains in flight in direct rings. */
  readonly isTracked: boolean;
}

/** The most chains that {@linkcode LaneQueue.serve} moves in one direction before another queue is served. */
export const BATCH = 16;

/** A queue, for one life of the driver and any number of back-ends. */
export interface LaneQueue {
  readonly index: number;
  /** False once the driver has reset the queue. */
  readonly current: boolean;
  /** Whose ring was read last: that side has caused a {@linkcode RingError}. */
  readonly blame: "driver" | "back-end";
  /** Whether an interrupt may be missing for buffers that were used before this process listened. */
  readonly mayMissInterrupt: boolean;

  /** Attaches a back-end. @returns the index at which its ring starts */
  attach(ring: ActivationRing, rings: BackEndRings): number;

  /** Detaches the back-end and its memory. Its chains stay in flight. */
  detach(): void;

  /**
   * Resubmits the chains in flight to the new back-end, in order. The caller kicks it afterwards.
   *
   * @returns how many chains there were
   * @throws {RingError} when a ring is malformed
   */
  resubmit(): number;

  /**
   * How many chains the back-end has returned that the driver was not given yet; 0 for a direct queue, where it gives them
   * itself.
   *
   * @throws {RingError} when the back-end's ring is malformed
   */
  countReturned(): number;

  /**
   * Serves one bounded batch.
   *
   * @param marks Bits of the work that may be pending: {@linkcode KICK}, {@linkcode CALL}, {@linkcode LOOK}
   * @param returned How many chains of the back-end's the driver may be given; by default all that there are
   * @returns the bits of the work that is left
   * @throws {RingError} when a ring is malformed
   */
  serve(marks: number, returned?: number): number;

  /** Whether the back-end must be kicked for chains offered since the last call. */
  takeKick(): boolean;

  /** Whether the driver must be interrupted for chains used since the last call. */
  takeInterrupt(): boolean;

  /** For the watchdog. @throws {RingError} when the driver's ring is malformed */
  look(): Progress;
}
