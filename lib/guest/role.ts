// SPDX-License-Identifier: Apache-2.0
/**
 * A software driver, as its class writes it: the role `driver`. It runs on the guest's thread and may wait as long as it
 * likes, by {@linkcode MmioDevice.wait}.
 *
 * @module
 */
import type { DeviceClass } from "../virtio/device_class.ts";
import type { ProgressLayout } from "./progress.ts";
import type { MmioDevice } from "./transport.ts";

/**
 * What a class's driver and its guest's owner agree on. What crosses is cloned, functions are not.
 *
 * ```ts ignore
 * interface LampContract {
 *   found: { bulbs: number };
 *   calls: { light(bulb: number): void };
 *   progress: typeof NO_PROGRESS;
 * }
 * ```
 */
export interface DriverContract {
  /** What a probe finds out, besides what every probe does. */
  found: object;
  /** What the driver can be asked once it is bound. */
  // deno-lint-ignore ban-types -- a contract with no calls at all
  calls: {};
  /** What it shows meanwhile. */
  progress: ProgressLayout;
}

/** How patient a driver is, in milliseconds. */
export interface Patience {
  /** For the answer to a control message. @default {1000} Linux's msg_timeout_ms */
  controlTimeoutMs: number;
  /** For a buffer, once the device has some. @default {10000} */
  stallTimeoutMs: number;
}

/** What the module of the role exports as `driver`. */
export interface DriverRole<C extends DriverContract = DriverContract> {
  /** The class whose role it is. */
  readonly deviceClass: DeviceClass;
  /** What the driver shows meanwhile. */
  readonly progress: C["progress"];
  /**
   * Binds the driver, with {@linkcode MmioDevice.bind}.
   *
   * @throws {GuestError} as Linux's probe would fail
   */
  bind(device: MmioDevice<C["progress"]>, patience: Patience): Driver<C>;
}

/** Calls as the driver answers them, all at once. */
export type DriverCalls<C extends DriverContract> = {
  readonly [Name in keyof C["calls"]]: C["calls"][Name];
};

/**
 * A driver that is bound to its device.
 *
 * @internal
 */
export interface Driver<C extends DriverContract = DriverContract> {
  readonly found: C["found"];
  readonly calls: DriverCalls<C>;
  /**
   * Uses the device for something small that it must answer, so that it can be told whether it works at all: plays a
   * period of silence, reads a block.
   *
   * @throws {GuestError} when it does not
   */
  exercise(): void;
  /** The device says that its config space is another now. */
  configChanged?(): void;
  /** Before the device is reset: ends what it does, in order. Absent: there is nothing to end. */
  shutDown?(): void;
}
