// SPDX-License-Identifier: Apache-2.0
/**
 * A kernel side, as the rest of the bridge sees it: what presents the device to the driver. What the driver does comes as
 * events; what the device does goes as calls. Register-based sides get there by the register file in the access Worker
 * (`register_side.ts`); one that has messages instead of registers, as VDUSE, would translate those.
 *
 * An interrupt for a queue is none of this: the ring Worker raises it, as the main isolate has no part in the data.
 *
 * @module
 */
import type { BackEndProfile } from "../virtio/device_class.ts";
import type { ConfigWrite, Counter, Device, Driver, Held, Restored } from "./states.ts";

/** Told of what the driver does. What holds at the time of the call is given, not what held when it was done. */
export interface KernelListener {
  /**
   * The driver accepted features, said DRIVER_OK, failed, or reset the device.
   *
   * @param needsReset DEVICE_NEEDS_RESET was set just now
   * @param held What the driver waits in until {@linkcode KernelSide.release}
   */
  driver(
    driver: Pick<Driver, "epoch" | "isReady" | "features">,
    needsReset: boolean,
    held: "reset" | "DRIVER_OK" | null,
  ): void;
  /** The driver wrote to the config space, and waits if that is held. */
  configWritten(write: ConfigWrite, isHeld: boolean): void;
  /** The driver did what it must not. */
  badAccess(text: string): void;
  /** Something that the user must know, and that changes nothing. */
  problem(text: string): void;
}

/** See the module. One device, from its beginning to its end. */
export interface KernelSide {
  /**
   * Takes up a device that a process before this one served.
   *
   * @returns null when there is none, and the node can be opened
   * @throws {Error} when what is held is not valid, or the node is spent
   */
  restore(): Promise<Restored | null>;
  /** From now on the listener is told; what the driver did before is told now. */
  listen(): void;
  /** Waits for all that must be there before the node is opened. @throws {Error} */
  prepare(): Promise<void>;
  /** Opens the node; the first back-end decides what the driver is offered. @throws {Error} */
  present(backEnd: BackEndProfile): Promise<Device>;
  /** Tells the kernel of the device, unless the driver has shown that a process before did. @throws {OsError} */
  announce(): void;
  /** The driver has shown that a process before told the kernel. */
  markAnnounced(): void;
  /** Says so if no driver takes the device. */
  expectDriver(): void;
  /** A back-end is there, or is not any more: without one a driver would be bound in vain. */
  backEndIsThere(isThere: boolean): void;
  /** Answers the access that the driver waits in. */
  release(held: Held): Promise<void>;
  /** Sets DEVICE_NEEDS_RESET, if the driver is still in this life. */
  needsReset(epoch: number): Promise<void>;
  /** What the driver's next probe finds offered. */
  offer(features: bigint): void;
  /** Shows the driver this config space. @returns whether it is another one than before */
  publishConfig(config: Uint8Array): boolean;
  /** Tells the driver that the config space or the status changed. */
  configInterrupt(): Promise<void>;
  /** Counts what happened with back-ends. */
  count(counter: Counter, by: number): void;
  /** Gives all back, if there is anything. @returns who holds the device's descriptors now, and what to do about it; null when nobody does */
  free(): Promise<string | null>;
}
