// SPDX-License-Identifier: Apache-2.0
/**
 * A whole chain in one process, part by part: nodes with drivers on one side, sockets with back-ends on the other, the
 * bridge between them.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import {
  Bridge,
  type BridgedDevice,
  type BridgeDeviceOptions,
  type BridgeEvent,
  type BridgeOptions,
} from "../../../lib/bridge/mod.ts";
import {
  type DeviceEvent,
  type DeviceSpec as ClassSpec,
  type RunningDevice,
  startDevice,
} from "../../../lib/device/mod.ts";
import { type Guest, type GuestOptions, startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { can, console, gpio, i2c, input, net, rng, sound } from "../../../lib/classes/mod.ts";
import type { DeviceClass } from "../../../lib/virtio/device_class.ts";
import { HostileGuest } from "../../guest/hostile.ts";
import { socketsIn } from "../../support/leaks.ts";
import { TempFolder, until } from "../../support/process.ts";

/** Tests wait for events, however many there were before. */
const UNLIMITED = { burst: Infinity, perSecond: 1 };

/** Both memory modes and both versions of the registers: what most tests are run with. */
export const MODES = (["isolated", "direct"] as const).flatMap((memory) =>
  ([1, 2] as const).map((mmioVersion) => ({ memory, mmioVersion }))
);

/** Each mode of memory and each version once: for what the two have nothing to do with each other in. */
export const DIAGONAL = MODES.filter(({ memory, mmioVersion }) =>
  (memory === "isolated") === (mmioVersion === 2)
);

/** A device of the bridge, said as shortly as can be; see {@linkcode BridgeDeviceOptions}. */
export type Added =
  & { readonly class: keyof typeof CLASSES }
  & Partial<Omit<BridgeDeviceOptions, "class">>;

/** A device of viola's, said as shortly. */
export type DeviceSpec = {
  [Name in keyof typeof CLASSES]: { class: Name } & ClassSpec<typeof CLASSES[Name]>;
}[keyof typeof CLASSES];

const CLASSES = { can, console, gpio, i2c, input, net, rng, sound };

/** A back-end's device, and what it reported. */
export interface ToldDevice extends RunningDevice {
  readonly events: DeviceEvent[];
}

/** See the module. Disposing of it ends the drivers, the bridge, the back-ends, and the nodes, in this order; no socket may be left. */
export class WholeChain implements AsyncDisposable {
  /** What the bridge reported. */
  readonly events: BridgeEvent[] = [];
  readonly #guests = new AsyncDisposableStack();
  readonly #others = new AsyncDisposableStack();
  readonly #devices: RunningDevice[] = [];
  #bridge: Bridge | null = null;

  private constructor(readonly folder: TempFolder, readonly reactor: Reactor) {
    this.#others.use(folder);
    this.#others.defer(() => assertEquals(socketsIn(folder.path), []));
    this.#others.use(reactor);
  }

  /** Starts a bridge without devices. */
  static async create(options: Partial<BridgeOptions> = {}): Promise<WholeChain> {
    const chain = new WholeChain(await TempFolder.create(), new Reactor());
    const onEvent = (event: BridgeEvent): void => void chain.events.push(event);
    chain.#bridge = await Bridge.start({ ...options, onEvent, eventRate: UNLIMITED });
    return chain;
  }

  get bridge(): Bridge {
    return this.#bridge!;
  }

  /** A path in the chain's folder. */
  file(name: string): string {
    return this.folder.file(name);
  }

  /** Has something disposed of after the bridge. */
  use<T extends Disposable | AsyncDisposable>(part: T): T {
    return this.#others.use(part);
  }

  /** Has something disposed of before the bridge: what is on the driver's side. */
  useGuest<T extends AsyncDisposable>(guest: T): T {
    return this.#guests.use(guest);
  }

  /** The name of the loopback device whose node listens in the folder by that name. */
  loopback(name: string): string {
    return `soft:${this.file(name)}`;
  }

  /** A node that listens in the folder by that name. */
  node(name: string): SoftNode {
    const node = this.use(new SoftNode(16 * 2 ** 20));
    node.listen(this.file(name), this.reactor);
    return node;
  }

  /** A device of viola's in a thread of its own. */
  async device(spec: DeviceSpec): Promise<ToldDevice> {
    const events: DeviceEvent[] = [];
    const { class: name, ...rest } = spec;
    const deviceClass: DeviceClass = CLASSES[name];
    const device = this.use(
      await startDevice(deviceClass, rest, { onEvent: (event) => events.push(event) }),
    );
    this.#devices.push(device);
    return Object.assign(device, { events });
  }

  /** Ends all devices that {@linkcode device} started, as their processes would end. */
  async endDevices(): Promise<void> {
    for (const device of this.#devices.splice(0)) await device.close();
  }

  /** Has the bridge take up a device whose node is called "node" and whose socket is called "socket", unless told. */
  add({ class: name, ...options }: Added): BridgedDevice {
    return this.bridge.add({
      class: CLASSES[name],
      socket: this.file("socket"),
      loopback: this.loopback("node"),
      memory: "isolated",
      mmioVersion: 1,
      priority: 0,
      lane: "lane",
      ...options,
    });
  }

  /** A sound driver at a node. */
  async soundGuest(
    node: Pick<SoftNode, "wires">,
    options?: GuestOptions,
  ): Promise<Guest<typeof sound>> {
    return this.useGuest(await startGuest(sound, node.wires, options));
  }

  /** An entropy driver at a node. */
  async entropyGuest(
    node: Pick<SoftNode, "wires">,
    options?: GuestOptions,
  ): Promise<Guest<typeof rng>> {
    return this.useGuest(await startGuest(rng, node.wires, options));
  }

  /** A driver that lies, at a node. */
  async hostileGuest(node: SoftNode): Promise<HostileGuest> {
    return this.useGuest(await HostileGuest.start(node.wires));
  }

  /**
   * Waits for an event of a kind.
   *
   * @param since How many events there were before it could come
   * @param device Of this device; of any when absent
   */
  async event(kind: BridgeEvent["kind"], since = 0, device?: string): Promise<BridgeEvent> {
    const find = (): BridgeEvent | undefined =>
      this.events.slice(since).find((event) =>
        event.kind === kind && (device === undefined || event.device === device)
      );
    await this.#until(() => find() !== undefined, `"${kind}"`, since);
    return find()!;
  }

  /** Waits until something is in the {@linkcode report}. */
  said(what: string | RegExp, since = 0): Promise<void> {
    return this.#until(() => this.report(since).search(what) >= 0, `${what}`, since);
  }

  async #until(isSo: () => boolean, what: string, since: number): Promise<void> {
    try {
      await until(isSo, `${what} of the bridge`);
    } catch (error) {
      throw new Error(`${(error as Error).message}; it reported:\n${this.report(since)}`);
    }
  }

  /** What the bridge reported, a line each. */
  report(since = 0): string {
    return this.events.slice(since).map(({ device, kind, text }) => `${device} ${kind}: ${text}`)
      .join("\n");
  }

  /** What the bridge counted of its only device. */
  counters(): Counters {
    return this.bridge.counters()[0] as Counters;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guests.disposeAsync();
    await this.#bridge?.close();
    await this.#others.disposeAsync();
  }
}

/** Some of a device's counters. */
export interface Counters {
  device: string;
  status: number;
  accesses: number;
  resets: number;
  interrupts: number;
  losses: number;
  queues: { queue: string; inFlight: number; completions: number; errors: number }[];
}
