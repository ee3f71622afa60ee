// SPDX-License-Identifier: Apache-2.0
/**
 * One device on the main isolate: finds its back-end, presents it to the driver, and keeps the two together through
 * resets of the one and losses of the other.
 *
 * | back-end | driver | what is done |
 * | --- | --- | --- |
 * | absent | not yet presented | connecting; the first back-end decides what the driver is presented with |
 * | absent | presented | connecting; accesses are answered, what the driver offers waits |
 * | there | before DRIVER_OK, or after a fault of its own | waiting for the driver |
 * | there | DRIVER_OK | a {@linkcode Join}, until the driver resets or the back-end is lost |
 *
 * @module
 */
import { MAX_MAPPINGS } from "../loopback/mod.ts";
import {
  DEVICE_COUNTERS,
  MAIN_COUNTERS,
  namedCounters,
  QUEUE_COUNTERS,
  STATUS_DEVICE_NEEDS_RESET,
} from "../virtio/state.ts";
import { probeFault } from "../virtio/registers.ts";
import {
  connectWithBackoff,
  type FrontEnd,
  type Profile,
  VhostUserError,
} from "../vhost_user/mod.ts";
import { Change } from "./change.ts";
import type { BridgeEvent, DeviceSetup } from "./device_setup.ts";
import { Join, type JoinHost } from "./join.ts";
import type { LaneListener } from "./lane.ts";
import type { AccessEvent, RingEvent } from "./lane_messages.ts";
import { MemoryGrant } from "./memory_grant.ts";
import { PresentedDevice, VENDOR } from "./presented.ts";
import { Rebind } from "./rebind.ts";
import { Watchdog } from "./watchdog.ts";

/** Waits between connections that end before they serve: 50 ms, doubled up to 2 s. */
const RETRY_MS = { first: 50, most: 2000 };
/** How long a driver that is ready waits at most for its rings to be served. */
const DRIVER_OK_MS = 2000;
/** How long a driver that was told of the device may take for its first access. */
const FIRST_ACCESS_MS = 200;

/** A device that is bridged. */
export class BridgedDevice {
  readonly name: string;
  /** Settles when the device has ended: resolves after {@linkcode close}, rejects when it cannot go on. */
  readonly done: Promise<void>;
  readonly #setup: DeviceSetup;
  readonly #change = new Change();
  readonly #abort = new AbortController();
  readonly #grant = new MemoryGrant();
  #presented: PresentedDevice | null = null;
  /** Binds Linux's driver again; null for a software node, whose driver is no kernel's. */
  readonly #rebind: Rebind | null;
  /** The start that runs. */
  #join: Join | null = null;
  /** Why the back-end at hand is to be let go. */
  #lost: Error | null = null;
  /** Why the device cannot go on at all. */
  #failure: Error | null = null;
  #retryMs = RETRY_MS.first;
  #lastLoss = "";
  #sameLosses = 0;
  /** What the driver waits for the answer to: a reset, or DRIVER_OK. */
  #held: "reset" | "ready" | null = null;
  #heldTimer: ReturnType<typeof setTimeout> | undefined;
  /** Settles when the status says that the driver must reset the device. */
  #told: Promise<void> = Promise.resolve();
  /** The driver's present life was joined to a back-end before. */
  #wasRunning = false;
  #configChanged = false;
  /** What the driver wrote and the back-end does not know yet, by offset. */
  readonly #configWrites = new Map<number, Uint8Array>();
  readonly #listener: LaneListener = {
    access: (event) => this.#onAccess(event),
    ring: (event) => this.#onRing(event),
    failed: (error) => this.#fail(error),
  };

  constructor(setup: DeviceSetup) {
    this.name = setup.name;
    this.#setup = setup;
    this.#rebind = setup.loopback.startsWith("/dev/") ? this.#makeRebind() : null;
    this.done = this.#supervise().finally(() => this.#free());
    this.done.catch(() => {}); // whoever cares awaits it
  }

  #makeRebind(): Rebind {
    const { loopback: node, deviceClass, reactor } = this.#setup;
    return new Rebind({
      node,
      deviceId: deviceClass.id,
      vendorId: VENDOR,
      reactor,
      canProbe: () => this.#presented !== null && probeFault(this.#presented.state) === null,
      tell: (text) => this.#emit("error", text),
    });
  }

  // ---- the back-end's lives ----

  async #supervise(): Promise<void> {
    if (this.#setup.store !== null) await this.#restore();
    if (this.#presented === null) this.#setup.loopbacks.checkUnopened(this.#setup.loopback);
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
      if (this.#join?.atWork !== true) frontEnd.close();
    };
    signal.addEventListener("abort", onAbort);
    try {
      await this.#meet(frontEnd);
      await this.#serve(frontEnd);
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (this.#rebind !== null) this.#rebind.isBackEndThere = false;
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
    this.#assertWanted();
    if (this.#presented === null) {
      this.#emit("connected", `${this.#setup.socket} answers`);
      // The store process must run before a node is open, so that none is opened in vain; it starts beside the lanes.
      await Promise.all([this.#prepareStore(), this.#setup.lane.ready]);
      this.#assertWanted();
      await this.#present(profile);
      this.#emit("started", `${this.#setup.loopback} is open, the driver may probe`);
      this.#rebind?.started();
    } else {
      this.#checkConfig(profile);
      this.#emit("connected", `${this.#setup.socket} answers again`);
    }
    this.#count("connects");
    if (this.#rebind !== null) this.#rebind.isBackEndThere = true;
  }

  /** @throws {Error} when nothing could hold the loopback device: then it is not opened */
  async #prepareStore(): Promise<void> {
    const { store, loopback } = this.#setup;
    try {
      await store?.prepare();
    } catch (cause) {
      const { message } = cause as Error;
      throw new Error(
        `Cannot open ${loopback}: there is nothing to hold it when viola ends: ${message} (--no-keep does without)`,
        { cause },
      );
    }
  }

  /** @throws {Error} when the back-end is lost, or the device is to end: then there is no reason to open anything */
  #assertWanted(): void {
    if (this.#lost !== null) throw this.#lost;
    this.#abort.signal.throwIfAborted();
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

  // ---- the driver's side ----

  /** Presents the device to the driver. @throws {Error} and if the driver cannot be told, no other back-end will do */
  async #present(profile: Profile): Promise<void> {
    const presented = await PresentedDevice.create(this.#setup, profile, this.#listener);
    this.#presented = presented;
    try {
      presented.start();
    } catch (error) {
      this.#fail(error as Error);
      throw error;
    }
  }

  /** Restores the device, if a process before this one had it held. @throws {Error} if that cannot be trusted */
  async #restore(): Promise<void> {
    this.#presented = await PresentedDevice.restore(this.#setup, this.#listener);
    if (this.#presented === null || this.#closing) return;
    // The process before may have died just before START_LOOPBACK, or just after: then the driver makes itself known.
    const { counters, started } = this.#presented.state;
    const isProbed = (): boolean => counters[DEVICE_COUNTERS.accesses]! > 0;
    if (!started && !await this.#change.until(isProbed, FIRST_ACCESS_MS)) this.#presented.start();
    this.#presented.state.setStarted();
    this.#wasRunning = this.#presented.driverOk;
    const { mappings } = this.#presented.state;
    const used = mappings === 0 ? "" : `, ${mappings} of its ${MAX_MAPPINGS} mappings used`;
    this.#emit("restored", `${this.#setup.loopback} restored from the descriptor store${used}`);
  }

  /** After a back-end was lost: says so, and waits before the next if this one did not last. */
  async #part(): Promise<void> {
    if (this.#closing || this.#lost === null) return;
    if (this.#presented !== null) this.#count("losses");
    this.#tellLoss(this.#lost.message);
    await this.#change.until(() => this.#closing, this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.most);
  }

  #onAccess(event: AccessEvent): void {
    if (event.kind === "bad access") this.#emit("error", event.text);
    if (event.kind === "reset" && event.held) this.#holdReset();
    if (event.kind === "status" && event.held) this.#holdReady();
    if (event.kind === "reset") this.#rebind?.statusChanged(0);
    if (event.kind === "status") this.#rebind?.statusChanged(event.status);
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
    if (event.kind === "prepared") this.#join?.tellPrepared();
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
    this.#lastLoss = "";
    this.#wasRunning = true;
    this.#count("replays", replayed);
    this.#join?.tellLive();
    this.#answer("ready");
    const text = `${requeued} requests in flight offered again, ${replayed} repeated`;
    if (resumed) this.#emit("resumed", `a back-end goes on: ${text}`);
    else this.#emit("running", "the driver and the back-end are joined");
  }

  /** Tells the driver that it must reset the device; its rings are not looked at until it has. */
  #needReset(text: string, epoch: number): void {
    const { id, lane } = this.#setup;
    this.#emit("error", text);
    this.#told = lane.needReset(id, epoch).catch((error) => this.#fail(error));
    this.#answer("ready");
  }

  /** Cannot go on at all: a Worker failed. */
  #fail(error: Error): void {
    if (this.#closing) return;
    this.#failure ??= error;
    this.#emit("error", error.message);
    this.#abort.abort();
    this.#change.notify();
  }

  /** A loss for the same reason again and again is told the 1st, the 10th, the 100th time. */
  #tellLoss(text: string): void {
    this.#sameLosses = text === this.#lastLoss ? this.#sameLosses + 1 : 1;
    this.#lastLoss = text;
    if (!Number.isInteger(Math.log10(this.#sameLosses))) return;
    const times = this.#sameLosses === 1 ? "" : ` (for the ${this.#sameLosses}th time)`;
    this.#emit("lost", text + times);
  }

  // ---- driver and back-end together ----

  /** Joins the driver and this back-end, as often as the driver starts, until the back-end is lost. */
  async #serve(frontEnd: FrontEnd): Promise<void> {
    const device = this.#presented!;
    while (true) {
      await this.#during(frontEnd, () => !device.driverOk);
      if (this.#over) return;
      await this.#joinOnce(frontEnd, device);
      if (this.#over || !await this.#reset(frontEnd)) return;
    }
  }

  async #joinOnce(frontEnd: FrontEnd, device: PresentedDevice): Promise<void> {
    const host: JoinHost = {
      setup: this.#setup,
      device,
      frontEnd,
      grant: this.#grant,
      isLost: () => this.#lost !== null,
      isClosing: () => this.#closing,
      lose: (error) => this.#lose(error),
      until: (condition, timeoutMs) => this.#change.until(condition, timeoutMs),
      during: (condition, look) => this.#during(frontEnd, condition, look),
      release: () => {
        this.#join = null; // from here on a reset need not wait
        return this.#release("reset");
      },
      told: () => this.#told,
    };
    const join = this.#join = new Join(host);
    await join.run();
    if (device.state.epoch !== join.epoch) this.#wasRunning = false;
  }

  get #over(): boolean {
    return this.#lost !== null || this.#closing;
  }

  /** A reset is answered when the back-end has let go of the driver's memory. */
  #holdReset(): void {
    clearTimeout(this.#heldTimer);
    this.#held = "reset";
    if (this.#join === null) this.#answer("reset");
    else this.#join.cutShort();
  }

  /** DRIVER_OK is answered when the back-end serves the rings; a driver that finds none is left to its own time limits. */
  #holdReady(): void {
    this.#held = "ready";
    this.#heldTimer = setTimeout(() => this.#answer("ready"), DRIVER_OK_MS);
  }

  #answer(held: "reset" | "ready"): void {
    this.#release(held).catch((error) => this.#fail(error));
  }

  /** Answers what is held, if it is this. */
  async #release(held: "reset" | "ready"): Promise<void> {
    if (this.#held !== held) return;
    this.#held = null;
    clearTimeout(this.#heldTimer);
    await this.#setup.lane.release(this.#setup.id);
  }

  /** Waits while `condition` holds and nothing ended, doing what comes up meanwhile. */
  async #during(
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

  #count(counter: keyof typeof MAIN_COUNTERS, by = 1): void {
    this.#presented!.state.count(MAIN_COUNTERS[counter], by);
  }

  /** Counters by name, of the device and of each queue; null before it is presented. */
  counters(): Record<string, unknown> | null {
    if (this.#presented === null) return null;
    const { state, lane } = this.#presented;
    return {
      device: this.name,
      status: state.status,
      ...namedCounters(DEVICE_COUNTERS, state.counters),
      queues: state.queues.map((queue, i) => ({
        queue: lane.queues[i]!.name,
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
    this.#rebind?.close();
    if (presented !== null) {
      // Who restores the device finds it unanswered, and holds it in its turn.
      if (this.#setup.store === null) await this.#release("ready");
      clearTimeout(this.#heldTimer);
      this.#tellKept(await presented.close());
      this.#presented = null;
    } else await this.#setup.store?.release(this.#setup.loopback);
    if (this.#failure !== null) throw this.#failure;
  }

  /** The user would not guess that the loopback device stays open. */
  #tellKept(holder: string | null): void {
    const { store, loopback } = this.#setup;
    if (holder === null) return;
    const next = `start viola with it again to go on (${store!.howToRemove(loopback)})`;
    this.#emit("kept", `${loopback} stays open, held by ${holder}: ${next}`);
  }
}

/**
 * Whether a failure of a first back-end may be over with the next attempt: it went, or did not answer, as a process that
 * starts up, is busy with another front-end or stands still for a while may.
 */
function isTransient(error: unknown): boolean {
  return error instanceof VhostUserError && (error.fault === "lost" || error.fault === "late");
}
