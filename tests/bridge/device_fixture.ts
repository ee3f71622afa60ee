// SPDX-License-Identifier: Apache-2.0
import { Fd, Reactor } from "../../ffi/mod.ts";
import { BridgedDevice } from "../../lib/bridge/device.ts";
import { type BridgeEvent, type DeviceSetup, PATIENCE } from "../../lib/bridge/device_setup.ts";
import { Lane } from "../../lib/bridge/lane.ts";
import type { DescriptorStore } from "../../lib/bridge/store/mod.ts";
import {
  checkLoopback,
  checkUnopenedLoopback,
  openLoopback,
  SoftGuestPort,
  SoftNode,
} from "../../lib/loopback/mod.ts";
import { BackEndServer, connectWithBackoff } from "../../lib/vhost_user/mod.ts";
import type { BackEndDevice, BackEndRing } from "../../lib/vhost_user/back_end.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { bit } from "../../lib/virtio/features.ts";
import { Chain, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder, until } from "../support/process.ts";

export const [STATUS, CONFIG] = [0x070, 0x100];
export const RUNNING = 0xf;
export const VERSION_1 = bit(32);

/** A feature of the class. */
export const RARE = 1n;

/** A class whose back-end answers what is written to its config space. */
export const SELECTOR: DeviceClass = {
  id: 18,
  name: "selector",
  summary: "a device whose config space is forwarded",
  dropInNames: [],
  queues: ({ queueCount }) =>
    Array.from({ length: Math.min(queueCount, 2) }, (_, i) => {
      return { name: `request ${i}`, kind: "request" as const, size: 16 };
    }),
  config: { min: 8, max: 8, access: "forwarded", required: true },
  featureNames: { 0: "RARE" },
  masked: 0n,
  roles: {},
};

/** Answers the byte at 0 with its double at 4, and every request with as many bytes 7 as there is room for. */
export class Selector implements BackEndDevice {
  readonly name = "selector";
  readonly deviceId = SELECTOR.id;
  maxQueueSize = 16;
  readonly config = new Uint8Array(8);
  rings = 0;
  isSlow = false;
  /** Requests are kept until a test gives them back: their heads. */
  readonly kept: number[] = [];
  keeps = false;
  #live: BackEndRing | null = null;

  constructor(readonly features: bigint, readonly queueCount: number) {}

  readConfig(): Uint8Array {
    return this.config;
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.config.set(bytes, offset);
    this.config[4] = 2 * this.config[0]!;
  }

  startRing(live: BackEndRing): void {
    this.rings++;
    this.#live = live;
    live.onKick = () => this.#serve(live);
    this.#serve(live);
  }

  catchUp(): void {
    this.isSlow = false;
    this.#serve(this.#live!);
  }

  giveBack(...heads: number[]): void {
    for (const head of heads) this.#live!.ring.complete(head, 0);
    this.#live!.call();
  }

  #serve(live: BackEndRing): void {
    if (this.isSlow) return;
    const chain = new Chain();
    if (this.keeps) {
      while (live.ring.pop(chain)) this.kept.push(chain.head);
      return;
    }
    do {
      while (live.ring.pop(chain)) {
        chain.scatter(0, new Uint8Array(chain.writableBytes).fill(7));
        live.ring.complete(chain.head, chain.writableBytes);
      }
    } while (live.ring.enableNotifications());
    live.call();
  }

  stopRing(): void {}
  disconnected(): void {}
}

/** Holds copies of descriptors, in this process. */
export class FakeStore implements DescriptorStore {
  readonly held = new Map<string, Fd[]>();
  /** What each call did. */
  readonly log: string[] = [];

  async prepare(): Promise<void> {
    this.log.push("prepare");
    await Promise.resolve();
  }

  async take(name: string): Promise<Fd[]> {
    this.log.push("take");
    return await Promise.resolve((this.held.get(name) ?? []).map((fd) => fd.duplicate()));
  }

  async put(name: string, fds: readonly number[]): Promise<void> {
    this.log.push("put");
    // Numbers that are not ours are opened anew.
    const copies = fds.map((number) => duplicateOf(number));
    for (const fd of this.held.get(name) ?? []) fd.close();
    this.held.set(name, copies);
    await Promise.resolve();
  }

  async remove(name: string): Promise<boolean> {
    for (const fd of this.held.get(name) ?? []) fd.close();
    return await Promise.resolve(this.held.delete(name));
  }

  async release(name: string): Promise<string | null> {
    this.log.push("release");
    return await Promise.resolve(this.held.has(name) ? "a test" : null);
  }

  howToRemove(name: string): string {
    return `forget ${name}`;
  }

  close(): void {
    for (const fds of this.held.values()) for (const fd of fds) fd.close();
    this.held.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export function duplicateOf(number: number): Fd {
  const borrowed = new Fd(number);
  const copy = borrowed.duplicate();
  borrowed.release();
  return copy;
}

/** What a device in these tests may be. */
export interface BenchOptions {
  isKept?: boolean;
  memory?: DeviceSetup["memory"];
  deviceClass?: DeviceClass;
  queueCount?: number;
  /** See `PATIENCE`. */
  streamMs?: number;
}

/** A node whose driver is a test, a device, and a back-end that may go and come. */
export class Bench implements AsyncDisposable {
  readonly selector: Selector;
  device: BridgedDevice;
  #server: BackEndServer | null = null;

  private constructor(
    readonly stack: AsyncDisposableStack,
    readonly folder: TempFolder,
    readonly reactor: Reactor,
    readonly port: SoftGuestPort,
    readonly setup: DeviceSetup,
    readonly events: BridgeEvent[],
    queueCount: number,
  ) {
    this.device = new BridgedDevice(setup);
    this.selector = new Selector(VERSION_1 | RARE, queueCount);
  }

  static async create(options: BenchOptions = {}): Promise<Bench> {
    const { memory = "isolated", deviceClass = SELECTOR, queueCount = 1, isKept } = options;
    const { streamMs = PATIENCE.streamMs } = options;
    const stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const node = stack.use(new SoftNode(1 << 20));
    node.listen(folder.file("node"), reactor);
    const port = stack.use(new SoftGuestPort(node.wires));
    const lane = stack.use(new Lane({ name: "lane" }));
    const events: BridgeEvent[] = [];
    const setup: DeviceSetup = {
      id: 1,
      name: "selector",
      deviceClass,
      socket: folder.file("socket"),
      loopback: `soft:${folder.file("node")}`,
      memory,
      mmioVersion: 2,
      priority: 0,
      loopbacks: { check: checkLoopback, checkUnopened: checkUnopenedLoopback, open: openLoopback },
      store: isKept ? stack.use(new FakeStore()) : null,
      patience: { ...PATIENCE, streamMs },
      lane,
      connect: connectWithBackoff,
      reactor,
      onEvent: (event) => events.push(event),
    };
    return new Bench(stack, folder, reactor, port, setup, events, queueCount);
  }

  /** A back-end listens. */
  start(selector: Selector = this.selector): void {
    this.#server = new BackEndServer(this.reactor, this.folder.file("socket"), selector);
  }

  /** It ends. */
  stop(): void {
    this.#server?.close();
    this.#server = null;
  }

  async event(kind: BridgeEvent["kind"], since = 0): Promise<BridgeEvent> {
    const find = () => this.events.slice(since).find((event) => event.kind === kind);
    await until(() => find() !== undefined, `"${kind}" after: ${JSON.stringify(this.events)}`);
    return find()!;
  }

  /** Writes a register that the device may answer late: it is this isolate that it waits for. */
  async write(offset: number, size: number, value: number): Promise<void> {
    this.port.beginWrite(offset, size, value);
    await until(() => !this.port.pending, "an answer");
  }

  /** As a driver does it: reset, features, queue 0, DRIVER_OK. */
  async bringUp(features = VERSION_1 | RARE): Promise<void> {
    for (const status of [0, 1, 3]) await this.write(STATUS, 4, status);
    for (const [word, bits] of [[1, features >> 32n], [0, features & 0xffffffffn]] as const) {
      this.port.write(0x024, 4, word);
      this.port.write(0x020, 4, Number(bits));
    }
    await this.write(STATUS, 4, 0xb);
    const { desc, avail, used } = splitRingLayout(this.port.guestBase, 16);
    this.port.write(0x030, 4, 0);
    this.port.write(0x038, 4, 16);
    for (const [register, address] of [[0x080, desc], [0x090, avail], [0x0a0, used]] as const) {
      this.port.write(register, 4, address);
    }
    this.port.write(0x044, 4, 1);
    await this.write(STATUS, 4, RUNNING);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device.close();
    this.stop();
    await this.stack.disposeAsync();
  }
}

export function benchTest(
  name: string,
  options: BenchOptions,
  body: (bench: Bench) => Promise<void>,
): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using bench = await Bench.create(options);
      await body(bench);
    }));
}
