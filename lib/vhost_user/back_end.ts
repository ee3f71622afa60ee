// SPDX-License-Identifier: Apache-2.0
/**
 * The back-end role, which viola's embedded devices have towards any front-end. Synchronous, for a Worker that blocks.
 *
 * A front-end is not trusted. What it sends is checked before it is used; the first malformed message is answered with a
 * failure, if an answer was asked for, and ends the session.
 *
 * @module
 */
import {
  type Clock,
  EPOLLET,
  EPOLLIN,
  PeerSignal,
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
  /** Signals the front-end's call eventfd; call it if the driver wants an interrupt (`ring.needsInterrupt()`). */
  call(): void;
  /** Stops serving the ring after an error in it: reports the error, signals the error eventfd, ignores further kicks. */
  fail(error: Error): void;
  /** Call it when {@linkcode BackEndDevice.drainRing} has become true. */
  drained(): void;
  /** Called on each kick; set by the device in {@linkcode BackEndDevice.startRing}. An error that it throws is passed to {@linkcode fail}. */
  onKick: () => void;
}

/** A device, as the server calls it: all calls come from the event loop that owns the server and must not block. */
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
  /** The features that the driver accepted; called before the first ring starts. */
  featuresAccepted?(features: bigint): void;
  /** A ring is started and enabled: the device sets `onKick` and looks for chains. */
  startRing(ring: BackEndRing): void;
  /**
   * The ring is to stop: the device takes no more chains from it. Absent: {@linkcode stopRing} completes them at once.
   *
   * @returns whether all that it took are completed. If not, the device calls {@linkcode BackEndRing.drained} when they are,
   * which has a deadline of the device's; until then the front-end's further messages wait
   */
  drainRing?(index: number): boolean;
  /**
   * The ring stops: its memory may be unmapped when this returns. The device completes its chains now, unless the ring is
   * `abandoned`: then the front-end has disconnected, and the next back-end starts at the ring's used index.
   */
  stopRing(index: number, abandoned: boolean): void;
  /** The front-end disconnected, or asked for a reset: the device returns to its initial state. Every ring was stopped before. */
  disconnected(): void;
}

/** The event loop of a server: a Worker's {@linkcode Watches}, or a Reactor. */
export type Loop = Pick<Watches, "watch">;

/** An event of a server. */
export interface BackEndEvent {
  kind: "listening" | "connected" | "disconnected" | "notice" | "error";
  text: string;
}

/** How long to wait before accepting again when this process is out of descriptors, in nanoseconds. */
const RETRY_NS = 2e8;

/** Serves a device at a socket to one front-end after another; a second front-end waits until the first is done. */
export class BackEndServer implements Disposable {
  readonly #listener: UnixListener;
  readonly #clock: Clock;
  readonly #signal: PeerSignal;
  readonly #owned: Disposable;
  #listening: Watch | null = null;
  #session: FrontEndSession | null = null;
  /** Whether the last accept failed: reported once. */
  #failing = false;
  readonly #onEvent: (event: BackEndEvent) => void;

  /**
   * @param watches The event loop, run by the caller
   * @param clock For the deadlines of incomplete messages; the monotonic clock by default
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
    this.#listener = made.use(UnixListener.at(socketPath));
    this.#clock = clock ?? made.use(new TimerClock(watches));
    this.#signal = made.use(PeerSignal.create());
    this.#listen();
    this.#owned = made.move();
    this.#report("listening", `${device.name} listens at ${socketPath}`);
  }

  /** Notifies the front-end of a change of the config space, if there is one that has negotiated that. */
  configChanged(): void {
    this.#session?.configChanged();
  }

  /** Ends the session, if there is one, and removes the socket. Calling it again does nothing. */
  close(): void {
    this.#session?.close();
    this.#session = null;
    this.#listening?.close();
    this.#owned[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Edge-triggered and set up anew, so that each new connection is reported, and one that is pending already. */
  #listen(): void {
    this.#listening?.close();
    const watcher = (): void => this.#session === null ? this.#accept() : this.#reportWaiting();
    this.#listening = this.watches.watch(this.#listener.number, EPOLLIN | EPOLLET, watcher);
  }

  #reportWaiting(): void {
    const text = `A front-end waits for ${this.device.name}, which serves another: one at a time`;
    this.#report("notice", text);
  }

  #accept(): void {
    try {
      this.#startSession();
      this.#failing = false;
    } catch (error) {
      // Most likely out of descriptors. Nothing would report the pending connection again, so a timer does.
      if (!this.#failing) this.#report("error", (error as Error).message);
      this.#failing = true;
      this.#clock.onAlarm = () => this.#accept();
      this.#clock.arm(this.#clock.now() + RETRY_NS);
    }
  }

  #startSession(): void {
    using undo = new DisposableStack();
    const socket = this.#listener.accept();
    if (socket === null) return;
    undo.use(socket);
    const report = (error: Error): void => this.#report("error", error.message);
    const onEnd = (): void => this.#ended();
    const { watches, device } = this;
    this.#session = new FrontEndSession(socket, {
      watches,
      device,
      clock: this.#clock,
      signal: this.#signal,
      report,
      notice: (text) => this.#report("notice", text),
      onEnd,
    });
    undo.move();
    this.#report("connected", `A front-end is connected to ${this.device.name}`);
    this.#listen();
  }

  #ended(): void {
    this.#session = null;
    this.#report("disconnected", `The front-end of ${this.device.name} has disconnected`);
    this.#listen();
  }

  #report(kind: BackEndEvent["kind"], text: string): void {
    this.#onEvent({ kind, text });
  }
}
