// SPDX-License-Identifier: Apache-2.0
/**
 * The back-end role: what a device of ours is to viola, or to any other front-end. Synchronous, for a Worker that blocks.
 *
 * A front-end is trusted in nothing. What it sends is checked before it is used; the first message that cannot be is
 * answered with a failure, if an answer was asked for, and ends the session.
 *
 * @module
 */
import {
  type Clock,
  EPOLLET,
  EPOLLIN,
  TimerClock,
  UnixListener,
  type Watch,
  type Watches,
} from "../../ffi/mod.ts";
import type { GuestMemory } from "../virtio/memory.ts";
import type { DeviceRing } from "../virtio/split_ring.ts";
import { FrontEndSession } from "./session.ts";

/** A ring that is started and enabled. Valid until {@linkcode BackEndDevice.stopRing}. */
export interface BackEndRing {
  readonly index: number;
  readonly ring: DeviceRing;
  readonly memory: GuestMemory;
  /** Rings the front-end's call eventfd if the driver wants it (`ring.needsInterrupt()`). */
  call(): void;
  /** Gives the ring up after an error found in it: reported, the error eventfd rung, no more kicks. */
  fail(error: Error): void;
  /** Called on each kick; set by the device in {@linkcode BackEndDevice.startRing}. What it throws goes to {@linkcode fail}. */
  onKick: () => void;
}

/** A device, as the server drives it: all calls come from the loop that owns the server, none may block. */
export interface BackEndDevice {
  readonly name: string;
  /** virtio device id. */
  readonly deviceId: number;
  /** virtio features, without bit 30. */
  readonly features: bigint;
  readonly queueCount: number;
  readonly maxQueueSize: number;
  /** The whole config space, empty if there is none. */
  readConfig(): Uint8Array;
  /** Within the config space; absent: writes are ignored. */
  writeConfig?(offset: number, bytes: Uint8Array): void;
  /** The driver's choice of features, told before the first ring starts. */
  featuresAccepted?(features: bigint): void;
  /** Started and enabled: set `onKick` and look at it. */
  startRing(ring: BackEndRing): void;
  /**
   * Forget it: its memory may be gone when this returns. What you hold of it you drain or give back now, but not if it
   * is `abandoned`: the front-end is gone, and whoever serves the ring next takes it up from its used index.
   */
  stopRing(index: number, abandoned: boolean): void;
  /** The front-end went, or asked for a reset: forget all. Every ring was stopped before. */
  disconnected(): void;
}

/** The loop a server lives in: a Worker's {@linkcode Watches}, or a Reactor. */
export type Loop = Pick<Watches, "watch">;

/** What a server reports. */
export interface BackEndEvent {
  kind: "listening" | "connected" | "disconnected" | "notice" | "error";
  text: string;
}

/** When a front-end is met again for whom there was no descriptor, in nanoseconds. */
const RETRY_NS = 2e8;

/** Serves a device at a socket, to one front-end after another; one that comes while another is served waits. */
export class BackEndServer implements Disposable {
  readonly #listener: UnixListener;
  readonly #clock: Clock;
  readonly #owned: Disposable;
  #listening: Watch | null = null;
  #session: FrontEndSession | null = null;
  /** Whether the last front-end could not be met: said once. */
  #failing = false;
  readonly #onEvent: (event: BackEndEvent) => void;

  /**
   * @param watches The loop; whoever runs it dispatches
   * @param clock Ends what a front-end does not go on with; the monotonic clock by default
   * @throws {OsError} EADDRINUSE when another process listens there …
   */
  constructor(
    readonly watches: Loop,
    readonly socketPath: string,
    readonly device: BackEndDevice,
    { onEvent, clock }: {
      onEvent?: (event: BackEndEvent) => void;
      clock?: Clock;
    } = {},
  ) {
    this.#onEvent = onEvent ?? (() => {});
    using made = new DisposableStack();
    this.#listener = made.use(UnixListener.listen(socketPath));
    this.#clock = clock ?? made.use(new TimerClock(watches));
    this.#listen();
    this.#owned = made.move();
    this.#report("listening", `${device.name} listens at ${socketPath}`);
  }

  /** Tells the front-end, if there is one and it listens to that, that the config space changed. */
  configChanged(): void {
    this.#session?.configChanged();
  }

  /** Ends the session, if there is one, and removes the socket; again is no harm. */
  close(): void {
    this.#session?.close();
    this.#session = null;
    this.#listening?.close();
    this.#owned[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Edge-triggered and begun anew, so that it tells of each that comes, and of one that is there already. */
  #listen(): void {
    this.#listening?.close();
    const watcher = (): void => this.#session === null ? this.#accept() : this.#tellWaiting();
    this.#listening = this.watches.watch(this.#listener.number, EPOLLIN | EPOLLET, watcher);
  }

  #tellWaiting(): void {
    const text = `A front-end waits for ${this.device.name}, which serves another: one at a time`;
    this.#report("notice", text);
  }

  #accept(): void {
    try {
      this.#meet();
      this.#failing = false;
    } catch (error) {
      // Out of descriptors, most likely: the next comer would not be told of, so this one is met again.
      if (!this.#failing) this.#report("error", (error as Error).message);
      this.#failing = true;
      this.#clock.onAlarm = () => this.#accept();
      this.#clock.arm(this.#clock.now() + RETRY_NS);
    }
  }

  #meet(): void {
    using met = new DisposableStack();
    const socket = this.#listener.accept();
    if (socket === null) return;
    met.use(socket);
    const report = (error: Error): void => this.#report("error", error.message);
    const onEnd = (): void => this.#ended();
    const { watches, device } = this;
    this.#session = new FrontEndSession(socket, {
      watches,
      device,
      clock: this.#clock,
      report,
      onEnd,
    });
    met.move();
    this.#report("connected", `A front-end is connected to ${this.device.name}`);
    this.#listen();
  }

  #ended(): void {
    this.#session = null;
    this.#report("disconnected", `The front-end of ${this.device.name} is gone`);
    this.#listen();
  }

  #report(kind: BackEndEvent["kind"], text: string): void {
    this.#onEvent({ kind, text });
  }
}
