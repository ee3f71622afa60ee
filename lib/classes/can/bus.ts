// SPDX-License-Identifier: Apache-2.0
/**
 * What a CAN controller is connected to.
 *
 * @module
 */
import type { CommonEvent } from "../../device/role.ts";
import type { CanFrame } from "./wire.ts";

/** What became of a frame that was given to a bus. */
export type Sending =
  /** It was sent. */
  | "sent"
  /** It waits to be sent: {@linkcode BusEvents.sent} reports when it was. */
  | "accepted"
  /** There is no room now. */
  | "full"
  /** It cannot be sent. */
  | "failed";

/** Events of a bus, for its controller. */
export interface BusEvents {
  /** Another controller sent a frame. */
  received(frame: CanFrame): void;
  /** Whether there is no room for received frames; a bus that can hold them back does so then. */
  isFull(): boolean;
  /** The oldest `count` accepted frames were sent. */
  sent(count: number): void;
  /** The accepted frames will not be sent: the bus cannot be used at the moment. */
  failed(): void;
  /** `count` frames of others were lost before they could be received. */
  lost(count: number): void;
  /** The controller is bus-off, or its interface is gone: nothing is sent or received until it is connected anew. */
  busOff(why: string): void;
  /** Reports something to the user. */
  report(event: CommonEvent): void;
}

/** A controller's connection to a bus. It never blocks. */
export interface Bus extends Disposable {
  send(frame: CanFrame): Sending;
  /** Frames that were held back are received again; absent: none are held back. */
  resume?(): void;
}

/** A bus that a controller can be connected to. */
export interface BusSpec {
  /** Its name in logs. */
  readonly name: string;
  /** Whether it has FD frames. */
  readonly hasFd: boolean;
  /** Connects a controller. @throws {Error} when that cannot be done */
  connect(events: BusEvents): Bus;
}

/** A bus with no other controller on it. */
export const PRIVATE_BUS: BusSpec = {
  name: "can",
  hasFd: true,
  connect: () => ({ send: () => "sent", [Symbol.dispose]: () => {} }),
};
