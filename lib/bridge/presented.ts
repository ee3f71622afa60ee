// SPDX-License-Identifier: Apache-2.0
/**
 * A device as its driver sees it: made with the first back-end, or restored from the descriptor store, and there until the
 * end whatever becomes of back-ends.
 *
 * @module
 */
import {
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
import { VhostUserError } from "../vhost_user/mod.ts";
import type { BackEndProfile, QueueClass } from "../virtio/device_class.ts";
import type { DeviceSetup } from "./device_setup.ts";
import { createMemoryUse } from "./memory_use.ts";
import type { LaneListener } from "./lane.ts";
import { type ReplaySource, replaySource } from "./replay.ts";
import type { LaneDevice } from "./lane_messages.ts";

const MAGIC = 0x74726976; // "virt"
/** Vendor id of every device: "VIOL". */
export const VENDOR = 0x4c4f4956;

/**
 * The features that a driver is offered, if the back-end has them: the class's own, and those of the ring that viola
 * knows. Bits 26 and 30 are between front-end and back-end; the packed ring and the bits above 32 are not served.
 */
const OFFERED = (bit(24) - 1n) | bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) |
  bit(VIRTIO_F_VERSION_1);

/** The features of rings that are viola's own, whatever the driver accepted. */
export function ownFeatures(memory: MemoryMode): bigint {
  if (memory === "direct") return 0n;
  return bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) | bit(VIRTIO_F_VERSION_1);
}

/** What a device in its lane consists of. */
interface Parts {
  readonly state: MainState;
  readonly mapping: Mapping;
  readonly memory: Fd;
  readonly loopback: Loopback;
  readonly queues: readonly QueueClass[];
  readonly replay: ReplaySource | null;
}

/** A device whose accesses its lane answers. */
export class PresentedDevice {
  readonly state: MainState;
  readonly loopback: Loopback;
  readonly #setup: DeviceSetup;
  readonly #parts: Parts;
  readonly #kicks: readonly EventFd[];

  private constructor(
    setup: DeviceSetup,
    parts: Parts,
    kicks: readonly EventFd[],
    /** As its lane has it. */
    readonly lane: LaneDevice,
  ) {
    this.#setup = setup;
    this.#parts = parts;
    this.#kicks = kicks;
    this.state = parts.state;
    this.loopback = parts.loopback;
  }

  /**
   * Makes the device's state and opens the loopback device; {@linkcode start} lets the driver probe it.
   *
   * @param profile The first back-end's: it decides what the driver is offered
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
    const loopback = undo.use(await setup.loopbacks.open(node, mode, reactor));
    const state = MainState.create(viewMemory(mapping), {
      name: node,
      deviceId: deviceClass.id,
      vendorId: VENDOR,
      mmioVersion,
      queueSizes,
      deviceFeatures: features & OFFERED & ~deviceClass.masked,
      config,
      maxQueueSetups: mmioVersion === 1 && Number.isFinite(loopback.maxQueueSetups)
        ? loopback.maxQueueSetups
        : undefined,
    });
    const parts = { state, mapping, memory, loopback, queues, replay };
    return await PresentedDevice.#enter(setup, undo, parts, false, listener);
  }

  /**
   * Restores a device that a process before this one served, from the descriptor store: the driver goes on where it stands.
   *
   * @returns null when nothing is held, or what is held has ended
   * @throws {Error} when what is held is not valid
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
    const trusted = trusting(setup, () => {
      const [memory, ...rest] = fds;
      const mapping = undo.use(mapState(memory!));
      const { state, queues } = openState(setup, mapping); // before anything is done to the node
      const loopback = restoreLoopback(name, mode, rest);
      return loopback === null
        ? null
        : { state, mapping, memory: memory!, loopback, queues, replay };
    });
    if (trusted === null) {
      await store!.remove(name);
      return null;
    }
    undo.use(trusted.loopback);
    return await PresentedDevice.#enter(setup, undo, trusted, true, listener);
  }

  /** Has the device held by the store, then gives it to its lane: from now on accesses are answered. */
  static async #enter(
    setup: DeviceSetup,
    undo: DisposableStack,
    parts: Parts,
    restored: boolean,
    listener: LaneListener,
  ): Promise<PresentedDevice> {
    await PresentedDevice.#put(setup, parts);
    try {
      return await PresentedDevice.#enterLane(setup, undo, parts, restored, listener);
    } catch (error) {
      await setup.store?.release(setup.loopback); // before its descriptors are closed
      throw error;
    }
  }

  /** So early that nothing is lost if this process dies now. */
  static async #put(
    { store, loopback: node, name, onEvent }: DeviceSetup,
    parts: Parts,
  ): Promise<void> {
    const report = (text: string): void => {
      onEvent({ device: name, kind: "error", text, ms: performance.now() });
    };
    await store?.put(node, [parts.memory.number, ...parts.loopback.kept], report);
  }

  static async #enterLane(
    setup: DeviceSetup,
    undo: DisposableStack,
    parts: Parts,
    restored: boolean,
    listener: LaneListener,
  ): Promise<PresentedDevice> {
    const { id, name, priority, memory, deviceClass } = setup;
    const { state, mapping, loopback, queues, replay } = parts;
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
      restored,
      queues,
      featureNames: deviceClass.featureNames,
      replay,
      kicks: kicks.map(({ number }) => number),
    };
    await setup.lane.add(lane, listener);
    undo.move();
    return new PresentedDevice(setup, parts, kicks, lane);
  }

  /** START_LOOPBACK, unless a process before did it: the driver may probe. @throws {OsError} */
  start(): void {
    const { state } = this;
    if (state.started) return;
    const { mmioVersion: version, deviceId } = state;
    this.loopback.start({ magic: MAGIC, version, deviceId, vendor: VENDOR });
    state.setStarted();
  }

  /** Whether the driver is at work. */
  get driverOk(): boolean {
    const { status } = this.state;
    const dead = STATUS_DEVICE_NEEDS_RESET | STATUS_FAILED;
    return (status & STATUS_DRIVER_OK) !== 0 && (status & dead) === 0;
  }

  /** What the driver's next probe finds offered: what a new back-end has, and what viola stands in for. */
  offer(features: bigint): void {
    const { memory, deviceClass } = this.#setup;
    const own = ownFeatures(memory);
    const offered = features & OFFERED & ~deviceClass.masked;
    this.state.offerFeatures((offered & ~own) | (this.state.deviceFeatures & own));
  }

  /** Whether viola sees the driver's memory. */
  get seesMemory(): boolean {
    const { memory, chunks } = this.loopback.port;
    return memory.length > 0 || chunks !== null;
  }

  /**
   * Takes the device from its lane and frees it. If a Worker hangs, it may still touch what would be unmapped, and ring
   * what would be closed: then all of it stays.
   *
   * @returns who holds the device's descriptors now, in words; null when nobody does
   */
  async close(): Promise<string | null> {
    const { lane, id, store, loopback: name } = this.#setup;
    const isFree = await lane.remove(id).then(() => true, () => false);
    const holder = await store?.release(name) ?? null;
    if (!isFree) return holder;
    this.loopback.close();
    for (const kick of this.#kicks) kick.close();
    this.#parts.mapping.close();
    this.#parts.memory.close();
    return holder;
  }
}

/**
 * The version of the registers that the driver is to find.
 *
 * @throws {VhostUserError} for version 2 with a back-end that has no VIRTIO_F_VERSION_1, which version 2 demands
 */
function chooseVersion({ mmioVersion, name }: DeviceSetup, features: bigint): 1 | 2 {
  const isModern = (features & bit(VIRTIO_F_VERSION_1)) !== 0n;
  if (mmioVersion === "auto") return isModern ? 2 : 1;
  if (mmioVersion === 1 || isModern) return mmioVersion;
  throw new VhostUserError(
    "unfit",
    `Cannot use the back-end of ${name} with virtio-mmio version 2: it does not offer ` +
      "VIRTIO_F_VERSION_1 (use --mmio-version 1)",
  );
}

/** What a state's memory is called, before the device's name. */
const STATE_FILE = "viola-state-";

/** Maps what should be a state. @throws {OsError} @throws {TypeError} when it is something else */
function mapState(memory: Fd): Mapping {
  // A node could be mapped as well, and on the AGL driver that changes it.
  const found = readSystemLink(`/proc/self/fd/${memory.number}`);
  if (found.startsWith(`/memfd:${STATE_FILE}`)) return Mapping.create(memory, memory.size());
  throw new TypeError(`the state is ${found}, expected a memory file ${STATE_FILE}…`);
}

/** @throws {RangeError} when the state is not one that this device can go on from */
function openState(
  setup: DeviceSetup,
  mapping: Mapping,
): { state: MainState; queues: readonly QueueClass[] } {
  const { loopback: name, deviceClass, mmioVersion } = setup;
  const state = MainState.open(viewMemory(mapping));
  if (!state.isOf(name)) throw new RangeError("it is the state of another node");
  const found = [state.deviceId, state.queueCount, state.mmioVersion].join(", ");
  // The driver has been told one version, whatever a back-end would offer now.
  const version = mmioVersion === "auto" ? state.mmioVersion : mmioVersion;
  const { deviceFeatures: features, queueCount, config } = state;
  const queues = deviceClass.queues({ features, queueCount, config: config.slice() });
  const expected = [deviceClass.id, queues.length, version].join(", ");
  if (found === expected) return { state, queues };
  throw new RangeError(`device id, queues and version are ${found}, expected ${expected}`);
}

/** @throws {Error} naming what is wrong with what the store held, and what to do about it */
function trusting<T>({ loopback: name, store }: DeviceSetup, look: () => T): T {
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
