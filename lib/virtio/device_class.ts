// SPDX-License-Identifier: Apache-2.0
/**
 * A device class (virtio 1.2, §5) as the mechanisms see it: plain data, and the URLs of the modules with its code.
 * No class is named here: they are in `lib/classes/`.
 *
 * @module
 */
import type { FeatureNames } from "./features.ts";

/**
 * When the device returns a queue's buffers, and so whether a silent queue means that the device is stuck:
 *
 * - `request`: each as soon as possible
 * - `stream`: each at its time, by a clock
 * - `event`: each when there is an event to report
 * - `watch`: each when the event that it asks for happens; unlike an `event` buffer, the device must see it before
 */
export type QueueKind = "request" | "stream" | "event" | "watch";

/** One queue of a class. */
export interface QueueClass {
  /** What the standard calls it. */
  readonly name: string;
  /** What its buffers are. */
  readonly kind: QueueKind;
  /** Largest ring the driver may set up, in descriptors; a power of 2. */
  readonly size: number;
}

/** What a back-end reports of itself in the handshake. */
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
   * How the driver's accesses are answered: `cached` from the bridge's copy, with writes sent on later; `forwarded`
   * by the back-end, for classes where a read depends on an earlier write (input's select and subsel).
   */
  readonly access: "cached" | "forwarded";
  /** Whether the driver fails without it. */
  readonly required: boolean;
  /** The config space itself, for a back-end that leaves it to its front-end; absent: it is the back-end's. */
  readonly fixed?: Uint8Array<ArrayBuffer>;
  /** Feature bits that are not passed on from a back-end without a config space; absent: none. */
  readonly features?: bigint;
}

/**
 * URL of the module of a role, which exports the role by its name (`device`, `driver` …).
 *
 * @typeParam Role What it exports
 */
export interface RoleUrl<Role> extends URL {
  /** Never set: it carries the role's type for the compiler. */
  readonly role?: Role;
}

/**
 * The modules with a class's code, by URL. Each is loaded only where that role is used. A role that is
 * absent is one that the class does not have.
 */
export interface Roles {
  /** The embedded device, see `lib/device/role.ts`. Missing: the class is served by foreign back-ends only. */
  readonly device?: RoleUrl<unknown>;
  /** The options of `viola device`, see `lib/device/cli_role.ts`. Missing: the device has no options. */
  readonly cli?: RoleUrl<unknown>;
  /** What a user does with a running device, see `lib/device/command_role.ts`. Missing: nothing. */
  readonly command?: RoleUrl<unknown>;
  /** The software driver, see `lib/guest/role.ts`. Missing: there is none, for tests and demos. */
  readonly driver?: RoleUrl<unknown>;
  /** Replay for a new back-end. Missing: the class's requests leave no state in the device. */
  readonly replay?: RoleUrl<ReplayRole>;
}

/** The arguments of a role's function. */
export type ArgumentsOf<Call> = Call extends (...args: infer Args) => unknown ? Args : never;

/** The result of a role's function. */
export type ResultOf<Call> = Call extends (...args: never) => infer Result ? Result : never;

/** A role by name, as its module exports it. */
export type RoleName = keyof Roles;

/** The roles as error messages name them. */
const ROLE_TEXTS: Readonly<Record<RoleName, string>> = {
  device: "embedded device",
  cli: "command line",
  command: "command",
  driver: "software driver",
  replay: "replay",
};

/**
 * The URL of a class's role.
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
 * @param url The module's
 * @throws {TypeError} when the module exports no such role
 */
export async function loadRole<Role>(url: string, name: RoleName): Promise<Role> {
  const { [name]: role } = await import(url) as Record<string, Role | undefined>;
  if (role !== undefined) return role;
  throw new TypeError(`Cannot use ${url}: it exports no ${name}`);
}

/**
 * Loads a role that says which class it is of.
 *
 * @throws {TypeError} when there is none at the URL, or it is another class's
 */
export async function loadRoleOf<Role extends { readonly deviceClass: DeviceClass }>(
  { role: url, deviceId }: { readonly role: string; readonly deviceId: number },
  name: RoleName,
): Promise<Role> {
  const role = await loadRole<Role>(url, name);
  const { id, name: className } = role.deviceClass;
  if (id === deviceId) return role;
  throw new TypeError(
    `Cannot use ${url}: it is a ${className} ${name} (${id}), expected id ${deviceId}`,
  );
}

/** A device class, as data. */
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
  /** How many queues each one means that a back-end reports, and that one without MQ has. @default 1 */
  readonly queueUnit?: number;
  /** The config space. */
  readonly config: ConfigClass;
  /** The class's own feature bits, 0 to 23. */
  readonly featureNames: FeatureNames;
  /** Feature bits that are not passed on to the driver; see {@linkcode maskedFeatures}. */
  readonly masked: bigint;
  /** Whether Linux's driver fails without VIRTIO_F_VERSION_1, with version 1 of the registers too. */
  readonly needsVersion1?: boolean;
  /** The modules that know more of the class. */
  readonly roles: R;
}

/** The feature bits that are not passed on to the driver. @param configSize Bytes of the device's config space */
export function maskedFeatures({ masked, config }: DeviceClass, configSize: number): bigint {
  return configSize === 0 ? masked | (config.features ?? 0n) : masked;
}

/**
 * Brings a new back-end to the state that the driver left the last one in. That state is set by requests of the class,
 * so the bridge watches the requests of one queue and repeats those that count.
 */
export interface ReplayRole {
  /** The queue whose requests are watched and repeated. */
  readonly queue: number;
  /** Event queues in which the device answers these requests; absent: it answers in their own buffers. */
  readonly answers?: readonly number[];
  /** Bytes that the class's state takes, at most 1056; they are part of the device's state, so that restore keeps them. */
  readonly stateBytes: number;
  /** How many bytes of a request are read. */
  readonly requestBytes: number;
  /** How many bytes of a response are read, and the size of the response buffer of a repeated request. */
  readonly responseBytes: number;
  /** Whether a response of `responseBytes` bytes reports success. */
  isOk(response: DataView): boolean;
  /**
   * Makes the replay of one device.
   *
   * @param area `stateBytes` bytes: zeros, or what an earlier {@linkcode Replay} of this device left there
   */
  create(area: Uint8Array): Replay;
}

/** The requests of one device that a new back-end needs. */
export interface Replay {
  /**
   * Notes a request that succeeded.
   *
   * @param request Its first bytes
   * @param length How many there are, at most `requestBytes`
   */
  observe(request: DataView, length: number): void;
  /**
   * Decides about a request that failed; absent: each failure is passed to the driver. Parameters as for {@linkcode observe}.
   *
   * @returns the first bytes of a response to give the driver instead, if the device is already in the state asked for
   */
  refused?(request: DataView, length: number): Uint8Array | null;
  /**
   * Whether the driver's next life may start with the back-end in its present state, although nothing has reset it; absent:
   * no.
   */
  isClean?(): boolean;
  /** Requests to send before the chains in flight are offered again. */
  before(): Uint8Array<ArrayBuffer>[];
  /** Requests to send after that. */
  after(): Uint8Array<ArrayBuffer>[];
  /**
   * Whether a chain of a `stream` queue is due back by now; the watchdog asks.
   *
   * @param queue The queue it is in
   * @param firstWord The first 4 bytes of its readable part
   */
  isDue(queue: number, firstWord: number): boolean;
}
