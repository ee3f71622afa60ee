// SPDX-License-Identifier: Apache-2.0
/**
 * A guest's driver and its device: probe, use, unbind or reset, probe again. Runs on the guest's thread.
 *
 * @module
 */
import { Countdown } from "./countdown.ts";
import { describeFeatures } from "../virtio/features.ts";
import { Dropped, GuestError } from "./error.ts";
import { GuestPages } from "./pages.ts";
import type { Progress } from "./progress.ts";
import type { Driver, DriverContract, DriverRole, Patience } from "./role.ts";
import { type DeviceIdentity, type GuestPort, measureAccess, MmioDevice } from "./transport.ts";

/** A port whose device may appear later. */
export interface StartablePort extends GuestPort {
  /** Waits for START_LOOPBACK. @returns null after the time */
  waitStarted(timeoutMs: number): unknown;
}

/** Result of a probe. */
export interface ProbeResult extends DeviceIdentity {
  /** Names of the negotiated features. */
  features: string;
  /** From the first register to the bound driver, in milliseconds. */
  probeMs: number;
}

/** How often a wait for the device checks for an order, in milliseconds. */
const LOOK_MS = 100;

/** A driver of some class and its device, from probe to unbind. */
export class DriverSession<C extends DriverContract = DriverContract> {
  readonly #pages: GuestPages;
  #device: MmioDevice<C["progress"]> | null = null;
  #driver: Driver<C> | null = null;

  /**
   * @param name The device's name in errors
   * @param progress Shared with the owner; of the role's layout
   */
  constructor(
    readonly role: DriverRole<C>,
    readonly port: StartablePort,
    readonly name: string,
    readonly patience: Patience,
    readonly progress: Progress<C["progress"]>,
  ) {
    this.#pages = new GuestPages(port.memory, port.guestBase, port.memorySize);
  }

  /** @throws {GuestError} ENODEV when no device is bound */
  get driver(): Driver<C> {
    if (this.#driver !== null) return this.#driver;
    throw this.#unbound();
  }

  /**
   * Waits for the device, identifies it unless it is known, and binds the driver.
   *
   * @param timeoutMs How long to wait for the device
   * @throws {GuestError} ETIMEDOUT, EBUSY when bound already; else as the driver's probe
   */
  probe(timeoutMs: number): ProbeResult & C["found"] {
    if (this.#driver !== null) {
      throw new GuestError("EBUSY", `probe ${this.name}: it is bound already`);
    }
    const device = this.#device ??
      new MmioDevice<C["progress"]>(this.port, this.#pages, this.name, this.progress);
    this.#awaitDevice(device, timeoutMs);
    const start = performance.now();
    try {
      if (this.#device === null) device.identify();
      this.#device = device;
      this.#driver = this.#bind(device);
    } catch (error) {
      // A device that failed is identified again; one that was dropped still needs its reset.
      if (!Dropped.is(error)) this.#device = null;
      throw error;
    }
    this.progress.state = "bound";
    const features = describeFeatures(device.features, this.role.deviceClass.featureNames);
    const probeMs = performance.now() - start;
    return { ...device.identity, features, probeMs, ...this.#driver.found };
  }

  #bind(device: MmioDevice<C["progress"]>): Driver<C> {
    device.onConfigChange = () => this.#driver?.configChanged?.();
    return this.role.bind(device, this.patience);
  }

  /** Makes a call that the driver's class defines. @throws {GuestError} ENODEV when it is not bound */
  call(name: string, args: readonly unknown[]): unknown {
    const calls = this.driver.calls as Record<string, (...args: unknown[]) => unknown>;
    if (Object.hasOwn(calls, name)) return calls[name]!(...args);
    const { name: className } = this.role.deviceClass;
    throw new TypeError(`Cannot ask the ${className} driver for ${name}: it has no such call`);
  }

  #awaitDevice(device: MmioDevice<C["progress"]>, timeoutMs: number): void {
    const countdown = new Countdown(timeoutMs);
    do {
      device.checkDropped();
      countdown.begin(LOOK_MS);
      if (this.port.waitStarted(LOOK_MS) !== null) return;
      countdown.end();
    } while (!countdown.isOver);
    throw new GuestError("ETIMEDOUT", `probe ${this.name}: it did not appear in ${timeoutMs} ms`);
  }

  /** Unbinds in order, as `echo … > unbind` does: streams are stopped and released, then the device is reset. */
  unbind(): void {
    const driver = this.driver;
    this.#driver = null;
    driver.shutDown?.();
    this.#device!.unbind();
    this.progress.state = "unbound";
  }

  /** Resets the device at once, whatever it is doing; the next probe starts afresh. */
  reset(): void {
    const device = this.#device;
    this.#device = this.#driver = null;
    this.progress.state = "unbound";
    device?.remove();
  }

  /** Handles an interrupt that arrived outside any wait. */
  onInterrupt(): void {
    if (this.port.waitInterrupt(0) && this.#driver !== null) this.#device!.handleInterrupt();
  }

  /** Measures register accesses. @returns nanoseconds of each */
  measureAccess(rounds: number): Float64Array<ArrayBuffer> {
    if (this.#device !== null) return measureAccess(this.#device, rounds);
    throw this.#unbound();
  }

  #unbound(): GuestError {
    return new GuestError("ENODEV", `use ${this.name}: it is not bound; probe it first`);
  }
}
