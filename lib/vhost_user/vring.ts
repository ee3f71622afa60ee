// SPDX-License-Identifier: Apache-2.0
/**
 * A ring of a back-end: what the front-end said of it, and whether it runs.
 *
 * A ring runs while it is started (it has a kick eventfd) and enabled. Each time it begins to run the device gets a new
 * {@linkcode BackEndRing}; when it stops, that one is dead.
 *
 * @module
 */
import {
  EPOLLET,
  EPOLLIN,
  type Fd,
  readSystemLink,
  setNonblocking,
  signalEvent,
  type Watch,
} from "../../ffi/mod.ts";
import type { GuestMemory } from "../virtio/memory.ts";
import { DeviceRing, type RingLayout, type RingOptions } from "../virtio/split_ring.ts";
import type { BackEndDevice, BackEndRing, Loop } from "./back_end.ts";
import { VhostUserError } from "./errors.ts";

/** The three eventfds of a ring. */
export type VringEvent = "kick" | "call" | "error";

const NOBODY = -1;

/** What the device holds while its ring runs. */
class LiveRing implements BackEndRing {
  onKick: () => void = () => {};
  /** The eventfd to ring, {@linkcode NOBODY} for none. */
  callNumber: number = NOBODY;
  failed = false;

  constructor(
    readonly ring: DeviceRing,
    readonly memory: GuestMemory,
    readonly onFail: (error: Error) => void,
  ) {}

  get index(): number {
    return this.ring.index;
  }

  call(): void {
    if (this.ring.needsInterrupt() && this.callNumber !== NOBODY) signalEvent(this.callNumber);
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
  /** What to report when the device gave a ring up. */
  reportFailure(error: Error): void;
}

/** One ring of a connection. */
export class Vring {
  size = 0;
  /** The next available index; while it runs, where it began to run. */
  base = 0;
  layout: Pick<RingLayout, "desc" | "avail" | "used"> | null = null;
  enabled = false;
  #events: Record<VringEvent, Fd | null> = { kick: null, call: null, error: null };
  #live: LiveRing | null = null;
  #watch: Watch | null = null;

  constructor(readonly index: number, readonly host: VringHost) {}

  /** Whether the device has it. */
  get running(): boolean {
    return this.#live !== null;
  }

  /** Whether the front-end started it: whether there is a kick eventfd. */
  get started(): boolean {
    return this.#events.kick !== null;
  }

  /**
   * Takes an eventfd over, or puts an end to the one there is.
   *
   * @throws {VhostUserError} when it is no eventfd
   */
  setEvent(which: VringEvent, fd: Fd | null): void {
    if (fd !== null) checkEventFd(fd, `${which} descriptor of queue ${this.index}`);
    if (which === "kick") this.#unwatch();
    this.#events[which]?.close();
    this.#events[which] = fd;
    if (which === "kick") this.#watchKick();
    if (which === "call") this.#callAnew();
  }

  /**
   * Runs if it is started and enabled.
   *
   * @throws {RingError} when memory, layout or base cannot be
   */
  run(memory: GuestMemory, options: RingOptions): void {
    if (this.running || !this.started || !this.enabled || this.layout === null) return;
    const layout = { index: this.index, size: this.size, ...this.layout };
    const ring = new DeviceRing(memory, layout, options, { nextAvail: this.base });
    this.#live = new LiveRing(ring, memory, (error) => this.#fail(error));
    this.#live.callNumber = this.#events.call?.number ?? NOBODY;
    this.#watchKick();
    this.#attempt((live) => this.host.device.startRing(live));
  }

  /**
   * Stops if it runs. The kick eventfd stays, so that it is still started.
   *
   * @param abandoned Its front-end is gone
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
    live.callNumber = NOBODY;
    this.base = live.ring.nextAvail;
    this.#live = null;
  }

  /** Stops, and forgets the eventfds. */
  close(abandoned = false): void {
    this.stop(abandoned);
    for (const which of ["kick", "call", "error"] as const) {
      this.#events[which]?.close();
      this.#events[which] = null;
    }
  }

  /** Edge-triggered: each kick is an edge, so the eventfd need never be read. */
  #watchKick(): void {
    const { kick } = this.#events;
    if (kick === null || this.#live === null || this.#live.failed) return;
    this.#watch = this.host.watches.watch(
      kick.number,
      EPOLLIN | EPOLLET,
      () => this.#attempt((live) => live.onKick()),
    );
  }

  #unwatch(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  /** What was completed before went to the old eventfd, where it may have been lost. */
  #callAnew(): void {
    if (this.#live === null) return;
    this.#live.callNumber = this.#events.call?.number ?? NOBODY;
    if (this.#live.callNumber !== NOBODY) signalEvent(this.#live.callNumber);
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
    if (this.#events.error !== null) signalEvent(this.#events.error.number);
    this.host.reportFailure(error);
  }
}

/**
 * Refuses what is no eventfd: ringing a pipe or a socket could wait for its reader for ever. An eventfd can be filled up,
 * so ringing it must not wait either.
 */
function checkEventFd(fd: Fd, what: string): void {
  const kind = readSystemLink(`/proc/self/fd/${fd.number}`);
  if (kind !== "anon_inode:[eventfd]") {
    throw new VhostUserError(
      "protocol",
      `Cannot use the ${what}: it is ${kind}, expected an eventfd`,
    );
  }
  setNonblocking(fd);
}
