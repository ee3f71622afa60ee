// SPDX-License-Identifier: Apache-2.0
/**
 * A kernel side, as the rest of the bridge sees it: it presents the device to the driver. The driver's actions arrive as
 * events, the device's actions are calls. Register-based sides derive both from the register file in the access Worker
 * (`register_side.ts`); a side with messages instead of registers, such as VDUSE, would translate its messages.
 *
 * Queue interrupts do not pass here: the ring Worker raises them, since the main isolate is not on the data path.
 *
 * @module
 */
import type { BackEndProfile } from "../virtio/device_class.ts";
import type { ConfigWrite, Counter, Device, Driver, Held, Restored } from "./states.ts";

/** Receives the driver's actions. Arguments hold the state at the time of the call, which may be newer than the action. */
export interface KernelListener {
  /**
   * The driver accepted features, set DRIVER_OK or FAILED, or reset the device.
   *
   * @param needsReset DEVICE_NEEDS_RESET was set just now
   * @param held The access that the driver waits in until {@linkcode KernelSide.release}
   */
  driver(
    driver: Pick<Driver, "epoch" | "isReady" | "features">,
    needsReset: boolean,
    held: "reset" | "DRIVER_OK" | null,
  ): void;
  /** The driver wrote to the config space, and waits if that is held. */
  configWritten(write: ConfigWrite, isHeld: boolean): void;
  /** The driver kicked a queue of a device whose watchdog was not armed; it is now. */
  kicked(): void;
  /** The driver made a register access that the specification forbids. */
  badAccess(text: string): void;
  /** A warning for the user; the device's state does not change. */
  problem(text: string): void;
}

/** See the module. One device, from restoring or opening it to freeing it. */
export interface KernelSide {
  /**
   * Restores a device that a previous process served.
   *
   * @returns null when there is none, and the node can be opened
   * @throws {Error} when the descriptor store's content is not valid, or the node cannot be used again
   */
  restore(): Promise<Restored | null>;
  /** Starts calling the listener, first with what the driver did before. */
  listen(): void;
  /** Waits for the lane and the descriptor store, which must be ready before the node is opened. @throws {Error} */
  prepare(): Promise<void>;
  /** Opens the node; the first back-end decides what the driver is offered. @throws {Error} */
  present(backEnd: BackEndProfile): Promise<Device>;
  /** Announces the device to the kernel, unless a previous process is known to have done so. @throws {OsError} */
  announce(): void;
  /** Notes that a previous process announced the device: its driver has made an access. */
  markAnnounced(): void;
  /** Starts a deadline for a driver to bind, and reports when none does. */
  expectDriver(): void;
  /** Notes whether a back-end is connected; without one a probe would fail. */
  setBackEndConnected(isConnected: boolean): void;
  /** Answers the access that the driver waits in. */
  release(held: Held): Promise<void>;
  /** Sets DEVICE_NEEDS_RESET, unless the driver has reset the device since this epoch. */
  needsReset(epoch: number): Promise<void>;
  /** Sets the features that the driver's next probe is offered. */
  offer(features: bigint): void;
  /** Replaces the config space that the driver reads. @returns whether it changed */
  publishConfig(config: Uint8Array): boolean;
  /** Raises a config interrupt: the config space or the status changed. */
  configInterrupt(): Promise<void>;
  /** Adds to a counter. */
  count(counter: Counter, by: number): void;
  /**
   * Frees the device, if there is one.
   *
   * @returns text for the user: what holds the device's descriptors now, and how to continue; null when nothing does
   */
  free(): Promise<string | null>;
}
