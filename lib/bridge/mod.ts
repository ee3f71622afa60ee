// SPDX-License-Identifier: Apache-2.0
/**
 * The bridge: joins loopback devices to vhost-user back-ends.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import {
  checkLoopback,
  checkUnopenedLoopback,
  type MemoryMode,
  openLoopback,
} from "../loopback/mod.ts";
import { DEVICE_CLASSES, deviceClassByName } from "../virtio/device_class.ts";
import { BridgedDevice } from "./device.ts";
import {
  type BackEndPatience,
  type BridgeEvent,
  type Loopbacks,
  type MmioVersion,
  PATIENCE,
} from "./device_setup.ts";
import { findKeep, type Keep } from "./keep.ts";
import { Lane } from "./lane.ts";
import type { LaneOptions } from "./lane_messages.ts";

export type {
  BackEndPatience,
  BridgedDevice,
  BridgeEvent,
  Keep,
  LaneOptions,
  MemoryMode,
  MmioVersion,
};
export { findKeep };

/** A device to be bridged. */
export interface BridgeDeviceOptions {
  /** The device class by name: "sound", "rng". */
  class: string;
  /** Path of the back-end's socket; it need not be there yet. */
  socket: string;
  /** The loopback device: `soft:PATH`, `/dev/loopback` or `/dev/loopback-N`. */
  loopback: string;
  memory: MemoryMode;
  mmioVersion: MmioVersion;
  /** Higher is served first, within a lane. */
  priority: number;
  /** The lane's name. */
  lane: string;
  /** The device's name in events; class and number when absent. */
  name?: string | undefined;
}

/** What {@linkcode Bridge.start} needs. */
export interface BridgeOptions {
  /** Lanes with wishes; a lane that is not named here has none. */
  lanes?: readonly LaneOptions[] | undefined;
  onEvent: (event: BridgeEvent) => void;
  /** Have devices kept for a successor, and take over what was kept. `start` starts a keeper process at a path. */
  keep?: { start: (path: string) => void } | undefined;
  /** Instead of 2 s for a reply and 5 s for a request. */
  patience?: Partial<BackEndPatience> | undefined;
  /** How loopback devices are looked for and opened, for tests: as in {@linkcode Loopbacks} when absent. */
  loopbacks?: Partial<Loopbacks> | undefined;
}

const LOOPBACKS: Loopbacks = {
  check: checkLoopback,
  checkUnopened: checkUnopenedLoopback,
  open: openLoopback,
};

/** Any number of devices in one process. */
export class Bridge implements AsyncDisposable {
  readonly #reactor = new Reactor();
  readonly #lanes = new Map<string, Lane>();
  readonly #devices: BridgedDevice[] = [];
  #keep: Keep | null = null;
  #nextId = 1;

  private constructor(readonly options: BridgeOptions) {}

  /**
   * Begins to start the lanes. Devices may be added at once: they get to know their back-ends meanwhile.
   *
   * @throws {OsError} when there are no descriptors left for them
   * @throws {RangeError} when no keeper can listen where it should
   */
  static async start(options: BridgeOptions): Promise<Bridge> {
    const bridge = new Bridge(options);
    try {
      for (const { name, ...wishes } of options.lanes ?? []) bridge.#lane(name, wishes);
      if (options.keep !== undefined) bridge.#keep = findKeep(bridge.#reactor, options.keep.start);
    } catch (error) {
      await bridge.close();
      throw error;
    }
    return bridge;
  }

  /**
   * Takes a device up; its back-end may come later. What becomes of it is told by events, and by the device's `done`.
   *
   * @throws {TypeError} for a class or loopback device we do not know
   * @throws {OsError} when the loopback device is not there
   */
  add(options: BridgeDeviceOptions): BridgedDevice {
    const deviceClass = deviceClassByName(options.class);
    if (deviceClass === undefined) {
      const known = DEVICE_CLASSES.map(({ name }) => name).join(", ");
      throw new TypeError(`Cannot bridge a "${options.class}" device, expected one of ${known}`);
    }
    const loopbacks = { ...LOOPBACKS, ...this.options.loopbacks };
    loopbacks.check(options.loopback);
    const id = this.#nextId++;
    const device = new BridgedDevice({
      ...options,
      id,
      name: options.name ?? `${options.class}${this.#devices.length}`,
      deviceClass,
      loopbacks,
      keep: this.#keep,
      patience: { ...PATIENCE, ...this.options.patience },
      lane: this.#lane(options.lane),
      reactor: this.#reactor,
      onEvent: this.options.onEvent,
    });
    this.#devices.push(device);
    return device;
  }

  #lane(name: string, wishes: Omit<LaneOptions, "name"> = {}): Lane {
    const lane = this.#lanes.get(name) ?? new Lane({ name, ...wishes });
    this.#lanes.set(name, lane);
    return lane;
  }

  /** Settles when all lanes are there. @throws {Error} when one's threads cannot be placed as asked */
  async ready(): Promise<void> {
    await Promise.all(this.#lanes.values().map((lane) => lane.ready));
  }

  /** Every device's counters, for a report. */
  counters(): unknown[] {
    return this.#devices.map((device) => device.counters()).filter((one) => one !== null);
  }

  /** Ends all devices, then the lanes. */
  async close(): Promise<void> {
    await Promise.all(this.#devices.map((device) => device.close()));
    for (const lane of this.#lanes.values()) await lane.close();
    this.#keep?.close();
    await this.#reactor.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
