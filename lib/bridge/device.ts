// SPDX-License-Identifier: Apache-2.0
/**
 * One device on the main isolate: finds its back-end, presents it to the driver, and keeps the two together through
 * resets of the one and losses of the other.
 *
 * @module
 */
import {
  createMemory,
  EventFd,
  type Fd,
  Mapping,
  type Reactor,
  viewMemory,
} from "../../ffi/mod.ts";
import { adoptLoopback, type Loopback, type openLoopback } from "../loopback/mod.ts";
import type { DeviceClass } from "../virtio/classes.ts";
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../virtio/features.ts";
import {
  DEVICE_COUNTERS,
  DeviceState,
  namedCounters,
  QUEUE_COUNTERS,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
} from "../virtio/state.ts";
import {
  connectWithBackoff,
  FrontEnd,
  type MemorySlot,
  type Profile,
  VhostUserError,
} from "../vhost_user/mod.ts";
import { Change } from "./change.ts";
import { createGate } from "./gate.ts";
import type { Keep } from "./keep.ts";
import type { Lane } from "./lane.ts";
import type { AccessEvent, LaneDevice, MemoryMode, RingEvent } from "./lane_messages.ts";
import { SESSION_GUEST, SessionMemory } from "./session_memory.ts";
import { Watchdog } from "./watchdog.ts";

/** What happened to a device. */
export interface BridgeEvent {
  /** The device's name. */
  device: string;
  /**
   * `adopted`: taken over from a process that served it before; `waiting`: for the back-end's socket; `connected`: it answered; `started`: the loopback device is open and the driver
   * may probe; `running`: driver and back-end are joined; `lost`: the back-end went; `resumed`: another took over;
   * `reset`: the driver reset the device; `error`: something broke a rule.
   */
  kind:
    | "adopted"
    | "waiting"
    | "connected"
    | "started"
    | "running"
    | "lost"
    | "resumed"
    | "reset"
    | "error";
  text: string;
  /** Milliseconds since the process started. */
  ms: number;
}

/** How long back-ends are waited for, in milliseconds. */
export interface BackEndPatience {
  /** For an ordinary reply; those that drain or map may take five times that. */
  readonly replyMs: number;
  /** For a request in flight, before the back-end is given up. */
  readonly requestMs: number;
}

/** See {@linkcode BackEndPatience}. */
export const PATIENCE: BackEndPatience = { replyMs: 2000, requestMs: 5000 };

/** What a device is made of. */
export interface DeviceSetup {
  readonly id: number;
  readonly name: string;
  readonly deviceClass: DeviceClass;
  /** The back-end's socket. */
  readonly socket: string;
  /** The loopback device's name. */
  readonly loopback: string;
  readonly memory: MemoryMode;
  readonly mmioVersion: 1 | 2;
  readonly priority: number;
  /** The largest ring that the driver may set up, instead of the class's. */
  readonly queueSize?: number | undefined;
  readonly openLoopback: typeof openLoopback;
  /** What keeps the device while no viola runs; null: nothing does, it ends with this process. */
  readonly keep: Keep | null;
  readonly patience: BackEndPatience;
  readonly lane: Lane;
  readonly reactor: Reactor;
  readonly onEvent: (event: BridgeEvent) => void;
}

const MAGIC = 0x74726976; // "virt"
const VENDOR = 0x4c4f4956; // "VIOL"

/**
 * The features that a driver is offered, if the back-end has them: the class's own, and those of the ring that viola
 * knows. Bits 26 and 30 are between front-end and back-end; the packed ring and the bits above 32 are not served.
 */
const OFFERED = (bit(24) - 1n) | bit(VIRTIO_F_RING_INDIRECT_DESC) | bit(VIRTIO_F_RING_EVENT_IDX) |
  bit(VIRTIO_F_VERSION_1);

/** Waits between connections that end before they serve: 50 ms, doubled up to 2 s. */
const RETRY_MS = { first: 50, most: 2000 };

/** How long the end waits for a back-end to stop in order. */
const CLOSE_MS = 1000;

/** What the driver is presented with: made with the first back-end, kept until the end. */
interface Presented {
  state: DeviceState;
  mapping: Mapping;
  memory: Fd;
  loopback: Loopback;
  kicks: EventFd[];
  /** As its lane has it. */
  lane: LaneDevice;
}

/** A device that is bridged. */
export class BridgedDevice {
  readonly name: string;
  /** Settles when the device has ended: resolves after {@linkcode close}, rejects when it cannot go on. */
  readonly done: Promise<void>;
  readonly #setup: DeviceSetup;
  readonly #change = new Change();
  readonly #abort = new AbortController();
  #presented: Presented | null = null;
  /** Why the back-end at hand is to be let go. */
  #lost: Error | null = null;
  #retryMs = RETRY_MS.first;
  /** Direct memory: the connection whose back-end has the driver's memory already, and how many had it. */
  #sharedWith: FrontEnd | null = null;
  #livesUsed = 0;
  #failure: Error | null = null;
  /** The back-end at hand knows what it must before it sees the driver's own rings. */
  #prepared = false;
  /** The back-end at hand serves rings: it must be stopped in order. */
  #atWork = false;
  /** A back-end may have the driver's memory in hand now. */
  #joined = false;
  /** The driver waits for the answer to a reset. */
  #held = false;
  /** Settles when the status says that the driver must reset the device. */
  #told: Promise<void> = Promise.resolve();
  /** The driver's present life was joined to a back-end before. */
  #wasRunning = false;
  #configChanged = false;
  /** What the driver wrote and the back-end does not know yet, by offset. */
  readonly #configWrites = new Map<number, Uint8Array>();

  constructor(setup: DeviceSetup) {
    this.name = setup.name;
    this.#setup = setup;
    this.done = this.#supervise().finally(() => this.#free());
    this.done.catch(() => {}); // whoever cares awaits it
  }

  // ---- the back-end's lives ----

  async #supervise(): Promise<void> {
    if (this.#setup.keep !== null) await this.#adopt(this.#setup.keep);
    while (!this.#closing) {
      this.#lost = null;
      try {
        await this.#live();
      } catch (error) {
        if (this.#closing) return;
        if (this.#presented === null && !isTransient(error)) throw error;
        this.#lost ??= error as Error;
      }
      await this.#part();
    }
  }

  /** One back-end, from the first attempt to reach it to the last word. Who ends the device waits only for one at work. */
  async #live(): Promise<void> {
    using frontEnd = await this.#connect();
    if (frontEnd === null || this.#closing) return;
    const { signal } = this.#abort;
    const onAbort = (): void => {
      if (!this.#atWork) frontEnd.close();
    };
    signal.addEventListener("abort", onAbort);
    try {
      await this.#meet(frontEnd);
      await this.#serve(frontEnd);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  get #closing(): boolean {
    return this.#abort.signal.aborted;
  }

  async #connect(): Promise<FrontEnd | null> {
    const { name, socket, reactor, deviceClass, patience } = this.#setup;
    try {
      return await connectWithBackoff(socket, {
        reactor,
        name,
        deviceClass,
        deadlineMs: patience.replyMs,
        signal: this.#abort.signal,
        onLost: (error) => this.#lose(error),
        onConfigChange: () => {
          this.#configChanged = true;
          this.#change.notify();
        },
        onWaiting: (seconds, { message }) =>
          this.#emit("waiting", `waiting for a back-end for ${seconds} s: ${message}`),
      });
    } catch (error) {
      if (this.#closing) return null;
      throw error;
    }
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#change.notify();
  }

  /** Gets to know the back-end; the first one decides what the driver is presented with. */
  async #meet(frontEnd: FrontEnd): Promise<void> {
    const profile = await frontEnd.initialise();
    if (this.#lost !== null) throw this.#lost; // after its last reply: no reason to open anything
    if (this.#presented === null) {
      this.#emit("connected", `${this.#setup.socket} answers`);
      await this.#present(profile);
      this.#emit("started", `${this.#setup.loopback} is open, the driver may probe`);
    } else {
      this.#checkConfig(profile);
      this.#emit("connected", `${this.#setup.socket} answers again`);
    }
    this.#count("connects");
  }

  /** A new back-end's config space may differ from the last one's, but not in size. */
  #checkConfig({ config }: Profile): void {
    const { state } = this.#presented!;
    if (config.length !== state.configSize) {
      const text = `${config.length} bytes of config space, expected ${state.configSize} as before`;
      throw new VhostUserError("unfit", `Cannot use the back-end of ${this.name}: it has ${text}`);
    }
    if (config.some((byte, i) => byte !== state.config[i])) this.#publishConfig(config);
  }

  #publishConfig(config: Uint8Array): void {
    this.#presented!.state.publishConfig(config);
    this.#configInterrupt();
  }

  #configInterrupt(): void {
    this.#setup.lane.configInterrupt(this.#setup.id).catch((error) => this.#fail(error));
  }

  /** After a back-end was lost: says so, and waits before the next if this one did not last. */
  async #part(): Promise<void> {
    if (this.#closing || this.#lost === null) return;
    if (this.#presented !== null) this.#count("losses");
    this.#emit("lost", this.#lost.message);
    await this.#change.until(() => this.#closing, this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.most);
  }

  // ---- the loopback device ----

  /** Makes the device's state, opens the loopback device and lets the driver probe it. */
  async #present({ features, config }: Profile): Promise<void> {
    const { name, deviceClass, mmioVersion, memory: mode, loopback: node } = this.#setup;
    const queueSizes = deviceClass.queues.map(({ size }) => this.#setup.queueSize ?? size);
    const bytes = DeviceState.sizeFor(queueSizes.length, Math.max(...queueSizes));
    using undo = new DisposableStack();
    const memory = undo.use(createMemory(`viola-state-${name}`, bytes));
    const mapping = undo.use(Mapping.create(memory, bytes));
    const loopback = undo.use(await this.#setup.openLoopback(node, mode, this.#setup.reactor));
    const state = DeviceState.create(viewMemory(mapping), {
      deviceId: deviceClass.id,
      vendorId: VENDOR,
      mmioVersion,
      queueSizes,
      deviceFeatures: features & OFFERED,
      config,
    });
    await this.#serveAccesses(undo, { state, mapping, memory, loopback, adopted: false });
    await this.#store();
    const { id: deviceId } = deviceClass;
    try {
      loopback.start({ magic: MAGIC, version: mmioVersion, deviceId, vendor: VENDOR });
    } catch (error) {
      this.#fail(error as Error); // no other back-end will make it start
      throw error;
    }
  }

  /** Gives the device to its lane: from now on accesses are answered. */
  async #serveAccesses(
    undo: DisposableStack,
    parts: Pick<Presented, "state" | "mapping" | "memory" | "loopback"> & { adopted: boolean },
  ): Promise<void> {
    const { id, name, priority, memory: mode, lane } = this.#setup;
    const { state, mapping, loopback, adopted } = parts;
    state.mappings += loopback.mappings;
    const kicks = state.queues.map(() => undo.use(EventFd.create()));
    const laneDevice: LaneDevice = {
      id,
      name,
      priority,
      memory: mode,
      port: loopback.port,
      state: mapping.range,
      gate: createGate(),
      adopted,
      kicks: kicks.map(({ number }) => number),
    };
    await lane.add(laneDevice, {
      access: (event) => this.#onAccess(event),
      ring: (event) => this.#onRing(event),
      failed: (error) => this.#fail(error),
    });
    undo.move();
    this.#presented = { ...parts, kicks, lane: laneDevice };
  }

  // ---- from one process to the next ----

  /** Has the device kept, so that a successor can take it over if this process dies. */
  async #store(): Promise<void> {
    const { keep, loopback: name } = this.#setup;
    if (keep === null) return;
    const { memory, loopback } = this.#presented!;
    try {
      await keep.store(name, [memory.number, ...loopback.kept]);
    } catch (error) {
      this.#emit("error", `Cannot keep ${name} for a successor: ${(error as Error).message}`);
    }
  }

  /**
   * Takes the device over, if a process before this one had it kept: the driver goes on where it stands.
   *
   * @throws {Error} when what was kept cannot be trusted
   */
  async #adopt(keep: Keep): Promise<void> {
    const { loopback: name, memory: mode } = this.#setup;
    const [memory, ...rest] = await keep.take(name);
    if (memory === undefined) return;
    using undo = new DisposableStack();
    for (const fd of [memory, ...rest]) undo.use(fd);
    const mapping = undo.use(Mapping.create(memory, memory.size()));
    const state = this.#trust(mapping);
    const loopback = undo.use(adoptLoopback(name, mode, rest));
    await this.#serveAccesses(undo, { state, mapping, memory, loopback, adopted: true });
    this.#wasRunning = this.#driverOk;
    this.#emit("adopted", `${name} taken over from the process before`);
  }

  /** @throws {Error} naming what is wrong with a state that was kept */
  #trust(mapping: Mapping): DeviceState {
    const { loopback: name, deviceClass, mmioVersion } = this.#setup;
    try {
      const state = DeviceState.open(viewMemory(mapping));
      const found = [state.deviceId, state.queueCount, state.mmioVersion].join(", ");
      const expected = [deviceClass.id, deviceClass.queues.length, mmioVersion].join(", ");
      if (found === expected) return state;
      throw new RangeError(`device id, queues and version are ${found}, expected ${expected}`);
    } catch (cause) {
      throw new Error(
        `Cannot take over ${name}: its kept state cannot be trusted: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  #onAccess(event: AccessEvent): void {
    if (event.kind === "bad access") this.#emit("error", event.text);
    if (event.kind === "reset" && event.held) {
      this.#held = true;
      if (!this.#joined) this.#release().catch((error) => this.#fail(error));
    }
    if (event.kind === "config") this.#noteConfigWrite(event.offset, event.bytes);
    if (event.kind === "reset" && this.#wasRunning) {
      this.#wasRunning = false;
      this.#emit("reset", "reset by the driver");
    }
    if (event.kind === "status" && (event.status & STATUS_DEVICE_NEEDS_RESET) !== 0) {
      this.#configInterrupt(); // virtio 1.2 §2.1.2: the driver is told of a device that needs a reset
    }
    this.#change.notify();
  }

  /** Of each field what was written last, so that a driver that never stops writing fills no memory. */
  #noteConfigWrite(offset: number, bytes: Uint8Array): void {
    this.#configWrites.delete(offset);
    this.#configWrites.set(offset, bytes);
  }

  #onRing(event: RingEvent): void {
    if (event.kind === "prepared") this.#prepared = true;
    else if (event.kind === "live") this.#onLive(event.requeued, event.replayed);
    else if (event.kind === "driver error") this.#needReset(event.text, event.epoch);
    else {
      this.#emit("error", event.text);
      if (event.kind === "back-end error") this.#lose(new Error(event.text));
    }
    this.#change.notify();
  }

  #onLive(requeued: number, replayed: number): void {
    const resumed = this.#wasRunning;
    this.#retryMs = RETRY_MS.first;
    this.#wasRunning = true;
    this.#count("replays", replayed);
    const text = `${requeued} requests in flight offered again, ${replayed} repeated`;
    if (resumed) this.#emit("resumed", `a back-end goes on: ${text}`);
    else this.#emit("running", "the driver and the back-end are joined");
  }

  /** Tells the driver that it must reset the device; its rings are not looked at until it has. */
  #needReset(text: string, epoch: number): void {
    const { id, lane } = this.#setup;
    this.#emit("error", text);
    this.#told = lane.needReset(id, epoch).catch((error) => this.#fail(error));
  }

  /** Cannot go on at all: a Worker failed. */
  #fail(error: Error): void {
    if (this.#closing) return;
    this.#failure ??= error;
    this.#emit("error", error.message);
    this.#abort.abort();
    this.#change.notify();
  }

  // ---- driver and back-end together ----

  /** Joins the driver and this back-end, as often as the driver starts, until the back-end is lost. */
  async #serve(frontEnd: FrontEnd): Promise<void> {
    const { state } = this.#presented!;
    while (true) {
      await this.#while(frontEnd, () => !this.#driverOk);
      if (this.#over) return;
      const epoch = state.epoch;
      if (!await this.#join(frontEnd, epoch)) return;
      if (!await this.#reset(frontEnd)) return;
    }
  }

  get #over(): boolean {
    return this.#lost !== null || this.#closing;
  }

  get #driverOk(): boolean {
    const { status } = this.#presented!.state;
    const dead = STATUS_DEVICE_NEEDS_RESET | STATUS_FAILED;
    return (status & STATUS_DRIVER_OK) !== 0 && (status & dead) === 0;
  }

  /** One start: until the driver resets, or the back-end is lost. @returns whether the back-end is still there */
  async #join(frontEnd: FrontEnd, epoch: number): Promise<boolean> {
    const { id, lane } = this.#setup;
    const { state, lane: device } = this.#presented!;
    let session: SessionMemory | null = null;
    this.#joined = true;
    try {
      session = new SessionMemory(device, state);
      await this.#work(frontEnd, epoch, session);
    } catch (error) {
      // What fails because the driver reset the device meanwhile is nobody's fault; a lost back-end was told already.
      if (state.epoch === epoch) throw error;
    } finally {
      // First: an interrupt that is being raised may wait, by way of the driver, for the answer to its reset.
      this.#joined = false;
      await this.#release();
      await lane.detach(id);
      session?.close(); // not if that failed: the ring Worker may still touch it
      await this.#told;
      if (state.epoch !== epoch) this.#wasRunning = false;
    }
    return !this.#over;
  }

  async #work(frontEnd: FrontEnd, epoch: number, session: SessionMemory): Promise<void> {
    const { id, lane } = this.#setup;
    const features = this.#features(frontEnd.profile);
    const eventIdx = (features & bit(VIRTIO_F_RING_EVENT_IDX)) !== 0n;
    const range = session.memory?.mapping.range;
    const memory = range === undefined ? null : { range, guest: SESSION_GUEST };
    const bases = await lane.attach({ id, epoch, rings: session.rings, memory, eventIdx });
    if (bases === null) return;
    await this.#start(frontEnd, features, session, bases);
    await this.#watch(frontEnd, epoch);
    if (this.#lost === null) await this.#stop(frontEnd);
  }

  /** Waits for the end of a start, and looks for a back-end that does nothing. */
  async #watch(frontEnd: FrontEnd, epoch: number): Promise<void> {
    const { id, lane, deviceClass } = this.#setup;
    const { state, lane: { port } } = this.#presented!;
    const watchdog = new Watchdog(deviceClass, state);
    const look = async (): Promise<void> => {
      const queue = await watchdog.stuck((index) => lane.isDue(id, index));
      if (queue !== null) this.#lose(new Error(this.#stuckText(queue)));
    };
    const isSeen = port.memory.length > 0 || port.chunks !== null;
    this.#atWork = true;
    await this.#while(
      frontEnd,
      () => state.epoch === epoch && this.#driverOk,
      isSeen ? look : undefined,
    ).finally(() => this.#atWork = false);
  }

  /** Answers a reset that was held until the back-end let go of the driver's memory. */
  async #release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    await this.#setup.lane.release(this.#setup.id);
  }

  #stuckText(queue: number): string {
    const row = this.#setup.deviceClass.queues[queue]!;
    return `Cannot go on with the back-end of ${this.name}: queue ${queue} (${row.name}) has requests in flight, ` +
      `none was given back for ${this.#setup.patience.requestMs / 1000} s`;
  }

  /**
   * Starts the relayed rings, over which a new back-end is told what the last one knew; then the others, whose chains it
   * may not see before.
   */
  async #start(
    frontEnd: FrontEnd,
    features: bigint,
    session: SessionMemory,
    bases: number[],
  ): Promise<void> {
    const { id, lane } = this.#setup;
    const rings = session.rings.map((ring, i) => ({ ...ring, base: bases[i]! }));
    const memory = this.#memorySlots(frontEnd, session);
    this.#prepared = false;
    await frontEnd.start({
      features,
      memory,
      rings: rings.filter(({ bounce }) => bounce !== null),
    });
    await lane.prepare(id);
    const { epoch } = this.#presented!.state;
    const settled = (): boolean =>
      this.#prepared || this.#over || this.#presented!.state.epoch !== epoch;
    if (!await this.#change.until(settled, this.#setup.patience.requestMs)) {
      throw new Error(
        `Cannot go on with the back-end of ${this.name}: it does not answer what is repeated to it`,
      );
    }
    if (!this.#prepared) return;
    await frontEnd.startRings(rings.filter(({ bounce }) => bounce === null));
    await lane.go(id);
  }

  /** The memory that a back-end is given; undefined when there is none, or it has it already and may be given it once only. */
  #memorySlots(frontEnd: FrontEnd, { memory }: SessionMemory): MemorySlot[] | undefined {
    const slots: MemorySlot[] = [];
    if (memory !== null) {
      const [size, fd] = [memory.mapping.length, memory.fd.number];
      slots.push({ guest: SESSION_GUEST, user: SESSION_GUEST, size, offset: 0, fd });
    }
    if (this.#setup.memory === "isolated") return memory === null ? undefined : slots;
    const { shares, backEndLives } = this.#presented!.loopback;
    if (backEndLives !== Infinity) {
      if (this.#sharedWith === frontEnd) return undefined;
      this.#spendLife(backEndLives);
      this.#sharedWith = frontEnd;
    }
    slots.push(...shares.map((share) => ({ ...share, user: share.guest })));
    return slots;
  }

  #spendLife(lives: number): void {
    if (this.#livesUsed++ < lives) return;
    throw new Error(
      `Cannot give the driver's memory to another back-end: ${this.#setup.loopback} allows ${lives} with direct ` +
        `memory until the machine is restarted (isolated memory has no such limit)`,
    );
  }

  /**
   * What the back-end is told was accepted. Direct: what the driver accepted. Isolated: the rings are viola's own, so it
   * takes the back-end's offers for those; only indirect tables are mirrored.
   */
  #features({ features }: Profile): bigint {
    const accepted = this.#presented!.state.driverFeatures;
    if (this.#setup.memory === "direct") return accepted;
    const own = bit(VIRTIO_F_RING_EVENT_IDX) | bit(VIRTIO_F_VERSION_1);
    return (accepted & ~own) | (features & own);
  }

  /** Waits while `condition` holds and nothing ended, doing what comes up meanwhile. */
  async #while(
    frontEnd: FrontEnd,
    condition: () => boolean,
    look?: () => Promise<void>,
  ): Promise<void> {
    const busy = (): boolean => this.#configChanged || this.#configWrites.size > 0;
    const ended = (): boolean => this.#over || !condition();
    while (!ended()) {
      const timeout = look && this.#setup.patience.requestMs / Watchdog.LOOKS;
      if (!await this.#change.until(() => ended() || busy(), timeout)) await look!();
      if (busy() && !this.#over) await this.#syncConfig(frontEnd);
    }
  }

  async #syncConfig(frontEnd: FrontEnd): Promise<void> {
    const writes = [...this.#configWrites];
    this.#configWrites.clear();
    for (const [offset, bytes] of writes) await frontEnd.writeConfig(offset, bytes);
    if (!this.#configChanged) return;
    this.#configChanged = false;
    this.#publishConfig(await frontEnd.readConfig());
  }

  async #stop(frontEnd: FrontEnd): Promise<void> {
    if (!this.#closing) {
      await frontEnd.stop();
      return;
    }
    // A successor goes on: what the back-end has is in flight and stays so, as after a crash.
    if (this.#setup.keep !== null) return;
    // On the way out a back-end that does not stop is left behind.
    const timeout = Promise.withResolvers<void>();
    const timer = setTimeout(timeout.resolve, CLOSE_MS);
    const stopped = frontEnd.stop().catch(() => {});
    await Promise.race([stopped, timeout.promise]);
    clearTimeout(timer);
    frontEnd.close();
    await stopped;
  }

  /**
   * Makes a back-end forget the driver's last life: by RESET_DEVICE, else by a new connection, for which daemons begin
   * anew. Where there can be no second back-end, the first must do as it is.
   */
  async #reset(frontEnd: FrontEnd): Promise<boolean> {
    if (await frontEnd.resetDevice()) return true;
    return this.#setup.memory === "direct" && this.#presented!.loopback.backEndLives !== Infinity;
  }

  // ---- reports, and the end ----

  #emit(kind: BridgeEvent["kind"], text: string): void {
    this.#setup.onEvent({ device: this.name, kind, text, ms: performance.now() });
  }

  #count(counter: "connects" | "losses" | "replays", by = 1): void {
    this.#presented!.state.counters[DEVICE_COUNTERS[counter]]! += by;
  }

  /** Counters by name, of the device and of each queue; null before it is presented. */
  counters(): Record<string, unknown> | null {
    if (this.#presented === null) return null;
    const { state } = this.#presented;
    const { queues } = this.#setup.deviceClass;
    return {
      device: this.name,
      status: state.status,
      ...namedCounters(DEVICE_COUNTERS, state.counters),
      queues: state.queues.map((queue, i) => ({
        queue: queues[i]!.name,
        inFlight: queue.headsInFlight().length,
        ...namedCounters(QUEUE_COUNTERS, queue.counters),
      })),
    };
  }

  /** Ends it: the back-end stopped in order, the loopback device closed, everything freed. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#change.notify();
    await this.done.catch(() => {});
  }

  async #free(): Promise<void> {
    const presented = this.#presented;
    if (presented !== null) {
      // A Worker that hangs may still touch what would be unmapped, and ring what would be closed: all of it stays.
      const isFree = await this.#setup.lane.remove(this.#setup.id).then(() => true, () => false);
      this.#presented = null;
      if (isFree) free(presented);
    }
    if (this.#failure !== null) throw this.#failure;
  }
}

function free({ loopback, kicks, mapping, memory }: Presented): void {
  loopback.close();
  for (const kick of kicks) kick.close();
  mapping.close();
  memory.close();
}

/** Whether a failure of a first back-end may be over with the next one: it went, as a process that starts up may. */
function isTransient(error: unknown): boolean {
  return error instanceof VhostUserError && error.fault === "lost";
}
