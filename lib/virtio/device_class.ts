// SPDX-License-Identifier: Apache-2.0
/**
 * What a device class (virtio 1.2, §5) is to those that serve any: plain data, and where the modules lie that know more.
 * No class is named here; `lib/classes/` holds them.
 *
 * @module
 */
import type { FeatureNames } from "./features.ts";

/**
 * How a queue's buffers come back, and so whether silence on it means that the device is stuck:
 *
 * - `request`: each is answered as soon as the device can
 * - `stream`: each takes its time, by a clock
 * - `event`: each waits until there is something to tell
 */
export type QueueKind = "request" | "stream" | "event";

/** One queue of a class. */
export interface QueueClass {
  /** What the standard calls it. */
  readonly name: string;
  /** What is in it. */
  readonly kind: QueueKind;
  /** Largest ring the driver may set up, in descriptors; a power of 2. */
  readonly size: number;
}

/** What a back-end says of itself before it is started. */
export interface BackEndProfile {
  /** Feature bits it offers. */
  readonly features: bigint;
  /** How many queues it has, at least as many as its class needs. */
  readonly queueCount: number;
  /** Its config space; empty if the class has none. */
  readonly config: Uint8Array<ArrayBuffer>;
}

/** The config space of a class. */
export interface ConfigClass {
  /** Bytes that each device of the class has. */
  readonly min: number;
  /** Bytes that a device of the class may have, with all its features. 0: the class has no config space. */
  readonly max: number;
  /**
   * How the driver's accesses are answered: `cached` from the bridge's copy, what is written is sent on later; `forwarded`
   * by the back-end, where what is read depends on what was written before (input's select and subsel).
   */
  readonly access: "cached" | "forwarded";
  /** Whether the driver cannot do without it. */
  readonly required: boolean;
}

/**
 * Where the module of a role lies; it exports the role by the role's name.
 *
 * @typeParam Role What it exports
 */
export interface RoleUrl<Role> extends URL {
  /** Never there: it is for the compiler, which finds the role's type here. */
  readonly role?: Role;
}

/**
 * The modules that know a class, by where they lie; each is loaded by who plays that role, and by nobody else. A role that
 * is missing is one that the class does not have.
 */
export interface Roles {
  /** The embedded device, see `lib/device/role.ts`. Missing: the class is served by foreign back-ends only. */
  readonly device?: RoleUrl<unknown>;
  /** What the device's command line can say, see `lib/device/cli_role.ts`. Missing: the device has no options. */
  readonly cli?: RoleUrl<unknown>;
  /** The software driver, see `lib/guest/role.ts`. Missing: there is none, for tests and demos. */
  readonly driver?: RoleUrl<unknown>;
  /** What a new back-end must be told. Missing: every request of the class stands for itself. */
  readonly replay?: RoleUrl<ReplayRole>;
}

/** What a call of a role is given. */
export type ArgumentsOf<Call> = Call extends (...args: infer Args) => unknown ? Args : never;

/** What it returns. */
export type ResultOf<Call> = Call extends (...args: never) => infer Result ? Result : never;

/** A role by name, as its module exports it. */
export type RoleName = keyof Roles;

/** What a role is, for who misses it. */
const ROLE_TEXTS: Readonly<Record<RoleName, string>> = {
  device: "embedded device",
  cli: "command line",
  driver: "software driver",
  replay: "replay",
};

/**
 * Where a class's role lies.
 *
 * @throws {TypeError} when the class does not have it
 */
export function roleUrl({ name, roles }: DeviceClass, role: RoleName): URL {
  const url = roles[role];
  if (url !== undefined) return url;
  throw new TypeError(`Cannot use viola's own ${name}: the class has no ${ROLE_TEXTS[role]}`);
}

/**
 * Loads a role.
 *
 * @param url Where it lies
 * @throws {TypeError} when the module exports no such role
 */
export async function loadRole<Role>(url: string, name: RoleName): Promise<Role> {
  const { [name]: role } = await import(url) as Record<string, Role | undefined>;
  if (role !== undefined) return role;
  throw new TypeError(`Cannot use ${url}: it exports no ${name}`);
}

/** What a device class is. */
export interface DeviceClass<R extends Roles = Roles> {
  /** Virtio device id. */
  readonly id: number;
  /** As users write it. */
  readonly name: string;
  /** What a device of the class is, in a few words: "a sound card". */
  readonly summary: string;
  /** What the `-d` of AGL's C program calls it. */
  readonly dropInNames: readonly string[];
  /** The queues of a device of this class, in virtqueue order. */
  queues(backEnd: BackEndProfile): readonly QueueClass[];
  /** The config space. */
  readonly config: ConfigClass;
  /** The class's own feature bits, 0 to 23. */
  readonly featureNames: FeatureNames;
  /** Feature bits that are not passed on to the driver. */
  readonly masked: bigint;
  /** The modules that know more of the class. */
  readonly roles: R;
}

/**
 * What a new back-end must be told before it can serve the driver where the last one stopped: a class's state is in its
 * requests, so the bridge watches the requests of one queue and repeats those that count.
 */
export interface ReplayRole {
  /** The queue whose requests are watched and repeated. */
  readonly queue: number;
  /** Bytes that the class's state takes, at most 1056; it lies in the device's state, so that a successor has it too. */
  readonly stateBytes: number;
  /** How much of a request is looked at, in bytes. */
  readonly requestBytes: number;
  /** How much of a response is looked at, and the room that a repeated request has for its own, in bytes. */
  readonly responseBytes: number;
  /** Whether a response of `responseBytes` bytes says that the request was done. */
  isOk(response: DataView): boolean;
  /**
   * Makes one for a device.
   *
   * @param area `stateBytes` bytes: zeros, or what an earlier {@linkcode Replay} of this device left there
   */
  create(area: Uint8Array): Replay;
}

/** One device's memory of its requests. */
export interface Replay {
  /**
   * Notes a request that was done.
   *
   * @param request Its first bytes
   * @param length How many there are, at most `requestBytes`
   */
  observe(request: DataView, length: number): void;
  /**
   * Judges a refusal; absent: the driver is told of each. The parameters are those of {@linkcode observe}.
   *
   * @returns the beginning of the response that the driver is given instead, where the request asks for what is so already
   */
  refused?(request: DataView, length: number): Uint8Array | null;
  /**
   * Whether the driver's next life may begin with the back-end as its last one has left it, though nothing reset it; absent:
   * it may not.
   */
  isClean?(): boolean;
  /** What to send before the chains in flight are offered again. */
  before(): Uint8Array<ArrayBuffer>[];
  /** What to send after that. */
  after(): Uint8Array<ArrayBuffer>[];
  /**
   * Whether a chain that is no request must be given back soon now: asked by the watchdog.
   *
   * @param queue The queue it is in
   * @param firstWord The first 4 bytes of its readable part
   */
  isDue(queue: number, firstWord: number): boolean;
}
