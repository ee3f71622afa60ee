// SPDX-License-Identifier: Apache-2.0
/**
 * A kernel side with registers: AGL's driver, or the software node. The access Worker answers the driver's accesses, and
 * its events arrive here.
 *
 * @module
 */
import { MAX_MAPPINGS } from "../loopback/mod.ts";
import { probeFault } from "../virtio/queue_registers.ts";
import { DEVICE_COUNTERS, MAIN_COUNTERS, STATUS_DEVICE_NEEDS_RESET } from "../virtio/state.ts";
import type { BackEndProfile } from "../virtio/device_class.ts";
import type { DeviceSetup } from "./device_setup.ts";
import type { KernelListener, KernelSide } from "./kernel_side.ts";
import type { LaneListener } from "./lane.ts";
import type { AccessEvent } from "./lane_messages.ts";
import { PresentedDevice, VENDOR } from "./presented.ts";
import { Rebind } from "./rebind.ts";
import type { Counter, Device, Driver, Held, Restored } from "./states.ts";

/** See the module. */
export class RegisterSide implements KernelSide {
  readonly #setup: DeviceSetup;
  readonly #listener: KernelListener;
  readonly #laneListener: LaneListener;
  /** Binds Linux's driver again; null for a software node, whose driver is a program. */
  readonly #rebind: Rebind | null;
  #presented: PresentedDevice | null = null;
  /** The events that arrived before {@linkcode listen}; null afterwards. */
  #pending: AccessEvent[] | null = [];

  /** @param lane Receives what the ring Worker reports, and the lane's failure */
  constructor(
    setup: DeviceSetup,
    listener: KernelListener,
    lane: Omit<LaneListener, "access">,
  ) {
    this.#setup = setup;
    this.#listener = listener;
    this.#laneListener = { ...lane, access: (event) => this.#onAccess(event) };
    this.#rebind = setup.loopback.startsWith("/dev/") ? this.#createRebind() : null;
  }

  #createRebind(): Rebind {
    const { loopback: node, deviceClass, reactor } = this.#setup;
    return new Rebind({
      node,
      deviceId: deviceClass.id,
      vendorId: VENDOR,
      reactor,
      canProbe: () => this.#presented !== null && probeFault(this.#presented.state) === null,
      report: (text) => this.#listener.problem(text),
    });
  }

  /** The device; null before it is presented, and after its end. */
  get presented(): PresentedDevice | null {
    return this.#presented;
  }

  get #device(): PresentedDevice {
    if (this.#presented !== null) return this.#presented;
    throw new TypeError(`Cannot serve the driver of ${this.#setup.name}: it is not presented`);
  }

  // ---- opening and freeing the device ----

  async restore(): Promise<Restored | null> {
    const { store, loopbacks, loopback } = this.#setup;
    const presented = store === null
      ? null
      : await PresentedDevice.restore(this.#setup, this.#laneListener);
    if (presented === null) {
      loopbacks.checkUnopened(loopback);
      return null;
    }
    this.#presented = presented;
    const { state } = presented;
    const { mappings } = state;
    return {
      ...this.#describe(),
      mappings: mappings === 0 ? "" : `, ${mappings} of its ${MAX_MAPPINGS} mappings used`,
      // The previous process may have died just before START_LOOPBACK, or just after.
      isAnnounced: state.started || this.#isProbed,
      driver: this.#driver(),
    };
  }

  get #isProbed(): boolean {
    return this.#device.state.counters[DEVICE_COUNTERS.accesses]! > 0;
  }

  #describe(): Device {
    const { state: { configSize }, loopback: { backEndLives } } = this.#device;
    return { configSize, backEndLives, mappings: "" };
  }

  async prepare(): Promise<void> {
    // The store must be ready before a node is opened: one that cannot be stored must not be opened at all.
    await Promise.all([this.#prepareStore(), this.#setup.lane.ready]);
  }

  async #prepareStore(): Promise<void> {
    const { store, loopback } = this.#setup;
    try {
      await store?.prepare();
    } catch (cause) {
      const { message } = cause as Error;
      throw new Error(
        `Cannot open ${loopback}: no descriptor store to keep it in when viola ends: ${message} ` +
          "(--no-keep opens it without one)",
        { cause },
      );
    }
  }

  listen(): void {
    const events = this.#pending ?? [];
    this.#pending = null;
    for (const event of events) this.#onAccess(event);
  }

  async present(backEnd: BackEndProfile): Promise<Device> {
    this.#presented = await PresentedDevice.create(this.#setup, backEnd, this.#laneListener);
    return this.#describe();
  }

  announce(): void {
    const { state } = this.#device;
    if (state.started) return;
    if (this.#device.lane.restored && this.#isProbed) state.setStarted();
    else this.#device.start();
  }

  markAnnounced(): void {
    this.#device.state.setStarted();
  }

  expectDriver(): void {
    this.#rebind?.started();
  }

  async free(): Promise<string | null> {
    this.#rebind?.close();
    const { store, loopback } = this.#setup;
    const presented = this.#presented;
    if (presented === null) {
      await store?.release(loopback);
      return null;
    }
    const holder = await presented.close();
    this.#presented = null;
    if (holder === null) return null;
    // Users do not expect that the loopback device stays open.
    const next = `start viola with it again to continue (${store!.howToRemove(loopback)})`;
    return `${loopback} stays open, held by ${holder}: ${next}`;
  }

  // ---- the driver ----

  #onAccess(event: AccessEvent): void {
    const listener = this.#listener;
    if (this.#pending !== null) {
      this.#pending.push(event);
      return;
    }
    switch (event.kind) {
      case "bad access":
        return listener.badAccess(event.text);
      case "kicked":
        return listener.kicked();
      case "config":
        return listener.configWritten(event, event.held);
      case "reset":
        this.#rebind?.statusChanged(0);
        return listener.driver(this.#driver(), false, event.held ? "reset" : null);
      case "status": {
        this.#rebind?.statusChanged(event.status);
        const needsReset = (event.status & STATUS_DEVICE_NEEDS_RESET) !== 0;
        return listener.driver(this.#driver(), needsReset, event.held ? "DRIVER_OK" : null);
      }
    }
  }

  #driver(): Pick<Driver, "epoch" | "isReady" | "features"> {
    const { state, driverOk } = this.#device;
    return { epoch: state.epoch, isReady: driverOk, features: state.driverFeatures };
  }

  async release(_held: Held): Promise<void> {
    const { id, lane: { access } } = this.#setup;
    if (!access.failed) await access.call("release", id);
  }

  async needsReset(epoch: number): Promise<void> {
    const { id, lane } = this.#setup;
    await lane.access.call("needReset", id, epoch);
  }

  // ---- the device towards the driver ----

  setBackEndConnected(isConnected: boolean): void {
    if (this.#rebind !== null) this.#rebind.isBackEndConnected = isConnected;
  }

  offer(features: bigint): void {
    this.#device.offer(features);
  }

  publishConfig(config: Uint8Array): boolean {
    const { state } = this.#device;
    const isOther = config.some((byte, i) => byte !== state.config[i]);
    if (isOther) state.publishConfig(config);
    return isOther;
  }

  async configInterrupt(): Promise<void> {
    const { id, lane } = this.#setup;
    await lane.rings.call("configInterrupt", id);
  }

  count(counter: Counter, by: number): void {
    this.#device.state.count(MAIN_COUNTERS[counter], by);
  }
}
