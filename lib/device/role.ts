// SPDX-License-Identifier: Apache-2.0
/**
 * An embedded device as its class implements it: the role `device`. What is the same for every class (the socket, the rings,
 * how much is served in one turn, malformed rings) is done by {@linkcode EmbeddedDevice}.
 *
 * @module
 */
import type { Chain } from "../virtio/chain.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { Watch } from "../../ffi/mod.ts";
import type { Commands } from "./command.ts";

/** An event that a device reports, as text and as data for JSON. */
export interface DeviceEvent {
  /** `listening`, `connected`, `disconnected`, `notice` and `error` are every device's, others are the class's own. */
  readonly kind: string;
  /** A sentence for people. */
  readonly text: string;
  /** It is frequent and for programs only: not shown to people. */
  readonly quiet?: true;
}

/** Events of every device: `error`, something failed; `notice`, something is odd or the device is waiting. */
export interface CommonEvent extends DeviceEvent {
  readonly kind: "error" | "notice";
}

/**
 * The contract between a class's device and its owner. Values are cloned between the two; functions cannot be.
 *
 * ```ts ignore
 * interface LampContract {
 *   spec: { colour?: string };
 *   calls: { breakBulb(): void };
 *   event: DeviceEvent;
 * }
 * ```
 */
export interface DeviceContract {
  /** The device's options. All of them are optional: a device must work without any. */
  spec: object;
  /** Calls that the owner can make. */
  // deno-lint-ignore ban-types -- a contract with no calls at all
  calls: {};
  /** Events that it reports, besides those of every device. */
  event: DeviceEvent;
}

/** What the module of the role exports as `device`. */
export interface DeviceRole<C extends DeviceContract = DeviceContract> {
  /** The class whose role it is. */
  readonly deviceClass: DeviceClass;
  /**
   * Checks what can be checked before the device listens.
   *
   * @throws {SpecError} for an invalid option, or something that the device needs and cannot reach
   */
  check(spec: C["spec"]): void;
  /** How long commands may take to finish after the device was closed, in milliseconds; then they are killed. Absent: 0. */
  graceMs?(spec: C["spec"]): number;
  /** Makes a device from a specification that was checked. */
  create(spec: C["spec"], host: DeviceHost<C["event"]>): VirtioDevice<C>;
}

/** An invalid specification. */
export class SpecError extends Error {
  /** What it is called. */
  override readonly name = "SpecError";

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is SpecError {
    return error instanceof Error && error.name === "SpecError";
  }
}

/** The device's side of the calls, which return at once. */
export type DeviceCalls<C extends DeviceContract> = {
  readonly [Name in keyof C["calls"]]: C["calls"][Name];
};

/**
 * One device. All calls come from one event loop and must not block; only `close` may wait for threads of the device's own. An error that a call throws stops the queue concerned.
 *
 * @internal
 */
export interface VirtioDevice<C extends DeviceContract = DeviceContract> {
  /** The class's own feature bits that it offers, 0 to 23; those of the rings are offered for it. */
  readonly features?: bigint;
  /** Calls of the owner. After each call the device takes a turn. */
  readonly calls?: DeviceCalls<C>;
  /** The features that the driver accepted; called before its first queue starts. Absent: they make no difference. */
  featuresAccepted?(features: bigint): void;
  /** The config space, whole; absent for a class without one. */
  readConfig?(): Uint8Array<ArrayBuffer>;
  /** A write of the driver, within the config space; absent: writes are ignored. */
  writeConfig?(offset: number, bytes: Uint8Array): void;
  /**
   * The driver offered a chain. The device keeps it until it calls {@linkcode DeviceHost.complete}, now or later,
   * or {@linkcode stop} is called. Chains of `event` queues do not come here: take them by {@linkcode DeviceHost.take}.
   */
  serve(queue: number, chain: Chain): void;
  /** Does what is due. @param now Nanoseconds */
  tick?(now: number): void;
  /** When something is due next, in nanoseconds of the same clock; Infinity or absent: nothing is. */
  deadline?(): number;
  /**
   * A queue is to stop: it brings no more chains. A device whose chains take time says by this when it has completed them; it
   * must complete them by a deadline of its own. Absent: {@linkcode stop} completes them at once.
   *
   * @returns whether all are completed; if not, it is called again after each turn until they are
   */
  drain?(queue: number): boolean;
  /**
   * A queue stops. The device completes its chains now, unless they are `abandoned`: then it forgets them, and the device that
   * serves the queue next is offered them again.
   */
  stop?(queue: number, abandoned: boolean): void;
  /** The driver's life has ended: the device closes files and returns to its initial state. Every queue was stopped before. */
  reset?(): void;
  /** The device ends: it frees what it has held since it was made. Absent: it holds nothing. */
  close?(): void;
}

/**
 * What a device uses to reach its queues, clock and driver.
 *
 * @internal
 */
export interface DeviceHost<Event extends DeviceEvent = DeviceEvent> {
  /** Where the device may have a control socket; null where it may not. */
  readonly controlPath: string | null;
  /** Shell commands that the device may run. */
  readonly commands: Commands;
  /**
   * Watches a descriptor of the device's own, such as a socket or a terminal; after each event the device takes a turn.
   *
   * @param number An open descriptor; close the watch before it
   * @param events EPOLL bits; with EPOLLET `onEvent` must take all there is before it returns
   * @param onEvent Called with the events seen
   * @throws {OsError}
   */
  watch(number: number, events: number, onEvent: (events: number) => void): Watch;
  /** A monotonic clock, in nanoseconds. */
  now(): number;
  report(event: Event | CommonEvent): void;
  /**
   * Returns a chain to the driver.
   *
   * @param written How many bytes were written to its writable part, from its beginning
   */
  complete(queue: number, chain: Chain, written: number): void;
  /** Returns a chain that has no room for a response of `expected` bytes, and reports that. */
  refuse(queue: number, chain: Chain, expected: number): void;
  /** Serves every chain of another queue before the present one. Not to be called for the queue being served. */
  pump(queue: number): void;
  /**
   * Takes one chain of an `event` queue, to be filled and completed.
   *
   * @returns null when there is none: the device takes a turn when the driver offers one
   */
  take(queue: number): Chain | null;
  /** Makes the device take a turn, after an event that no driver caused. */
  wake(): void;
  /** The result of {@linkcode VirtioDevice.readConfig} has changed: the driver gets a config interrupt. */
  configChanged(): void;
}
