// SPDX-License-Identifier: Apache-2.0
/**
 * One start: a driver that said DRIVER_OK and a back-end, from the set-up of its rings until one of them ends it.
 *
 * @module
 */
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import type { FrontEnd } from "../vhost_user/mod.ts";
import type { DeviceSetup } from "./device_setup.ts";
import type { MemoryGrant } from "./memory_grant.ts";
import type { PresentedDevice } from "./presented.ts";
import { ActivationMemory } from "./activation_memory.ts";
import { Watchdog } from "./watchdog.ts";

/** How long the end waits for a back-end to stop in order. */
const CLOSE_MS = 1000;

/** What a start needs of the device that it belongs to. */
export interface JoinHost {
  readonly setup: DeviceSetup;
  readonly device: PresentedDevice;
  readonly frontEnd: FrontEnd;
  readonly grant: MemoryGrant;
  /** The back-end is lost. */
  isLost(): boolean;
  /** The device is ending. */
  isClosing(): boolean;
  /** Gives the back-end up. */
  lose(error: Error): void;
  /** Waits until `condition` holds. @returns whether it does */
  until(condition: () => boolean, timeoutMs: number): Promise<boolean>;
  /** Waits while `condition` holds and nothing ended, doing what comes up, and `look` now and then. */
  during(condition: () => boolean, look?: () => Promise<void>): Promise<void>;
  /** Answers a reset for which the driver is held. */
  release(): Promise<void>;
  /** Settles when the driver was told of all errors of its own. */
  told(): Promise<void>;
}

/** See the module. */
export class Join {
  /** The life of the driver that it belongs to. */
  readonly epoch: number;
  /** The back-end knows what it must before it sees the driver's own rings. */
  #prepared = false;
  #live = false;
  /** The back-end serves rings: it must be stopped in order. */
  atWork = false;

  constructor(readonly host: JoinHost) {
    this.epoch = host.device.state.epoch;
  }

  /** The ring Worker says that the back-end is prepared. */
  tellPrepared(): void {
    this.#prepared = true;
  }

  /** The driver does not wait for a back-end that has not begun to serve. */
  cutShort(): void {
    if (!this.#live) this.host.frontEnd.close();
  }

  /** The ring Worker says that the rings are served. */
  tellLive(): void {
    this.#live = true;
  }

  /** Whether the driver is still in the life that this start is of. */
  get #isCurrent(): boolean {
    return this.host.device.state.epoch === this.epoch;
  }

  /** Runs until the driver resets, or the back-end is lost. @throws {Error} why the two cannot be joined */
  async run(): Promise<void> {
    const { setup: { id, lane }, device, release, told } = this.host;
    let activation: ActivationMemory | null = null;
    try {
      const features = this.#features();
      activation = new ActivationMemory(device.lane, device.state, features);
      await this.#work(activation, features);
    } catch (error) {
      // What fails because the driver reset the device meanwhile is nobody's fault; a lost back-end was told already.
      if (this.#isCurrent) throw error;
    } finally {
      // First: an interrupt that is being raised may wait, by way of the driver, for the answer to its reset.
      await release();
      await lane.detach(id);
      activation?.close(); // not if that failed: the ring Worker may still touch it
      await told();
    }
  }

  async #work(activation: ActivationMemory, features: bigint): Promise<void> {
    const { setup: { id, lane }, isLost } = this.host;
    const bases = await lane.attach(activation.describe(id, this.epoch));
    if (bases === null) return;
    await this.#start(activation, features, bases);
    await this.#watch(activation);
    if (!isLost()) await this.#stop();
  }

  /**
   * What the back-end is told was accepted. Direct: what the driver accepted. Isolated: the rings are viola's own, so it
   * takes the back-end's offers for those, whatever the driver knows.
   */
  #features(): bigint {
    const { setup, device, frontEnd } = this.host;
    const accepted = device.state.driverFeatures;
    if (setup.memory === "direct") return accepted;
    const own = bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) |
      bit(VIRTIO_F_VERSION_1);
    return (accepted & ~own) | (frontEnd.profile.features & own);
  }

  /**
   * Starts the shadow rings, over which a new back-end is told what the last one knew; then the others, whose chains it
   * may not see before.
   */
  async #start(activation: ActivationMemory, features: bigint, bases: number[]): Promise<void> {
    const { setup, device, frontEnd, grant, isLost, isClosing, until } = this.host;
    const { id, lane, memory: mode, name, patience } = setup;
    const rings = activation.rings.map((ring, i) => ({ ...ring, base: bases[i]! }));
    const memory = grant.slots(frontEnd, activation, device.loopback, mode);
    const shadow = rings.filter(({ slots }) => slots !== null);
    await frontEnd.start({ features, memory, rings: shadow });
    await lane.prepare(id);
    const settled = (): boolean => this.#prepared || isLost() || isClosing() || !this.#isCurrent;
    if (!await until(settled, patience.requestMs)) {
      throw new Error(
        `Cannot go on with the back-end of ${name}: it does not answer what is repeated to it`,
      );
    }
    if (!this.#prepared) return;
    await frontEnd.startRings(rings.filter(({ slots }) => slots === null));
    await lane.go(id);
  }

  /** Waits for the end, and looks for a back-end that does nothing, or holds the lane up. */
  async #watch(activation: ActivationMemory): Promise<void> {
    const { setup, device, lose, during } = this.host;
    const { id, lane } = setup;
    const watchdog = new Watchdog(device.lane.queues, device.state);
    const look = async (): Promise<void> => {
      if (!await lane.answers() && activation.relieve()) {
        return lose(
          new Error(`Cannot go on with the back-end of ${setup.name}: it holds its lane up`),
        );
      }
      if (!device.seesMemory) return;
      const queue = await watchdog.stuck((index) => lane.isDue(id, index));
      if (queue !== null) lose(new Error(this.#stuckText(queue)));
    };
    this.atWork = true;
    try {
      await during(() => this.#isCurrent && device.driverOk, look);
    } finally {
      this.atWork = false;
    }
  }

  #stuckText(queue: number): string {
    const { name, patience } = this.host.setup;
    const { name: queueName } = this.host.device.lane.queues[queue]!;
    return `Cannot go on with the back-end of ${name}: queue ${queue} (${queueName}) has requests in flight, ` +
      `none was given back for ${patience.requestMs / 1000} s`;
  }

  async #stop(): Promise<void> {
    const { setup, frontEnd, isClosing } = this.host;
    if (!isClosing()) {
      await frontEnd.stop();
      return;
    }
    // A successor goes on: what the back-end has is in flight and stays so, as after a crash.
    if (setup.store !== null) return;
    // On the way out a back-end that does not stop is left behind.
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, CLOSE_MS);
    const stopped = frontEnd.stop().catch(() => {});
    await Promise.race([stopped, timeout.promise]);
    clearTimeout(timer);
    frontEnd.close();
    await stopped;
  }
}
