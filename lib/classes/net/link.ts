// SPDX-License-Identifier: Apache-2.0
/**
 * What a network card is connected to.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";

/** What a link needs of its device. */
export type LinkHost = Pick<DeviceHost, "now" | "watch" | "report">;

/** What became of a frame that was given to a link. */
export type Sending =
  /** The link has it. */
  | "sent"
  /** There is no room now. After there is, the device takes a turn. */
  | "full"
  /** Nobody is there who could receive it. */
  | "lost";

/** A card's connection to a link. It never blocks, and makes the device take a turn whenever something has changed. */
export interface Link extends Disposable {
  /** Whether frames can be sent and received. */
  readonly isUp: boolean;
  /** Sends the frame in `bytes[at…]`. */
  send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): Sending;
  /**
   * Receives a frame to `bytes[at…]`, which has room for the longest.
   *
   * @returns its bytes, 0 when there is none now
   */
  receive(bytes: Uint8Array<ArrayBuffer>, at: number): number;
  /** Does what is due. @param now Nanoseconds */
  tick?(now: number): void;
  /** When something is due next, in nanoseconds. */
  deadline?(): number;
}

/** A link that a card can be connected to. */
export interface LinkSpec {
  /** Its name in logs. */
  readonly name: string;
  /**
   * The card is connected as long as there is a device, else as long as there is a driver. For a link whose connecting waits
   * for a lock of the kernel that a driver holds while it waits for this device.
   */
  readonly isKept?: boolean;
  /** Connects a card. @throws {Error} when that cannot be done */
  connect(host: LinkHost): Link;
}

/** No link: nobody ever receives a frame. */
export const NO_LINK: LinkSpec = {
  name: "net",
  connect: () => ({
    isUp: false,
    send: () => "lost",
    receive: () => 0,
    [Symbol.dispose]: () => {},
  }),
};
