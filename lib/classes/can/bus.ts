// SPDX-License-Identifier: Apache-2.0
/**
 * What a CAN controller is connected to.
 *
 * @module
 */
import type { CanFrame } from "./wire.ts";

/** What became of a frame that was given to a bus. */
export type Sending =
  /** It was sent. */
  | "sent"
  /** It will be: {@linkcode BusEvents.sent} tells when. */
  | "accepted"
  /** There is no room now. */
  | "full"
  /** It cannot be sent. */
  | "failed";

/** What a bus tells its controller. */
export interface BusEvents {
  /** Another controller sent a frame. */
  received(frame: CanFrame): void;
  /** Whether frames are received faster than the driver takes them: a bus that can hold them back does. */
  isFull(): boolean;
  /** The oldest frames that were accepted were sent: so many. */
  sent(count: number): void;
  /** Frames that were accepted will not be sent: the bus cannot be used at the moment. */
  failed(): void;
  /** So many frames of others were lost before they could be received. */
  lost(count: number): void;
  /** The controller is bus-off, or its interface is gone: nothing is sent or received until it is connected anew. */
  busOff(why: string): void;
  /** Reports something to the user. */
  notice(text: string): void;
}

/** A controller's connection to a bus. It never blocks. */
export interface Bus extends Disposable {
  send(frame: CanFrame): Sending;
  /** Frames that were held back are received again; absent: none are held back. */
  resume?(): void;
}

/** A bus that a controller can be connected to. */
export interface BusSpec {
  /** How it is called in logs. */
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
