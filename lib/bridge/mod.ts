// SPDX-License-Identifier: Apache-2.0
/**
 * The bridge: connects loopback devices to vhost-user back-ends.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import {
  canonicalName,
  checkLoopback,
  checkUnopenedLoopback,
  hasOneLife,
  type MemoryMode,
  openLoopback,
} from "../loopback/mod.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { EventRate } from "../virtio/event_limit.ts";
import { connectWithBackoff } from "../vhost_user/mod.ts";
import { BridgedDevice } from "./device.ts";
import {
  type BackEndPatience,
  type BridgeEvent,
  type Loopbacks,
  type MmioVersion,
  PATIENCE,
} from "./device_setup.ts";
import { Lane } from "./lane.ts";
import type { LaneOptions } from "./lane_messages.ts";
import { type DescriptorStore, findStore, type StoreOptions } from "./store/mod.ts";
import { notifySystemd } from "./store/notify.ts";
import type { QueueLimits } from "./watchdog.ts";

export type {
  BackEndPatience,
  BridgedDevice,
  BridgeEvent,
  DescriptorStore,
  EventRate,
  LaneOptions,
  MemoryMode,
  MmioVersion,
  QueueLimits,
  StoreOptions,
};
export { findStore, notifySystemd };

/** Options of a bridged device. */
export interface BridgeDeviceOptions {
  /** What it is a device of. */
  class: DeviceClass;
  /** Path of the back-end's socket, which need not exist yet. */
  socket: string;
  /** The loopback device: `soft:PATH`, `/dev/loopback` or `/dev/loopback-N`. */
  loopback: string;
  /**
   * Put the loopback device's descriptors into the descriptor store, so that the next process can restore the device; and
   * restore it from there. On by default for AGL's nodes, which must never be closed: the kernel oopses a second after the
   * first close, and the node is unusable until the machine is restarted.
   */
  keep?: boolean | undefined;
  /** Whether the back-end is given the driver's memory. */
  memory: MemoryMode;
  /** Which registers the driver finds. */
  mmioVersion: MmioVersion;
  /** Within a lane, devices with a higher priority are served first. */
  priority: number;
  /** The lane's name. */
  lane: string;
  /** The device's name in events; class and number when absent. */
  name?: string | undefined;
}

/** What {@linkcode Bridge.start} needs. */
export interface BridgeOptions {
  /** Lanes with CPUs or a real-time priority; a lane that is not named here has neither. */
  lanes?: readonly LaneOptions[] | undefined;
  /** Called with what becomes of the devices. */
  onEvent: (event: BridgeEvent) => void;
  /**
   * How many events of one kind a device reports, since a driver can cause them without end; the next event says how many
   * were left out. @default 50 at once, then 1 a second
   */
  eventRate?: EventRate | undefined;
  /** The store process, used where systemd's descriptor store is not available. */
  store?: StoreOptions | undefined;
  /** Deadlines for back-ends. @default 2 s for a first reply, 5 s for a stream's requests, none for other requests */
  patience?: Partial<BackEndPatience> | undefined;
  /** How loopback devices are checked and opened; for tests. */
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
  #store: DescriptorStore | null = null;
  #nextId = 1;

  private constructor(readonly options: BridgeOptions) {}

  /**
   * Begins to start the lanes. Devices may be added at once; they connect to their back-ends meanwhile.
   *
   * @throws {OsError} when there are no descriptors left for them
   */
  static async start(options: BridgeOptions): Promise<Bridge> {
    const bridge = new Bridge(options);
    try {
      for (const { name, ...wishes } of options.lanes ?? []) bridge.#lane(name, wishes);
    } catch (error) {
      await bridge.close();
      throw error;
    }
    return bridge;
  }

  /**
   * Starts a device; its back-end may come later. Events and the device's `done` report what happens to it.
   *
   * @throws {TypeError} for a loopback device of an unknown kind
   * @throws {OsError} when the loopback device does not exist
   * @throws {RangeError} when the store process's socket path is too long
   */
  add(options: BridgeDeviceOptions): BridgedDevice {
    const { class: deviceClass } = options;
    const loopbacks = { ...LOOPBACKS, ...this.options.loopbacks };
    const loopback = canonicalName(options.loopback);
    loopbacks.check(loopback);
    const store = options.keep ?? hasOneLife(loopback) ? this.#findStore() : null;
    const id = this.#nextId++;
    const device = new BridgedDevice({
      ...options,
      loopback,
      id,
      name: options.name ?? `${deviceClass.name}${this.#devices.length}`,
      deviceClass,
      loopbacks,
      store,
      patience: { ...PATIENCE, ...this.options.patience },
      lane: this.#lane(options.lane),
      connect: connectWithBackoff,
      reactor: this.#reactor,
      onEvent: this.options.onEvent,
      eventRate: this.options.eventRate,
    });
    this.#devices.push(device);
    return device;
  }

  /** Sets up a lane for devices that are added later. @throws {OsError} when there are no descriptors left for it */
  addLane({ name, ...wishes }: LaneOptions): void {
    this.#lane(name, wishes);
  }

  /** Ends a device, and forgets it. */
  async remove(device: BridgedDevice): Promise<void> {
    await device.close();
    const at = this.#devices.indexOf(device);
    if (at >= 0) this.#devices.splice(at, 1);
  }

  #findStore(): DescriptorStore {
    return this.#store ??= findStore(this.#reactor, this.options.store);
  }

  #lane(name: string, wishes: Omit<LaneOptions, "name"> = {}): Lane {
    const lane = this.#lanes.get(name) ?? new Lane({ name, ...wishes });
    this.#lanes.set(name, lane);
    return lane;
  }

  /** Resolves when all lanes run. @throws {Error} when a lane's threads cannot be placed as asked */
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
    this.#store?.close();
    await this.#reactor.close();
  }

  /** As {@linkcode close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
