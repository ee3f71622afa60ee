// SPDX-License-Identifier: Apache-2.0
/**
 * A driver of the virtio-mmio transport, versions 1 and 2: register by register what Linux 6.12 does to find a device,
 * negotiate, set up its queues, handle its interrupt and remove it (virtio 1.2 §3.1.1, §4.2.3, §4.2.4).
 *
 * All on one thread: every wait handles the interrupts that arrive meanwhile.
 *
 * @module
 */
import { monotonicNs } from "../../ffi/mod.ts";
import { Countdown } from "./countdown.ts";
import { DriverQueue, type Segment } from "../virtio/driver_queue.ts";
import { DriverRing } from "../virtio/driver_ring.ts";
import {
  bit,
  describeFeatures,
  hasFeature,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import type { GuestMemory } from "../virtio/memory.ts";
import {
  DESC_SIZE,
  MAX_QUEUE_SIZE,
  type RingLayout,
  splitRingLayout,
} from "../virtio/ring_layout.ts";
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
} from "../virtio/state.ts";
import { Dropped, GuestError } from "./error.ts";
import { type GuestPages, PAGE_SIZE } from "./pages.ts";
import { ORDER, type Progress, type ProgressLayout } from "./progress.ts";

/** The driver's view of a loopback device; each call blocks the thread. */
export interface GuestPort {
  readonly memory: GuestMemory;
  /** Guest address of the memory's first byte. */
  readonly guestBase: number;
  readonly memorySize: number;
  /** @throws {Error} when nobody answers in time */
  read(offset: number, size: number): number;
  /** @throws {Error} when nobody answers in time */
  write(offset: number, size: number, value: number): void;
  /** @returns whether an interrupt came within the time */
  waitInterrupt(timeoutMs: number): boolean;
}

/** Offsets of the registers that a driver uses (virtio 1.2 §4.2.2, §4.2.4); of pairs of words, the lower. */
export const REGISTER = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendor: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSel: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSel: 0x024,
  guestPageSize: 0x028,
  queueSel: 0x030,
  queueNumMax: 0x034,
  queueNum: 0x038,
  queueAlign: 0x03c,
  queuePfn: 0x040,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  queueDesc: 0x080,
  queueAvail: 0x090,
  queueUsed: 0x0a0,
  config: 0x100,
} as const;

const MAGIC = 0x74726976;
/** The ring features that are accepted when offered. */
const RING_FEATURES = bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) |
  bit(VIRTIO_F_VERSION_1);
/** Descriptors of an indirect table. */
const INDIRECT_ENTRIES = 64;
/** The longest sleep, in milliseconds: an order that arrives just before a sleep is seen after that time. */
const SLEEP_MS = 1000;

/** The device's first registers. */
export interface DeviceIdentity {
  /** Version of the register layout: 1 or 2. */
  version: number;
  /** The virtio device id of its class. */
  deviceId: number;
  /** Vendor id. */
  vendor: number;
}

/** A queue in use. */
export class VirtQueue<Token> {
  /**
   * @param done Called by the interrupt handler with each used buffer and how many bytes the device wrote
   */
  constructor(
    readonly device: MmioDevice,
    readonly index: number,
    readonly queue: DriverQueue<Token>,
    readonly done: (token: Token, written: number) => void,
  ) {}

  /** Offers a buffer. @returns whether there was room */
  add(segments: readonly Segment[], token: Token): boolean {
    return this.queue.add(segments, token);
  }

  /** Notifies the device of the buffers added, if it wants that. */
  kick(): void {
    if (this.queue.ring.needsKick()) this.device.write(REGISTER.queueNotify, this.index);
  }

  /** Handles used buffers, if there are any: all queues share one interrupt. @throws {RingError} */
  service(): void {
    const { ring } = this.queue;
    let used = this.queue.take();
    if (used === null) return;
    ring.disableInterrupts();
    do {
      for (; used !== null; used = this.queue.take()) this.done(used.token, used.length);
      if (ring.enableInterrupts()) used = this.queue.take();
    } while (used !== null);
  }
}

/**
 * A virtio-mmio device, from the driver's side.
 *
 * @internal
 */
export class MmioDevice<L extends ProgressLayout = ProgressLayout> {
  #identity: DeviceIdentity = { version: 0, deviceId: 0, vendor: 0 };
  #features = 0n;
  /** In the order of their indexes. */
  #queues: VirtQueue<unknown>[] = [];
  /** Called when the device reports a change of its config space; set where the driver is bound. */
  onConfigChange: () => void = () => {};

  /**
   * @param pages The guest's memory, all of it for this device
   * @param name The device's name in errors
   * @param progress Counts the interrupts, and has the owner's order
   */
  constructor(
    readonly port: GuestPort,
    readonly pages: GuestPages,
    readonly name: string,
    readonly progress: Progress<L>,
  ) {}

  get identity(): DeviceIdentity {
    return this.#identity;
  }

  /** The negotiated features. */
  get features(): bigint {
    return this.#features;
  }

  /** Reads a register. */
  read(offset: number): number {
    return this.port.read(offset, 4);
  }

  /** Writes a register. */
  write(offset: number, value: number): void {
    this.port.write(offset, 4, value);
  }

  /**
   * Reads a field of the config space; version 1 has it read byte by byte.
   *
   * @param offset Where in the config space
   * @param size Bytes of the field: 1, 2 or 4
   */
  readConfig(offset: number, size: 1 | 2 | 4 = 4): number {
    const at = REGISTER.config + offset;
    if (this.#identity.version !== 1) return this.port.read(at, size);
    let value = 0;
    for (let i = 0; i < size; i++) value += (this.port.read(at + i, 1) & 0xff) * 2 ** (8 * i);
    return value;
  }

  /** Adds a bit to the device's status. */
  addStatus(status: number): void {
    this.write(REGISTER.status, this.read(REGISTER.status) & 0xff | status);
  }

  /**
   * Reads which device this is, resets it and acknowledges it.
   *
   * @throws {GuestError} ENODEV when there is no device, ENXIO when its version is unknown
   */
  identify(): void {
    const magic = this.read(REGISTER.magic);
    if (magic !== MAGIC) {
      this.#fail(
        "ENODEV",
        `its magic is 0x${magic.toString(16)}, expected 0x${MAGIC.toString(16)}`,
      );
    }
    const version = this.read(REGISTER.version);
    if (version < 1 || version > 2) {
      this.#fail("ENXIO", `its version is ${version}, expected 1 or 2`);
    }
    const deviceId = this.read(REGISTER.deviceId);
    if (deviceId === 0) this.#fail("ENODEV", "its device id is 0, a placeholder's");
    this.#identity = { version, deviceId, vendor: this.read(REGISTER.vendor) };
    if (version === 1) this.write(REGISTER.guestPageSize, PAGE_SIZE);
    this.write(REGISTER.status, 0);
    this.addStatus(STATUS_ACKNOWLEDGE);
  }

  /**
   * Binds a driver: negotiates, lets the driver set itself up, and sets DRIVER_OK unless the driver has.
   *
   * @param deviceId The class the driver is for
   * @param driverFeatures Bits of the class that it supports
   * @param probe Sets up the queues, calls {@linkcode ready} and reads what it needs from the device
   * @throws {GuestError} as Linux's probe would fail; the device's status then has FAILED
   */
  bind<Driver>(deviceId: number, driverFeatures: bigint, probe: () => Driver): Driver {
    if (this.#identity.deviceId !== deviceId) {
      this.#fail("ENODEV", `its class is ${this.#identity.deviceId}, expected ${deviceId}`);
    }
    try {
      this.addStatus(STATUS_DRIVER);
      this.#negotiate(driverFeatures);
      const driver = probe();
      if ((this.read(REGISTER.status) & STATUS_DRIVER_OK) === 0) this.ready();
      return driver;
    } catch (error) {
      this.#giveUp(error);
      throw error;
    }
  }

  #negotiate(driverFeatures: bigint): void {
    this.write(REGISTER.deviceFeaturesSel, 1);
    const high = this.read(REGISTER.deviceFeatures);
    this.write(REGISTER.deviceFeaturesSel, 0);
    const offered = BigInt(high) << 32n | BigInt(this.read(REGISTER.deviceFeatures));
    this.#features = offered & (driverFeatures | RING_FEATURES);
    const modern = hasFeature(this.#features, VIRTIO_F_VERSION_1);
    if (this.#identity.version === 2 && !modern) {
      this.#fail(
        "EINVAL",
        `it offers ${describeFeatures(offered)}, expected VIRTIO_F_VERSION_1 too`,
      );
    }
    this.write(REGISTER.driverFeaturesSel, 1);
    this.write(REGISTER.driverFeatures, Number(this.#features >> 32n));
    this.write(REGISTER.driverFeaturesSel, 0);
    this.write(REGISTER.driverFeatures, Number(this.#features & 0xffffffffn));
    if (!modern) return;
    this.addStatus(STATUS_FEATURES_OK);
    if ((this.read(REGISTER.status) & STATUS_FEATURES_OK) === 0) {
      this.#fail("ENODEV", `it refuses ${describeFeatures(this.#features)}`);
    }
  }

  /** Sets DRIVER_OK: the device serves its queues from now on. */
  ready(): void {
    this.addStatus(STATUS_DRIVER_OK);
  }

  /** Sets FAILED, as Linux does when a probe fails. If that fails too, the first error is the one to report. */
  #giveUp(error: unknown): void {
    if (Dropped.is(error)) return;
    try {
      if (this.#queues.length > 0) this.remove();
      this.addStatus(STATUS_FAILED);
    } catch { /* the first error is reported */ }
  }

  /**
   * Sets up the next queue.
   *
   * @param name The queue's name in errors
   * @param done Called with each used buffer
   * @throws {GuestError} ENOENT when it does not exist or is in use, EINVAL for an invalid size
   */
  setUpQueue<Token>(
    name: string,
    done: (token: Token, written: number) => void,
  ): VirtQueue<Token> {
    const index = this.#queues.length;
    const legacy = this.#identity.version === 1;
    const inUse = legacy ? REGISTER.queuePfn : REGISTER.queueReady;
    this.write(REGISTER.queueSel, index);
    if (this.read(inUse) !== 0) this.#fail("ENOENT", `queue ${index} (${name}) is in use already`);
    const size = this.read(REGISTER.queueNumMax);
    if (size === 0) this.#fail("ENOENT", `it has no queue ${index} (${name})`);
    if (size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) {
      this.write(inUse, 0);
      this.#fail("EINVAL", `queue ${index} (${name}) has size ${size}, expected a power of 2`);
    }
    const queue = new VirtQueue(this, index, this.#createRing<Token>(index, size), done);
    this.#queues.push(queue as VirtQueue<unknown>);
    return queue;
  }

  /** Allocates the ring, in one block as drivers of both versions do, and sets it up in the device. */
  #createRing<Token>(index: number, size: number): DriverQueue<Token> {
    const { pages } = this;
    const { bytes } = splitRingLayout(0, size, PAGE_SIZE);
    const { desc, avail, used } = splitRingLayout(pages.allocate(bytes), size, PAGE_SIZE);
    const indirect = hasFeature(this.#features, VIRTIO_F_RING_INDIRECT_DESC);
    const eventIdx = hasFeature(this.#features, VIRTIO_F_RING_EVENT_IDX);
    const layout = { index, size, desc, avail, used };
    const ring = new DriverRing(pages.memory, layout, {
      indirect,
      eventIdx,
      deviceName: this.name,
    });
    this.#activate(layout);
    if (!indirect) return new DriverQueue(ring);
    const address = pages.allocate(size * INDIRECT_ENTRIES * DESC_SIZE);
    return new DriverQueue(ring, { memory: pages.memory, address, entries: INDIRECT_ENTRIES });
  }

  /** Writes the addresses of the selected queue's ring to the device. */
  #activate({ size, desc, avail, used }: RingLayout): void {
    this.write(REGISTER.queueNum, size);
    if (this.#identity.version === 1) {
      this.write(REGISTER.queueAlign, PAGE_SIZE);
      this.write(REGISTER.queuePfn, desc / PAGE_SIZE);
    } else {
      this.#writeAddress(REGISTER.queueDesc, desc);
      this.#writeAddress(REGISTER.queueAvail, avail);
      this.#writeAddress(REGISTER.queueUsed, used);
      this.write(REGISTER.queueReady, 1);
    }
  }

  #writeAddress(register: number, address: number): void {
    this.write(register, address % 2 ** 32);
    this.write(register + 4, Math.floor(address / 2 ** 32));
  }

  /** Resets the device, takes its queues down, and frees all memory. */
  remove(): void {
    this.write(REGISTER.status, 0);
    const queues = this.#queues.splice(0);
    this.pages.freeAll();
    for (const { index } of queues) {
      this.write(REGISTER.queueSel, index);
      if (this.#identity.version === 1) this.write(REGISTER.queuePfn, 0);
      else this.#takeDown(index);
    }
  }

  /** Unbinds the driver; the device stays identified. @throws {GuestError} EBUSY when a reset has no effect */
  unbind(): void {
    this.remove();
    const status = this.read(REGISTER.status);
    if (status !== 0) this.#fail("EBUSY", `its status is 0x${status.toString(16)} after a reset`);
    this.addStatus(STATUS_ACKNOWLEDGE);
  }

  #takeDown(index: number): void {
    this.write(REGISTER.queueReady, 0);
    const ready = this.read(REGISTER.queueReady);
    if (ready !== 0) {
      this.#fail("EBUSY", `queue ${index} is ready (${ready}) after it was taken down`);
    }
  }

  /** The interrupt handler: reads and acknowledges the interrupt status, then serves every queue, the last first. */
  handleInterrupt(): void {
    const cause = this.read(REGISTER.interruptStatus);
    this.write(REGISTER.interruptAck, cause);
    this.progress.count("interrupts");
    if ((cause & INTERRUPT_CONFIG_CHANGE) !== 0) this.onConfigChange();
    if ((cause & INTERRUPT_USED_BUFFER) === 0) return;
    for (let i = this.#queues.length - 1; i >= 0; i--) this.#queues[i]!.service();
  }

  /**
   * Handles interrupts until a condition is true. Time in which this process was stopped (SIGSTOP) does not count.
   *
   * @returns false when the condition is not true after the time
   * @throws {Dropped} when the owner reset the driver
   * @throws {GuestError} EINTR when the owner killed the application that waits
   */
  wait(isSo: () => boolean, timeoutMs: number): boolean {
    for (const countdown = new Countdown(timeoutMs); !isSo(); countdown.end()) {
      this.checkDropped();
      if (countdown.isOver) return false;
      if (!this.port.waitInterrupt(countdown.begin(SLEEP_MS))) continue;
      this.checkDropped();
      this.handleInterrupt();
    }
    return true;
  }

  /**
   * @throws {Dropped} when the owner reset the driver
   * @throws {GuestError} EINTR when the owner killed the application
   */
  checkDropped(): void {
    const order = this.progress.get("order");
    if (order === ORDER.drop) throw new Dropped();
    if (order !== ORDER.kill) return;
    throw new GuestError("EINTR", `wait for ${this.name}: the application was killed`);
  }

  /** Whether the owner ordered the call to end in order. @throws as {@linkcode checkDropped} */
  isToEnd(): boolean {
    this.checkDropped();
    return this.progress.get("order") === ORDER.stop;
  }

  /** Whether the owner ordered the call to pause. @throws as {@linkcode checkDropped} */
  isPaused(): boolean {
    this.checkDropped();
    return this.progress.get("order") === ORDER.pause;
  }

  #fail(code: string, problem: string): never {
    throw new GuestError(code, `drive ${this.name}: ${problem}`);
  }
}

/**
 * Measures register accesses: reads of the device's status.
 *
 * @param rounds How many
 * @returns nanoseconds of each
 */
export function measureAccess(device: MmioDevice, rounds: number): Float64Array<ArrayBuffer> {
  const times = new Float64Array(rounds);
  for (let i = 0; i < rounds; i++) {
    const start = monotonicNs();
    device.read(REGISTER.status);
    times[i] = monotonicNs() - start;
  }
  return times;
}
