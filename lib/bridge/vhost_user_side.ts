// SPDX-License-Identifier: Apache-2.0
/**
 * The back-ends of a device, one after the other: a vhost-user connection to each, and its activations, each of which has
 * memory of its own.
 *
 * @module
 */
import type { BackEndProfile } from "../virtio/device_class.ts";
import type { FrontEnd, RingSetup } from "../vhost_user/mod.ts";
import { ActivationMemory } from "./activation_memory.ts";
import type { DeviceSetup } from "./device_setup.ts";
import type { RingEvent } from "./lane_messages.ts";
import { MemoryGrant } from "./memory_grant.ts";
import type { PresentedDevice } from "./presented.ts";
import { isClean } from "./replay.ts";
import { type BackEndSide, problemFrom } from "./runner.ts";
import type { ConfigWrite, Event, Finding, Slate } from "./states.ts";
import { Watchdog } from "./watchdog.ts";

/** One activation. */
interface Active {
  readonly memory: ActivationMemory;
  /** What the back-end is told was accepted. */
  readonly features: bigint;
  /** As the ring Worker says where they begin. */
  readonly rings: readonly (RingSetup & Pick<ActivationMemory["rings"][number], "slots">)[];
  readonly watchdog: Watchdog;
}

/** What a {@linkcode VhostUserSide} needs to know. */
export interface VhostUserOptions {
  readonly setup: DeviceSetup;
  /** The device as it is presented. */
  presented(): PresentedDevice;
  /** Told of what back-ends and the ring Worker do by themselves. */
  tell(event: Event): void;
}

/** See the module. */
export class VhostUserSide implements BackEndSide {
  readonly #options: VhostUserOptions;
  readonly #grant = new MemoryGrant();
  readonly #abort = new AbortController();
  #frontEnd: FrontEnd | null = null;
  #active: Active | null = null;
  /** Where this connection's shadow rings were stopped: there it goes on. */
  #bases: ReadonlyMap<number, number> = new Map();

  constructor(options: VhostUserOptions) {
    this.#options = options;
  }

  async connect(replyMs: number): Promise<void> {
    const { setup: { name, socket, reactor, deviceClass, connect, onEvent }, tell } = this.#options;
    this.#bases = new Map();
    this.#frontEnd = await connect(socket, {
      reactor,
      name,
      deviceClass,
      deadlineMs: replyMs,
      signal: this.#abort.signal,
      onLost: (error) => tell({ on: "back-end lost", problem: problemFrom(error) }),
      onConfigChange: () => tell({ on: "config changed" }),
      onWaiting: (seconds, { message }) =>
        onEvent({
          device: name,
          kind: "waiting",
          text: `waiting for a back-end for ${seconds} s: ${message}`,
          ms: performance.now(),
        }),
    });
  }

  abort(): void {
    this.#abort.abort();
  }

  get #connection(): FrontEnd {
    if (this.#frontEnd !== null) return this.#frontEnd;
    throw new TypeError(`Cannot ask the back-end of ${this.#options.setup.name}: not connected`);
  }

  async negotiate(): Promise<BackEndProfile> {
    return await this.#connection.initialise();
  }

  close(): void {
    this.#frontEnd?.close();
    this.#frontEnd = null;
  }

  /** @throws {OsError} when there is no memory, or no descriptors, for it */
  async attach(epoch: number, features: bigint): Promise<boolean> {
    const { setup, presented } = this.#options;
    const { lane: device, state } = presented();
    const memory = new ActivationMemory(device, state, features, this.#bases);
    const { patience, lane } = setup;
    const watchdog = new Watchdog(device.queues, state, patience);
    this.#active = { memory, features, rings: [], watchdog };
    const bases = await lane.attach(memory.describe(setup.id, epoch));
    if (bases === null) return false;
    const rings = memory.rings.map((ring, i) => ({ ...ring, base: bases[i]! }));
    this.#active = { ...this.#active, rings };
    return true;
  }

  /**
   * The shadow rings, over which a new back-end is told what the last one knew. The others come later: it may not see
   * their chains before.
   *
   * @throws {Error} when no more back-end can be given the driver's memory
   */
  async start(): Promise<void> {
    const { setup, presented } = this.#options;
    const { memory, features, rings } = this.#activation;
    const frontEnd = this.#connection;
    const slots = this.#grant.slots(frontEnd, memory, presented().loopback, setup.memory);
    const shadow = rings.filter(({ slots }) => slots !== null);
    await frontEnd.start({ features, memory: slots, rings: shadow });
  }

  get #activation(): Active {
    if (this.#active !== null) return this.#active;
    throw new TypeError(`Cannot serve ${this.#options.setup.name}: it is not activated`);
  }

  async replay(): Promise<void> {
    const { id, lane } = this.#options.setup;
    await lane.prepare(id);
  }

  async startRings(): Promise<void> {
    const direct = this.#activation.rings.filter(({ slots }) => slots === null);
    await this.#connection.startRings(direct);
  }

  async resume(): Promise<void> {
    const { id, lane } = this.#options.setup;
    await lane.go(id);
  }

  /** What the ring Worker reports of this device. */
  onRing(event: RingEvent): void {
    const { tell } = this.#options;
    switch (event.kind) {
      case "prepared":
        return tell({ on: "replayed" });
      case "live":
        return tell({ on: "live", requeued: event.requeued, replayed: event.replayed });
      case "driver error":
        return tell({ on: "driver error", text: event.text, epoch: event.epoch });
      case "back-end error":
        return tell({ on: "back-end error", problem: problemFrom(new Error(event.text)) });
      case "replay refused":
        return tell({ on: "replay refused", text: event.text });
    }
  }

  /** Looks for a back-end that does nothing, or makes its lane wait. @throws {VhostUserError} if its socket is silent */
  async look(): Promise<Finding> {
    const { setup: { id, name, lane }, presented } = this.#options;
    const { memory, watchdog } = this.#activation;
    const cannot = `Cannot use the back-end of ${name}`;
    if (!await lane.answers() && memory.relieve()) {
      return { kind: "stuck", text: `${cannot}: it makes its lane wait` };
    }
    if (!presented().seesMemory) return { kind: "well" };
    const still = await watchdog.look((queue) => lane.isDue(id, queue));
    if (still === null) return { kind: "well" };
    const { index, ms, isStuck } = still;
    const text = `queue ${index} (${watchdog.queues[index]!.name}) has requests in flight, ` +
      `none was given back for ${ms / 1000} s`;
    if (isStuck) return { kind: "stuck", text: `${cannot}: ${text}` };
    await this.#connection.ping();
    return { kind: "slow", text: `${text}; the back-end answers otherwise, so it is waited for` };
  }

  async stop(): Promise<void> {
    const bases = await this.#connection.stop();
    this.#bases = new Map(bases.map(({ index, base }) => [index, base]));
  }

  /** @throws {Error} when the ring Worker hangs: it may still touch the memory, which stays */
  async detach(): Promise<void> {
    const { id, lane } = this.#options.setup;
    const active = this.#active;
    this.#active = null;
    await lane.detach(id);
    active?.memory.close();
  }

  async resetDevice(epoch: number): Promise<Slate> {
    if (await this.#connection.resetDevice()) {
      this.#bases = new Map();
      return "reset";
    }
    const { state, lane } = this.#options.presented();
    return await isClean(lane.replay, state.copyReplay(), epoch) ? "clean" : "used";
  }

  async writeConfig(writes: readonly ConfigWrite[]): Promise<void> {
    for (const { offset, bytes } of writes) await this.#connection.writeConfig(offset, bytes);
  }

  async readConfig(): Promise<Uint8Array> {
    return await this.#connection.readConfig();
  }
}
