// SPDX-License-Identifier: Apache-2.0
/**
 * The back-end side of a device: one vhost-user connection at a time, and its activations, each with its own memory.
 *
 * @module
 */
import {
  type FrontEnd,
  type MemorySlot,
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
  /** The rings in the driver's memory, with the first indices that the ring Worker chose. */
  readonly direct: readonly RingSetup[];
  readonly watchdog: Watchdog;
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
  readonly #bases = new Map<number, number>();
  /** The back-end's socket: as it was given, or the one that was found in its place. */
  #socket: string;
  #hasConnected = false;

  constructor(options: VhostUserOptions) {
    this.#options = options;
    this.#socket = options.setup.socket;
  }

  async connect(replyMs: number): Promise<Offer> {
    const { setup, dispatch } = this.#options;
    const { name, reactor, deviceClass, memory, connect } = setup;
    const waiting = (text: string): void => {
      setup.onEvent({ device: name, kind: "waiting", text, ms: performance.now() });
    };
    const { signal } = this.#abort;
    this.#bases.clear();
    const frontEnd = this.#frontEnd = await connect(this.#socket, {
      reactor,
      name,
      deviceClass,
      deadlineMs: replyMs,
      signal,
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
    try {
      signal.throwIfAborted();
      return await frontEnd.initialise();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  abort(): void {
    this.#abort.abort();
    this.close();
  }

  get #connection(): FrontEnd {
    if (this.#frontEnd !== null) return this.#frontEnd;
    throw new TypeError(`Cannot ask the back-end of ${this.#options.setup.name}: not connected`);
  }

  close(): void {
    this.#frontEnd?.close();
    this.#frontEnd = null;
  }

  /**
   * The direct rings start later, by {@linkcode resume}, since the back-end must not see their chains before the replay.
   *
   * @throws {OsError} when there is no memory, or no descriptors, for it
   * @throws {Error} when the driver's memory cannot be shared with another back-end
   */
  async activate(epoch: number, features: bigint, flatSize: number): Promise<boolean> {
    const { setup: { id, lane, patience }, presented } = this.#options;
    const { lane: device, state, inflight } = presented();
    const memory = new ActivationMemory(device, state, features, this.#bases, flatSize);
    const { queues, arming } = device;
    const watchdog = new Watchdog({ queues, state, arming, rings: memory.rings }, patience);
    const active = this.#active = { memory, direct: [], watchdog };
    const noted = await inflight?.offer(this.#connection, epoch, memory.rings);
    const activation = memory.describe(id, epoch, noted?.isResumed);
    const bases = await lane.rings.call("attach", activation);
    if (bases === null) return false;
    const rings = memory.rings.map((ring, i) => ({ ...ring, base: bases[i]! }));
    const direct = rings.filter(({ slots }) => slots === null);
    this.#active = { ...active, direct };
    if (direct.length > 0) await lane.access.call("route", id, kicksOf(direct));
    const shadow = rings.filter(({ slots }) => slots !== null);
    const inflightSlot = noted?.slot ?? undefined;
    const slots = this.#memoryFor(memory);
    await this.#begin(
      this.#connection.start({ features, memory: slots, rings: shadow, inflight: inflightSlot }),
    );
    await lane.rings.call("replay", id);
    return true;
  }

  /** The memory that the back-end is given; undefined when it has all of it. */
  #memoryFor(memory: ActivationMemory): MemorySlot[] | undefined {
    const { setup, presented } = this.#options;
    const own = memory.slots;
    if (setup.memory === "isolated") return own.length === 0 ? undefined : own;
    return this.#grant.slots(this.#connection, own, presented().loopback);
  }

  /** A back-end that refuses to start may find the notes of the last one malformed: the next one gets none. */
  async #begin(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const isRefused = VhostUserError.is(error) && error.fault === "refused";
      if (isRefused) this.#options.presented().inflight?.drop();
      throw error;
    }
  }

  get #activation(): Active {
    if (this.#active !== null) return this.#active;
    throw new TypeError(`Cannot serve ${this.#options.setup.name}: it is not activated`);
  }

  async resume(): Promise<void> {
    const { id, lane } = this.#options.setup;
    await this.#begin(this.#connection.startRings(this.#activation.direct));
    await lane.rings.call("resume", id);
  }

  /** Checks that the back-end makes progress. @throws {VhostUserError} if its socket is silent */
  async check(): Promise<Finding> {
    const { setup: { id, name, lane }, presented } = this.#options;
    const { watchdog } = this.#activation;
    const { seesMemory, lane: { queues } } = presented();
    if (!seesMemory) return { kind: "idle" };
    const still = await watchdog.check(() => lane.rings.call("progress", id));
    if (still === "idle") return { kind: "idle" };
    if (still === null) return { kind: "well" };
    const { index, ms, isStuck } = still;
    const text = `queue ${index} (${queues[index]!.name}) has requests in flight, ` +
      `none was given back for ${ms / 1000} s`;
    if (isStuck) return { kind: "stuck", text: `Cannot use the back-end of ${name}: ${text}` };
    await this.#connection.ping();
    return { kind: "slow", text: `${text}; the back-end still answers on its socket, waiting on` };
  }

  async stop(): Promise<void> {
    for (const { index, base } of await this.#connection.stop()) this.#bases.set(index, base);
  }

  /** @throws {Error} when a Worker hangs; the memory is not freed then, as the Worker may still use it */
  async detach(): Promise<void> {
    const { id, lane: { rings, access } } = this.#options.setup;
    const active = this.#active;
    this.#active = null;
    if (!rings.failed) await rings.call("detach", id);
    if (active === null) return;
    if (active.direct.length > 0 && !access.failed) await access.call("route", id, []);
    active.memory.close();
  }

  async resetDevice(epoch: number): Promise<Residue> {
    if (await this.#connection.resetDevice()) {
      this.#bases.clear();
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

/** The eventfds that direct rings are kicked by, by queue. */
function kicksOf(rings: readonly RingSetup[]): number[] {
  const kicks: number[] = [];
  for (const { index, kick } of rings) kicks[index] = kick;
  return kicks;
}
