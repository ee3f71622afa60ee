// SPDX-License-Identifier: Apache-2.0
/**
 * The back-end side of a device: one vhost-user connection at a time, and its activations, each with its own memory.
 *
 * @module
 */
import {
  type FrontEnd,
  type InflightSlot,
  type RingSetup,
  VhostUserError,
} from "../vhost_user/mod.ts";
import { ActivationMemory } from "./activation_memory.ts";
import type { DeviceSetup } from "./device_setup.ts";
import { MemoryGrant } from "./memory_grant.ts";
import type { PresentedDevice } from "./presented.ts";
import { isClean } from "./replay.ts";
import { type BackEndSide, problemFrom } from "./runner.ts";
import {
  type ConfigWrite,
  type Event,
  type Finding,
  type Offer,
  type Residue,
  withWrites,
} from "./states.ts";
import { Watchdog } from "./watchdog.ts";

/** One activation. */
interface Active {
  readonly memory: ActivationMemory;
  /** The features set at the back-end. */
  readonly features: bigint;
  /** With the first indices that the ring Worker chose. */
  readonly rings: readonly (RingSetup & Pick<ActivationMemory["rings"][number], "slots">)[];
  readonly watchdog: Watchdog;
  /** Where the back-end notes its chains in flight; null where it does not. */
  readonly inflight: InflightSlot | null;
}

/** Options of a {@linkcode VhostUserSide}. */
export interface VhostUserOptions {
  readonly setup: DeviceSetup;
  /** The presented device. */
  presented(): PresentedDevice;
  /** Receives the events of back-ends. */
  dispatch(event: Event): void;
}

/** See the module. */
export class VhostUserSide implements BackEndSide {
  readonly #options: VhostUserOptions;
  readonly #grant = new MemoryGrant();
  readonly #abort = new AbortController();
  #frontEnd: FrontEnd | null = null;
  #active: Active | null = null;
  /** The indices at which this connection's shadow rings were stopped; they start there again. */
  #bases: ReadonlyMap<number, number> = new Map();
  /** The back-end's socket: as it was given, or the one that was found in its place. */
  #socket: string;
  #hasConnected = false;

  constructor(options: VhostUserOptions) {
    this.#options = options;
    this.#socket = options.setup.socket;
  }

  async connect(replyMs: number): Promise<void> {
    const { setup, dispatch } = this.#options;
    const { name, reactor, deviceClass, memory, connect } = setup;
    const waiting = (text: string): void => {
      setup.onEvent({ device: name, kind: "waiting", text, ms: performance.now() });
    };
    this.#bases = new Map();
    this.#frontEnd = await connect(this.#socket, {
      reactor,
      name,
      deviceClass,
      deadlineMs: replyMs,
      signal: this.#abort.signal,
      tracksInflight: memory === "direct",
      onLost: (error) => dispatch({ on: "back-end lost", problem: problemFrom(error) }),
      onConfigChange: () => dispatch({ on: "config changed" }),
      onWaiting: (seconds, { message }) =>
        waiting(`waiting for a back-end for ${seconds} s: ${message}`),
      // Only for the first: a back-end that was there may be gone for a moment, and the other one be another device's.
      onNumbered: this.#hasConnected ? undefined : (path) => {
        waiting(`no socket at ${this.#socket}, using ${path}`);
        this.#socket = path;
      },
    });
    this.#hasConnected = true;
  }

  abort(): void {
    this.#abort.abort();
  }

  get #connection(): FrontEnd {
    if (this.#frontEnd !== null) return this.#frontEnd;
    throw new TypeError(`Cannot ask the back-end of ${this.#options.setup.name}: not connected`);
  }

  async negotiate(): Promise<Offer> {
    return await this.#connection.initialise();
  }

  close(): void {
    this.#frontEnd?.close();
    this.#frontEnd = null;
  }

  /** @throws {OsError} when there is no memory, or no descriptors, for it */
  async attach(epoch: number, features: bigint, flatSize: number): Promise<boolean> {
    const { setup, presented } = this.#options;
    const { lane: device, state, inflight } = presented();
    const memory = new ActivationMemory(device, state, features, this.#bases, flatSize);
    const { patience, lane } = setup;
    const watchdog = new Watchdog(device.queues, state, patience);
    const active = this.#active = { memory, features, rings: [], watchdog, inflight: null };
    const offer = await inflight?.offer(this.#connection, epoch, memory.rings);
    const bases = await lane.attach(memory.describe(setup.id, epoch, offer?.isResumed));
    if (bases === null) return false;
    const rings = memory.rings.map((ring, i) => ({ ...ring, base: bases[i]! }));
    this.#active = { ...active, rings, inflight: offer?.slot ?? null };
    return true;
  }

  /**
   * Starts the shadow rings, which include the control queue that requests are replayed on. The direct rings start later,
   * since the back-end must not see their chains before the replay.
   *
   * @throws {Error} when the driver's memory cannot be shared with another back-end
   */
  async start(): Promise<void> {
    const { setup, presented } = this.#options;
    const { memory, features, rings, inflight } = this.#activation;
    const frontEnd = this.#connection;
    const slots = this.#grant.slots(frontEnd, memory, presented().loopback, setup.memory);
    const shadow = rings.filter(({ slots }) => slots !== null);
    await this.#begin(
      frontEnd.start({ features, memory: slots, rings: shadow, inflight: inflight ?? undefined }),
    );
  }

  /** A back-end that refuses to start may find the notes of the last one malformed: the next one gets none. */
  async #begin(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const isRefused = error instanceof VhostUserError && error.fault === "refused";
      if (isRefused) this.#options.presented().inflight?.drop();
      throw error;
    }
  }

  get #activation(): Active {
    if (this.#active !== null) return this.#active;
    throw new TypeError(`Cannot serve ${this.#options.setup.name}: it is not activated`);
  }

  async replay(): Promise<void> {
    const { id, lane } = this.#options.setup;
    await lane.prepare(id);
  }

  async resume(): Promise<void> {
    const { id, lane } = this.#options.setup;
    const direct = this.#activation.rings.filter(({ slots }) => slots === null);
    await this.#begin(this.#connection.startRings(direct));
    await lane.go(id);
  }

  /** Checks that the back-end makes progress. @throws {VhostUserError} if its socket is silent */
  async look(): Promise<Finding> {
    const { setup: { id, name, lane }, presented } = this.#options;
    const { watchdog } = this.#activation;
    if (!presented().seesMemory) return { kind: "well" };
    const still = await watchdog.look((queue) => lane.isDue(id, queue));
    if (still === null) return { kind: "well" };
    const { index, ms, isStuck } = still;
    const text = `queue ${index} (${watchdog.queues[index]!.name}) has requests in flight, ` +
      `none was given back for ${ms / 1000} s`;
    if (isStuck) return { kind: "stuck", text: `Cannot use the back-end of ${name}: ${text}` };
    await this.#connection.ping();
    return { kind: "slow", text: `${text}; the back-end still answers on its socket, waiting on` };
  }

  async stop(): Promise<void> {
    const bases = await this.#connection.stop();
    this.#bases = new Map(bases.map(({ index, base }) => [index, base]));
  }

  /** @throws {Error} when the ring Worker hangs; the memory is not freed then, as the Worker may still use it */
  async detach(): Promise<void> {
    const { id, lane } = this.#options.setup;
    const active = this.#active;
    this.#active = null;
    await lane.detach(id);
    active?.memory.close();
  }

  async resetDevice(epoch: number): Promise<Residue> {
    if (await this.#connection.resetDevice()) {
      this.#bases = new Map();
      return "reset";
    }
    const { state, lane } = this.#options.presented();
    return await isClean(lane.replay, state.copyReplay(), epoch) ? "clean" : "used";
  }

  /** A back-end for forwarded config is sent the whole of it: some ignore the offset (vhost-device-input 0.1.0). */
  async writeConfig(writes: readonly ConfigWrite[]): Promise<void> {
    const { deviceClass } = this.#options.setup;
    if (deviceClass.config.access === "forwarded") {
      const { config } = this.#connection.profile;
      return await this.#connection.writeConfig(0, withWrites(config, writes));
    }
    for (const { offset, bytes } of writes) await this.#connection.writeConfig(offset, bytes);
  }

  async readConfig(): Promise<Uint8Array> {
    return await this.#connection.readConfig();
  }
}
