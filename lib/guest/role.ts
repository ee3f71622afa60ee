// SPDX-License-Identifier: Apache-2.0
/**
 * A software driver as its class implements it: the role `driver`. It runs on the guest's thread and may block as long as it
 * likes, by {@linkcode MmioDevice.wait}.
 *
 * @module
 */
import type { DeviceClass } from "../virtio/device_class.ts";
import type { ProgressLayout } from "./progress.ts";
import type { MmioDevice } from "./transport.ts";

/**
 * The contract between a class's driver and its guest's owner. Values are cloned between the two; functions cannot be.
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
  /** What a probe finds, besides what every probe does. */
  found: object;
  /** Calls that the owner can make while the driver is bound. */
  // deno-lint-ignore ban-types -- a contract with no calls at all
  calls: {};
  /** The layout of its progress values. */
  progress: ProgressLayout;
}

/** A driver's deadlines, in milliseconds. */
export interface Patience {
  /** For the response to a control request. @default {1000} Linux's msg_timeout_ms */
  controlTimeoutMs: number;
  /** For the device to return a buffer while it has some. @default {10000} */
  stallTimeoutMs: number;
}

/** What the module of the role exports as `driver`. */
export interface DriverRole<C extends DriverContract = DriverContract> {
  /** The class whose role it is. */
  readonly deviceClass: DeviceClass;
  /** The layout of the driver's progress values. */
  readonly progress: C["progress"];
  /**
   * Binds the driver, with {@linkcode MmioDevice.bind}.
   *
   * @throws {GuestError} as Linux's probe would fail
   */
  bind(device: MmioDevice<C["progress"]>, patience: Patience): Driver<C>;
}

/** The driver's side of the calls. */
export type DriverCalls<C extends DriverContract> = {
  readonly [Name in keyof C["calls"]]: C["calls"][Name];
};

/**
 * A driver bound to its device.
 *
 * @internal
 */
export interface Driver<C extends DriverContract = DriverContract> {
  readonly found: C["found"];
  readonly calls: DriverCalls<C>;
  /**
   * Makes the device do something small, to see whether it works: plays a
   * period of silence, reads a block.
   *
   * @throws {GuestError} when it does not
   */
  exercise(): void;
  /** The device reported a change of its config space. */
  configChanged?(): void;
  /** Called before the device is reset: ends what is running, in order. Absent: there is nothing to end. */
  shutDown?(): void;
}
