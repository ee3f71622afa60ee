// SPDX-License-Identifier: Apache-2.0
/**
 * An embedded device, as its class writes it: the role `device`. What is the same for every class (the socket, the rings,
 * how much is served at once, what becomes of a ring that is malformed) is done by {@linkcode EmbeddedDevice}.
 *
 * @module
 */
import type { Chain } from "../virtio/chain.ts";
import type { DeviceClass } from "../virtio/device_class.ts";
import type { Commands } from "./command.ts";

/** Something a device reports, in words and in data that JSON can hold. */
export interface DeviceEvent {
  /** `listening`, `connected`, `disconnected`, `notice` and `error` are every device's, others are the class's own. */
  readonly kind: string;
  /** In words. */
  readonly text: string;
  /** It comes often, and is for programs: people are not shown it. */
  readonly quiet?: true;
}

/** What any device may report: what went wrong; what is odd and no error, or is waited for. */
export interface CommonEvent extends DeviceEvent {
  readonly kind: "error" | "notice";
}

/**
 * What a class's device and its owner agree on. What crosses is cloned, functions are not.
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
  /** How the device is to be. All of it is optional: a device must work when nothing is said of it. */
  spec: object;
  /** What the device can be asked from outside. */
  // deno-lint-ignore ban-types -- a contract with no calls at all
  calls: {};
  /** What it reports, besides what every device does. */
  event: DeviceEvent;
}

/** What the module of the role exports as `device`. */
export interface DeviceRole<C extends DeviceContract = DeviceContract> {
  /** The class whose role it is. */
  readonly deviceClass: DeviceClass;
  /**
   * Checks what can be checked before the device listens.
   *
   * @throws {SpecError} for what it cannot be, or what it needs and cannot reach
   */
  check(spec: C["spec"]): void;
  /** How long commands may work on after the device's end, in milliseconds; then they are killed. Absent: 0. */
  graceMs?(spec: C["spec"]): number;
  /** Makes a device of a specification that was checked. */
  create(spec: C["spec"], host: DeviceHost<C["event"]>): VirtioDevice<C>;
}

/** A specification that asks for something impossible. */
export class SpecError extends Error {
  /** What it is called. */
  override readonly name = "SpecError";
}

/** Calls as the device answers them, all at once. */
export type DeviceCalls<C extends DeviceContract> = {
  readonly [Name in keyof C["calls"]]: C["calls"][Name];
};

/**
 * One device. All calls come from one loop, none may block. What a call throws ends the queue it is about.
 *
 * @internal
 */
export interface VirtioDevice<C extends DeviceContract = DeviceContract> {
  /** The class's own feature bits that it offers, 0 to 23; those of the rings are offered for it. */
  readonly features?: bigint;
  /** What it can be asked. After each call the device has a turn. */
  readonly calls?: DeviceCalls<C>;
  /** The config space, whole; absent for a class without one. */
  readConfig?(): Uint8Array<ArrayBuffer>;
  /** What the driver wrote, within the config space; absent: it is ignored. */
  writeConfig?(offset: number, bytes: Uint8Array): void;
  /**
   * The driver offered a chain. It is the device's until it gives it back by {@linkcode DeviceHost.complete}, now or later,
   * or is told to {@linkcode stop}. Chains of `event` queues do not come here: they are taken by {@linkcode DeviceHost.take}.
   */
  serve(queue: number, chain: Chain): void;
  /** Does what is due. @param now Nanoseconds */
  tick?(now: number): void;
  /** When something is due next, in nanoseconds of the same clock; Infinity or absent: nothing is. */
  deadline?(): number;
  /**
   * A queue stops. Chains of it are given back now; but not if they are `abandoned`: then they are forgotten, and whoever
   * serves the queue next finds them.
   */
  stop?(queue: number, abandoned: boolean): void;
  /** The driver's life is over: files are closed, nothing is remembered. Every queue was stopped before. */
  reset?(): void;
}

/**
 * What a device is made with.
 *
 * @internal
 */
export interface DeviceHost<Event extends DeviceEvent = DeviceEvent> {
  /** Shell commands that the device may run. */
  readonly commands: Commands;
  /** Nanoseconds that only go forward. */
  now(): number;
  report(event: Event | CommonEvent): void;
  /**
   * Gives a chain back.
   *
   * @param written How many bytes were written to its writable part, from its beginning
   */
  complete(queue: number, chain: Chain, written: number): void;
  /** Gives a chain back that has no room for an answer of so many bytes, and reports that. */
  refuse(queue: number, chain: Chain, expected: number): void;
  /** Has all that a queue offers served before what is served at the moment. Not to be called for that one's own queue. */
  pump(queue: number): void;
  /** Takes one chain of an `event` queue, to be filled and given back. @returns null when there is none */
  take(queue: number): Chain | null;
  /** Something happened that no driver caused: the device has a turn. */
  wake(): void;
  /** {@linkcode VirtioDevice.readConfig} says something else from now on: the driver is interrupted. */
  configChanged(): void;
}
