// SPDX-License-Identifier: Apache-2.0
/**
 * A device that is presented to a driver: created with the first back-end, or restored from the descriptor store. It
 * stays when back-ends go.
 *
 * @module
 */
import {
  cannotShrink,
  createMemory,
  EventFd,
  type Fd,
  Mapping,
  readSystemLink,
  viewMemory,
} from "../../ffi/mod.ts";
import { type Loopback, type MemoryMode, restoreLoopback } from "../loopback/mod.ts";
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import {
  DeviceState,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
} from "../virtio/state.ts";
import { MainState } from "../virtio/state_writers.ts";
import {
  type BackEndProfile,
  type DeviceClass,
  maskedFeatures,
  type QueueClass,
} from "../virtio/device_class.ts";
import { createArming } from "./arming.ts";
import type { DeviceSetup } from "./device_setup.ts";
import { InflightMemory } from "./inflight_memory.ts";
import { chooseVersion } from "./mmio_version.ts";
import { createMemoryUse } from "./memory_use.ts";
import type { LaneListener } from "./lane.ts";
import { type ReplaySource, replaySource } from "./replay.ts";
import type { LaneDevice } from "./lane_messages.ts";

const MAGIC = 0x74726976; // "virt"
/** Vendor id of every device: "VIOL". */
export const VENDOR = 0x4c4f4956;

/**
 * The features that a driver is offered, if the back-end has them: the class's own, and those of the ring that viola
 * supports. Bits 26 and 30 are between front-end and back-end; the packed ring and the bits above 32 are not supported.
 */
const OFFERED = (bit(24) - 1n) | bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) |
  bit(VIRTIO_F_VERSION_1);

/** The ring features that viola implements itself with shadow queues, so that a back-end may lack them. */
export function ownFeatures(memory: MemoryMode): bigint {
  if (memory === "direct") return 0n;
  return bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) | bit(VIRTIO_F_VERSION_1);
}

/** The resources of a presented device. */
interface Resources {
  readonly state: MainState;
  readonly mapping: Mapping;
  readonly memory: Fd;
  readonly loopback: Loopback;
  /** With direct memory only. */
  readonly inflight: InflightMemory | null;
  readonly queues: readonly QueueClass[];
  readonly replay: ReplaySource | null;
}

/** A device in its lane, which answers its register accesses. */
export class PresentedDevice {
  readonly state: MainState;
  readonly loopback: Loopback;
  readonly #setup: DeviceSetup;
  readonly #resources: Resources;
  readonly #kicks: readonly EventFd[];

  private constructor(
    setup: DeviceSetup,
    resources: Resources,
    kicks: readonly EventFd[],
    /** The device, as sent to its lane. */
    readonly lane: LaneDevice,
  ) {
    this.#setup = setup;
    this.#resources = resources;
    this.#kicks = kicks;
    this.state = resources.state;
    this.loopback = resources.loopback;
  }

  /**
   * Creates the device's state and opens the loopback device; {@linkcode start} lets the driver probe it.
   *
   * @param profile What the first back-end offers; it decides what the driver is offered
   * @throws {OsError} when the loopback device cannot be opened
   */
  static async create(
    setup: DeviceSetup,
    profile: BackEndProfile,
    listener: LaneListener,
  ): Promise<PresentedDevice> {
    const { name, deviceClass, memory: mode, loopback: node, reactor } = setup;
    const { features, config } = profile;
    const mmioVersion = chooseVersion(setup, features);
    const replay = await replaySource(deviceClass);
    const queues = deviceClass.queues(profile);
    const queueSizes = queues.map(({ size }) => size);
    const bytes = DeviceState.sizeFor(queueSizes.length, Math.max(...queueSizes));
    using undo = new DisposableStack();
    const memory = undo.use(createMemory(STATE_FILE + name, bytes));
    const mapping = undo.use(Mapping.create(memory, bytes));
    const inflight = undo.use(createInflight(setup, queueSizes));
    const loopback = undo.use(await setup.loopbacks.open(node, mode, reactor));
    const state = MainState.create(viewMemory(mapping), {
      name: node,
      deviceId: deviceClass.id,
      vendorId: VENDOR,
      mmioVersion,
      queueSizes,
      deviceFeatures: features & OFFERED & ~maskedFeatures(deviceClass, config.length),
      profileFeatures: features,
      config,
      maxQueueSetups: mmioVersion === 1 && Number.isFinite(loopback.maxQueueSetups)
        ? loopback.maxQueueSetups
        : undefined,
    });
    const resources = { state, mapping, memory, loopback, inflight, queues, replay };
    return await PresentedDevice.#enter(setup, undo, resources, false, listener);
  }

  /**
   * Restores a device that a previous process served, from the descriptor store. Its driver notices nothing.
   *
   * @returns null when the store has no such device, or the device has ended
   * @throws {Error} when what the store has is not valid
   */
  static async restore(
    setup: DeviceSetup,
    listener: LaneListener,
  ): Promise<PresentedDevice | null> {
    const { loopback: name, memory: mode, store } = setup;
    using undo = new DisposableStack();
    const fds = (await store!.take(name)).map((fd) => undo.use(fd));
    if (fds.length === 0) return null;
    await setup.lane.ready;
    const replay = await replaySource(setup.deviceClass);
    const restored = checkRestored(setup, () => {
      const [memory, ...others] = fds;
      const rest = others.filter((fd) => !InflightMemory.isOne(fd));
      const [kept] = others.filter((fd) => InflightMemory.isOne(fd));
      const mapping = undo.use(mapState(memory!));
      const { state, queues } = openState(setup, mapping); // before anything is done to the node
      const inflight = undo.use(createInflight(setup, queues.map(({ size }) => size), kept));
      const loopback = restoreLoopback(name, mode, rest);
      return loopback === null
        ? null
        : { state, mapping, memory: memory!, loopback, inflight, queues, replay };
    });
    if (restored === null) {
      await store!.remove(name);
      return null;
    }
    undo.use(restored.loopback);
    return await PresentedDevice.#enter(setup, undo, restored, true, listener);
  }

  /** Puts the device into the store, then adds it to its lane, which answers its accesses from then on. */
  static async #enter(
    setup: DeviceSetup,
    undo: DisposableStack,
    resources: Resources,
    restored: boolean,
    listener: LaneListener,
  ): Promise<PresentedDevice> {
    await PresentedDevice.#put(setup, resources);
    try {
      return await PresentedDevice.#enterLane(setup, undo, resources, restored, listener);
    } catch (error) {
      await setup.store?.release(setup.loopback); // before its descriptors are closed
      throw error;
    }
  }

  /** Puts the device into the store: before the driver can use it, so that it survives this process from then on. */
  static async #put(
    { store, loopback: node, name, onEvent }: DeviceSetup,
    resources: Resources,
  ): Promise<void> {
    const report = (text: string): void => {
      onEvent({ device: name, kind: "error", text, ms: performance.now() });
    };
    const { memory, inflight, loopback } = resources;
    const own = inflight === null ? [memory] : [memory, inflight.fd];
    await store?.put(node, [...own.map(({ number }) => number), ...loopback.kept], report);
  }

  static async #enterLane(
    setup: DeviceSetup,
    undo: DisposableStack,
    resources: Resources,
    restored: boolean,
    listener: LaneListener,
  ): Promise<PresentedDevice> {
    const { id, name, priority, memory, deviceClass } = setup;
    const { state, mapping, loopback, queues, replay } = resources;
    state.countMappings(loopback.mappings);
    const kicks = state.queues.map(() => undo.use(EventFd.create()));
    const lane: LaneDevice = {
      id,
      name,
      priority,
      memory,
      config: deviceClass.config.access,
      port: loopback.port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      arming: createArming(),
      restored,
      queues,
      featureNames: deviceClass.featureNames,
      replay,
      kicks: kicks.map(({ number }) => number),
    };
    await setup.lane.add(lane, listener);
    undo.move();
    return new PresentedDevice(setup, resources, kicks, lane);
  }

  /** START_LOOPBACK, unless a previous process did it: the driver may probe. @throws {OsError} */
  start(): void {
    const { state } = this;
    if (state.started) return;
    const { mmioVersion: version, deviceId } = state;
    this.loopback.start({ magic: MAGIC, version, deviceId, vendor: VENDOR });
    state.setStarted();
  }

  /** Whether DRIVER_OK is set, and neither FAILED nor DEVICE_NEEDS_RESET. */
  get driverOk(): boolean {
    const { status } = this.state;
    const faults = STATUS_DEVICE_NEEDS_RESET | STATUS_FAILED;
    return (status & STATUS_DRIVER_OK) !== 0 && (status & faults) === 0;
  }

  /** Sets the features offered to the driver's next probe: the new back-end's, and those that viola implements itself. */
  offer(features: bigint): void {
    const { memory, deviceClass } = this.#setup;
    const own = ownFeatures(memory);
    const offered = features & OFFERED & ~maskedFeatures(deviceClass, this.state.configSize);
    this.state.offerFeatures((offered & ~own) | (this.state.deviceFeatures & own));
  }

  /** Where back-ends note their chains in flight; null with isolated memory. */
  get inflight(): InflightMemory | null {
    return this.#resources.inflight;
  }

  /** Whether viola maps the driver's memory. */
  get seesMemory(): boolean {
    const { memory, chunks } = this.loopback.port;
    return memory.length > 0 || chunks !== null;
  }

  /**
   * Removes the device from its lane and frees it. If a Worker hangs, it may still use the memory and the eventfds, so
   * nothing is freed then.
   *
   * @returns text naming what holds the device's descriptors now; null when nothing does
   */
  async close(): Promise<string | null> {
    const { lane, id, store, loopback: name } = this.#setup;
    const isFree = await lane.remove(id).then(() => true, () => false);
    const holder = await store?.release(name) ?? null;
    if (!isFree) return holder;
    this.loopback.close();
    for (const kick of this.#kicks) kick.close();
    this.inflight?.close();
    this.#resources.mapping.close();
    this.#resources.memory.close();
    return holder;
  }
}

/** Creates a device's in-flight memory, or maps that from the store; null with isolated memory. */
function createInflight(
  { name, memory }: DeviceSetup,
  queueSizes: readonly number[],
  kept?: Fd,
): InflightMemory | null {
  if (memory === "isolated") return null;
  // A shadow ring has at least two entries.
  const shape = { queues: queueSizes.length, queueSize: Math.max(2, ...queueSizes) };
  return kept === undefined
    ? InflightMemory.create(name, shape)
    : InflightMemory.restore(kept, shape);
}

/** The name of a state's memory file begins with this; the device's name follows. */
const STATE_FILE = "viola-state-";

/** Maps a state's memory file. @throws {OsError} @throws {TypeError} when the descriptor is something else */
function mapState(memory: Fd): Mapping {
  // Checked before mapping: a node could be mapped as well, and on the AGL driver that changes it.
  const found = readSystemLink(`/proc/self/fd/${memory.number}`);
  if (!found.startsWith(`/memfd:${STATE_FILE}`)) {
    throw new TypeError(`the state is ${found}, expected a memory file ${STATE_FILE}…`);
  }
  if (cannotShrink(memory)) return Mapping.create(memory, memory.size());
  throw new TypeError("the state is not sealed against shrinking (F_SEAL_SHRINK)");
}

/** Opens a state. @throws {RangeError} when it does not belong to this device */
function openState(
  setup: DeviceSetup,
  mapping: Mapping,
): { state: MainState; queues: readonly QueueClass[] } {
  const { loopback: name, deviceClass, mmioVersion } = setup;
  const state = MainState.open(viewMemory(mapping));
  if (!state.isOf(name)) throw new RangeError("it is the state of another node");
  const found = [state.deviceId, state.queueCount, state.mmioVersion].join(", ");
  // The driver already uses one version, so the present back-end has no say in it.
  const version = mmioVersion === "auto" ? state.mmioVersion : mmioVersion;
  const queues = queuesOf(deviceClass, state);
  const expected = [deviceClass.id, queues.length, version].join(", ");
  if (found === expected) return { state, queues };
  throw new RangeError(`device id, queues and version are ${found}, expected ${expected}`);
}

/**
 * The queues of a restored device. Back-ends that came after the first may have offered fewer features, or have published a
 * config space with more queues: the driver keeps those that it was presented with.
 */
function queuesOf(deviceClass: DeviceClass, state: MainState): readonly QueueClass[] {
  const { profileFeatures: features, queueCount, config } = state;
  return deviceClass.queues({ features, queueCount, config: config.slice() }).slice(0, queueCount);
}

/** Runs a check of what the store had. @throws {Error} saying what is not valid, and what to do about it */
function checkRestored<T>({ loopback: name, store }: DeviceSetup, look: () => T): T {
  try {
    return look();
  } catch (cause) {
    const way = store!.howToRemove(name);
    const end = name.startsWith("soft:") ? "" : ", and the machine must be restarted then";
    throw new Error(
      `Cannot restore ${name}: what the descriptor store holds of it is not valid: ` +
        `${(cause as Error).message} (${way}${end})`,
      { cause },
    );
  }
}
