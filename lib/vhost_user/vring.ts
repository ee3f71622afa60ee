// SPDX-License-Identifier: Apache-2.0
/**
 * A ring of a back-end: its settings from the front-end, and whether it runs.
 *
 * A ring runs while it is started (it has a kick eventfd) and enabled. Each time it starts to run the device gets a new
 * {@linkcode BackEndRing}, which must not be used after the ring stops.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  type Fd,
  monotonicNs,
  type PeerSignal,
  readSystemLink,
  TimerFd,
  type Watch,
} from "../../ffi/mod.ts";
import type { GuestMemory } from "../virtio/memory.ts";
import {
  DeviceRing,
  type DeviceRingStart,
  type RingLayout,
  type RingOptions,
} from "../virtio/split_ring.ts";
import type { BackEndDevice, BackEndRing, Loop } from "./back_end.ts";
import { VhostUserError } from "./errors.ts";

/** The three eventfds of a ring. */
export type VringEvent = "kick" | "call" | "error";

/** There is no call eventfd. */
const NONE = -1;

/** Between two looks at a ring that is polled, in nanoseconds. */
const POLL_NS = 1e6;

/** A running ring, as the device uses it. */
class LiveRing implements BackEndRing {
  onKick: () => void = () => {};
  /** The call eventfd to signal, {@linkcode NONE} for none. */
  callNumber: number = NONE;
  failed = false;

  constructor(
    readonly ring: DeviceRing,
    readonly memory: GuestMemory,
    readonly signal: PeerSignal,
    readonly drained: () => void,
    readonly onFail: (error: Error) => void,
  ) {}

  get index(): number {
    return this.ring.index;
  }

  call(): void {
    if (this.ring.needsInterrupt() && this.callNumber !== NONE) {
      this.signal.signal(this.callNumber);
    }
  }

  fail(error: Error): void {
    if (this.failed) return;
    this.failed = true;
    this.onFail(error);
  }
}

/** What a {@linkcode Vring} needs of its connection. */
export interface VringHost {
  readonly watches: Loop;
  readonly device: BackEndDevice;
  /** Signals eventfds that the front-end holds too. */
  readonly signal: PeerSignal;
  /** Called when the device has failed on a ring. */
  reportFailure(error: Error): void;
  /** Called when the device has completed the chains of a ring that is drained. */
  onDrained(): void;
}

/** One ring of a connection. */
export class Vring {
  size = 0;
  /** The next available index; while the ring runs, the one it started with. */
  base = 0;
  layout: Pick<RingLayout, "desc" | "avail" | "used"> | null = null;
  enabled = false;
  #events: Record<VringEvent, Fd | null> = { kick: null, call: null, error: null };
  #live: LiveRing | null = null;
  #watch: Watch | null = null;

  constructor(readonly index: number, readonly host: VringHost) {}

  /** Whether the device serves the ring. */
  get running(): boolean {
    return this.#live !== null;
  }

  /** Whether the front-end started the ring: it has a kick eventfd, or is polled. */
  get started(): boolean {
    return this.#events.kick !== null;
  }

  /** Starts the ring without a kick eventfd: its available ring is looked at each millisecond. @throws {OsError} */
  poll(): void {
    this.#setKick(TimerFd.create());
  }

  #setKick(fd: Fd | null): void {
    this.#unwatch();
    this.#events.kick?.close();
    this.#events.kick = fd;
    this.#watchKick();
  }

  /**
   * Replaces an eventfd and takes ownership of the new one; null only closes the old one.
   *
   * @throws {VhostUserError} when the descriptor is not an eventfd
   */
  setEvent(which: VringEvent, fd: Fd | null): void {
    if (fd !== null) checkEventFd(fd, `${which} descriptor of queue ${this.index}`);
    if (which === "kick") return this.#setKick(fd);
    this.#events[which]?.close();
    this.#events[which] = fd;
    if (which === "call") this.#callAnew();
  }

  /**
   * Starts to run if the ring is started and enabled.
   *
   * @param openLog Opens the log of chains in flight, if the front-end keeps one; it decides where the ring starts
   * @throws {RingError} when memory, layout or base is invalid
   * @throws {VhostUserError} when the log is malformed
   */
  run(memory: GuestMemory, options: RingOptions, openLog?: DeviceRingStart["openLog"]): void {
    if (this.running || !this.started || !this.enabled || this.layout === null) return;
    const layout = { index: this.index, size: this.size, ...this.layout };
    const ring = new DeviceRing(memory, layout, options, { nextAvail: this.base, openLog });
    const { signal, onDrained } = this.host;
    this.#live = new LiveRing(ring, memory, signal, onDrained, (error) => this.#fail(error));
    this.#live.callNumber = this.#events.call?.number ?? NONE;
    this.#watchKick();
    this.#attempt((live) => this.host.device.startRing(live));
  }

  /** Has the device complete its chains. @returns whether it has; else {@linkcode VringHost.onDrained} is called when it has */
  drain(): boolean {
    if (this.#live === null || this.#live.failed) return true;
    return this.host.device.drainRing?.(this.index) ?? true;
  }

  /**
   * Stops running. The kick eventfd stays, so the ring remains started.
   *
   * @param abandoned The front-end has disconnected
   */
  stop(abandoned = false): void {
    const live = this.#live;
    if (live === null) return;
    this.#unwatch();
    try {
      this.host.device.stopRing(this.index, abandoned);
    } catch (error) {
      this.host.reportFailure(error as Error);
    }
    live.callNumber = NONE;
    this.base = live.ring.nextAvail;
    this.#live = null;
  }

  /** Stops running, and closes the eventfds. */
  close(abandoned = false): void {
    this.stop(abandoned);
    for (const which of ["kick", "call", "error"] as const) {
      this.#events[which]?.close();
      this.#events[which] = null;
    }
  }

  /** Edge-triggered: each kick is an edge, so the eventfd never needs to be read, nor does the timer of a polled ring. */
  #watchKick(): void {
    const { kick } = this.#events;
    if (kick === null || this.#live === null || this.#live.failed) return;
    const arm = (): void => {
      if (kick instanceof TimerFd) kick.set(monotonicNs() + POLL_NS);
    };
    this.#watch = this.host.watches.watch(kick.number, EPOLLIN | EPOLLET, () => {
      arm();
      this.#attempt((live) => live.onKick());
    });
    arm();
  }

  #unwatch(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  /** Switches to the new call eventfd and signals it, since a signal on the old one may have been lost. */
  #callAnew(): void {
    if (this.#live === null) return;
    this.#live.callNumber = this.#events.call?.number ?? NONE;
    if (this.#live.callNumber !== NONE) this.host.signal.signal(this.#live.callNumber);
  }

  #attempt(action: (live: LiveRing) => void): void {
    const live = this.#live!;
    try {
      action(live);
    } catch (error) {
      live.fail(error as Error);
    }
  }

  #fail(error: Error): void {
    this.#unwatch();
    if (this.#events.error !== null) this.host.signal.signal(this.#events.error.number);
    this.host.reportFailure(error);
  }
}

/** Refuses what is no eventfd. Its flags belong to the front-end too, which may block in a read of it: they are left alone. */
function checkEventFd(fd: Fd, what: string): void {
  const kind = readSystemLink(`/proc/self/fd/${fd.number}`);
  if (kind !== "anon_inode:[eventfd]") {
    throw new VhostUserError(
      "protocol",
      `Cannot use the ${what}: it is ${kind}, expected an eventfd`,
    );
  }
}
