// SPDX-License-Identifier: Apache-2.0
/**
 * A guest's life with its device: probe, use, unbind or reset, probe again. Runs on the guest's thread.
 *
 * @module
 */
import { Countdown } from "./countdown.ts";
import { describeFeatures } from "../virtio/features.ts";
import { Dropped, GuestError } from "./error.ts";
import { GuestPages } from "./pages.ts";
import type { Progress } from "./progress.ts";
import { EntropyDriver, measureAccess } from "../classes/rng/driver.ts";
import { type CardInfo, SoundCard } from "../classes/sound/driver.ts";
import {
  capture,
  type CaptureOptions,
  play,
  type PlayOptions,
  type TransferResult,
} from "../classes/sound/transfer.ts";
import { type DeviceIdentity, type GuestPort, MmioDevice } from "./transport.ts";

/** How patient a guest is, in milliseconds. */
export interface Patience {
  /** For the answer to a control message. @default {1000} Linux's msg_timeout_ms */
  controlTimeoutMs: number;
  /** For a buffer, once the device has some. @default {10000} */
  stallTimeoutMs: number;
}

/** A port whose device appears some time. */
export interface StartablePort extends GuestPort {
  /** Waits for START_LOOPBACK. @returns null after the time */
  waitStarted(timeoutMs: number): unknown;
}

/** What a probe found. */
export interface ProbeResult extends DeviceIdentity {
  /** What was negotiated, by name. */
  features: string;
  /** From the first register to the bound driver, in milliseconds. */
  probeMs: number;
}

/** How often a wait for the device to appear looks for an order. */
const LOOK_MS = 100;

/** What drivers of all classes have in common. */
export abstract class Session<Driver> {
  readonly #pages: GuestPages;
  #device: MmioDevice | null = null;
  #driver: Driver | null = null;

  /**
   * @param name How the device is called in errors
   * @param progress Shared with the owner
   */
  constructor(
    readonly port: StartablePort,
    readonly name: string,
    readonly patience: Patience,
    readonly progress: Progress,
  ) {
    this.#pages = new GuestPages(port.memory, port.guestBase, port.memorySize);
  }

  protected abstract bind(device: MmioDevice): Driver;

  /** What the driver does before its device is reset, in order. */
  protected abstract shutDown(driver: Driver): void;

  /** @throws {GuestError} ENODEV when no device is bound */
  protected get driver(): Driver {
    if (this.#driver !== null) return this.#driver;
    throw this.#unbound();
  }

  /**
   * Waits for the device, identifies it unless it is known, and binds the driver.
   *
   * @param timeoutMs How long to wait for the device
   * @throws {GuestError} ETIMEDOUT, EBUSY when bound already; else as the driver's probe
   */
  probe(timeoutMs: number): ProbeResult {
    if (this.#driver !== null) {
      throw new GuestError("EBUSY", `probe ${this.name}: it is bound already`);
    }
    const device = this.#device ??
      new MmioDevice(this.port, this.#pages, this.name, this.progress);
    this.#awaitDevice(device, timeoutMs);
    const start = performance.now();
    try {
      if (this.#device === null) device.identify();
      this.#device = device;
      this.#driver = this.bind(device);
    } catch (error) {
      // A device that failed is looked at anew; one that was dropped is still to be reset.
      if (!(error instanceof Dropped)) this.#device = null;
      throw error;
    }
    this.progress.state = "bound";
    const features = describeFeatures(device.features);
    return { ...device.identity, features, probeMs: performance.now() - start };
  }

  #awaitDevice(device: MmioDevice, timeoutMs: number): void {
    const countdown = new Countdown(timeoutMs);
    do {
      device.checkDropped();
      countdown.begin(LOOK_MS);
      if (this.port.waitStarted(LOOK_MS) !== null) return;
      countdown.end();
    } while (!countdown.isOver);
    throw new GuestError("ETIMEDOUT", `probe ${this.name}: it did not appear in ${timeoutMs} ms`);
  }

  /** Lets the device go in order, as `echo … > unbind` does: streams are stopped and released, then it is reset. */
  unbind(): void {
    const driver = this.driver;
    this.#driver = null;
    this.shutDown(driver);
    this.#device!.unbind();
    this.progress.state = "unbound";
  }

  /** Lets the device go at once: it is reset whatever it is doing, and the next probe knows nothing of it. */
  reset(): void {
    const device = this.#device;
    this.#device = this.#driver = null;
    this.progress.state = "unbound";
    device?.remove();
  }

  /** Handles an interrupt that came while nothing waited for one. */
  onInterrupt(): void {
    if (this.port.waitInterrupt(0) && this.#driver !== null) this.#device!.handleInterrupt();
  }

  /** Measures register accesses. @returns nanoseconds of each */
  measureAccess(rounds: number): Float64Array<ArrayBuffer> {
    if (this.#device !== null) return measureAccess(this.#device, rounds);
    throw this.#unbound();
  }

  #unbound(): GuestError {
    return new GuestError("ENODEV", `use ${this.name}: it is not bound, expected a probe before`);
  }
}

/** A session with a sound card. */
export class SoundSession extends Session<SoundCard> {
  protected override bind(device: MmioDevice): SoundCard {
    return SoundCard.bind(device, this.patience.controlTimeoutMs);
  }

  protected override shutDown(card: SoundCard): void {
    card.shutDown();
  }

  /** What the card has. */
  get info(): CardInfo {
    return this.driver.info;
  }

  /** @see {@linkcode play} */
  play(options: PlayOptions): TransferResult {
    return play(this.driver, options, this.patience.stallTimeoutMs);
  }

  /** @see {@linkcode capture} */
  capture(options: CaptureOptions): TransferResult {
    return capture(this.driver, options, this.patience.stallTimeoutMs);
  }
}

/** A session with an entropy device. */
export class EntropySession extends Session<EntropyDriver> {
  protected override bind(device: MmioDevice): EntropyDriver {
    return EntropyDriver.bind(device);
  }

  protected override shutDown(): void {}

  /** @see {@linkcode EntropyDriver.read} */
  readEntropy(count: number): Uint8Array<ArrayBuffer> {
    return this.driver.read(count, this.patience.stallTimeoutMs);
  }

  /** @see {@linkcode EntropyDriver.measure} */
  measureRequests(rounds: number): Float64Array<ArrayBuffer> {
    return this.driver.measure(rounds, this.patience.stallTimeoutMs);
  }
}
