// SPDX-License-Identifier: Apache-2.0
// A bridged device with all its parts in this process: a software node, whose registers a test writes, and a back-end.
import { assert, assertEquals } from "@std/assert";
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
import { EVENT_RATE } from "../../lib/virtio/event_limit.ts";
import { bit } from "../../lib/virtio/features.ts";
import { Chain, DriverRing, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from "../../lib/virtio/ring_layout.ts";
import { STATUS_DEVICE_NEEDS_RESET } from "../../lib/virtio/state.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder, until } from "../support/process.ts";

const [STATUS, CONFIG] = [0x070, 0x100];
const RUNNING = 0xf;
const VERSION_1 = bit(32);
/** A feature of the class. */
const RARE = 1n;
const INDIRECT = bit(28);

/** A class whose back-end answers what is written to its config space. */
const SELECTOR: DeviceClass = {
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
class Selector implements BackEndDevice {
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
class FakeStore implements DescriptorStore {
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

function duplicateOf(number: number): Fd {
  const borrowed = new Fd(number);
  const copy = borrowed.duplicate();
  borrowed.release();
  return copy;
}

/** What a device in these tests may be. */
interface BenchOptions {
  isKept?: boolean;
  memory?: DeviceSetup["memory"];
  deviceClass?: DeviceClass;
  queueCount?: number;
}

/** A node whose driver is a test, a device, and a back-end that may go and come. */
class Bench implements AsyncDisposable {
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
      patience: { ...PATIENCE, streamMs: 100 },
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

function benchTest(
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

for (const memory of ["isolated", "direct"] as const) {
  benchTest(
    `a driver is served, and again by the next back-end: ${memory}`,
    { memory },
    async (bench) => {
      bench.start();
      await bench.event("started");
      await bench.bringUp();
      assertEquals(bench.events.map(({ kind }) => kind), ["connected", "started", "running"]);
      assertEquals(bench.selector.rings, 1);
      bench.stop();
      await bench.event("lost");
      bench.start();
      const { text } = await bench.event("resumed");
      assertEquals(text, "resumed: 0 in-flight requests resubmitted, 0 control requests replayed");
      const counters = bench.device.counters()!;
      assertEquals([counters["connects"], counters["losses"]], [2, 1]);
    },
  );

  benchTest(
    `a driver that resets the device is served again: ${memory}`,
    { memory },
    async (bench) => {
      bench.start();
      await bench.event("started");
      for (let life = 0; life < 3; life++) {
        const since = bench.events.length;
        await bench.bringUp();
        await bench.event("running", since);
      }
      const kinds = new Set(bench.events.map(({ kind }) => kind));
      assertEquals(kinds, new Set(["connected", "started", "running", "reset"]));
    },
  );
}

benchTest(
  "a driver that resets and starts without pause is reported up to the limit",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    const lives = 2 * EVENT_RATE.burst;
    for (let life = 0; life < lives; life++) await bench.bringUp();
    const { resets } = bench.device.counters()! as { resets: number };
    assert(resets >= lives, `${resets}`);
    const reported = bench.events.filter(({ kind }) => kind === "reset");
    assert(reported.length >= EVENT_RATE.burst && reported.length < lives, `${reported.length}`);
    bench.stop();
    const { text } = await bench.event("lost");
    assert(/ \(\d+ reports? before this (was|were) left out\)$/.test(text), text);
  },
);

benchTest(
  "forwarded: what is read after a write is the back-end's answer to it",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    for (const when of ["before DRIVER_OK", "after"]) {
      if (when === "after") await bench.bringUp();
      for (const value of [1, 21, 100]) {
        await bench.write(CONFIG, 1, value);
        assertEquals(bench.port.read(CONFIG + 4, 1), 2 * value, when);
      }
    }
  },
);

benchTest(
  "forwarded: a write is answered where no back-end is, and told to the next",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    bench.stop();
    await bench.event("lost");
    await bench.write(CONFIG, 1, 9);
    bench.start();
    await until(() => bench.port.read(CONFIG + 4, 1) === 18, "the back-end's answer");
  },
);

const CACHED: DeviceClass = { ...SELECTOR, config: { ...SELECTOR.config, access: "cached" } };

benchTest(
  "cached: a write is answered at once and passed on",
  { deviceClass: CACHED },
  async (bench) => {
    bench.start();
    await bench.event("started");
    bench.port.write(CONFIG, 1, 33); // nobody else has a turn meanwhile
    await until(() => bench.selector.config[0] === 33, "the write to arrive");
  },
);

benchTest(
  "how many queues there are is asked of the first back-end",
  { queueCount: 2 },
  async (bench) => {
    bench.start();
    await bench.event("started");
    const { queues } = bench.device.counters() as { queues: { queue: string }[] };
    assertEquals(queues.map(({ queue }) => queue), ["request 0", "request 1"]);
  },
);

benchTest(
  "a back-end that lacks what the driver relies on: it must reset, and is offered the rest",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    bench.stop();
    await bench.event("lost");
    bench.start(new Selector(VERSION_1, 1));
    const { text } = await bench.event("error");
    assert(text.includes("lacks features that the driver relies on"), text);
    await until(
      () => (bench.port.read(STATUS, 4) & STATUS_DEVICE_NEEDS_RESET) !== 0,
      "DEVICE_NEEDS_RESET",
    );
    const since = bench.events.length;
    await bench.write(STATUS, 4, 0);
    bench.port.write(0x014, 4, 0);
    assertEquals(bench.port.read(0x010, 4), 0);
    bench.port.write(0x014, 4, 1);
    assertEquals(bench.port.read(0x010, 4), 1);
    await bench.bringUp(VERSION_1);
    await bench.event("running", since);
  },
);

/** Queue 0 as the driver of a bench sees it, with chains of one segment. */
function driverRing({ port }: Bench): DriverRing {
  const layout = { index: 0, size: 16, ...splitRingLayout(port.guestBase, 16) };
  const options = { indirect: false, eventIdx: false, deviceName: "the driver" };
  const ring = new DriverRing(port.memory, layout, options);
  for (let head = 0; head < 16; head++) {
    ring.writeDescriptor(head, port.guestBase + 0x8000, 64, VIRTQ_DESC_F_WRITE, 0);
  }
  return ring;
}

function offer({ port }: Bench, ring: DriverRing, ...heads: number[]): void {
  for (const head of heads) ring.offer(head);
  ring.publish();
  port.write(0x050, 4, 0);
}

function usedHeads(ring: DriverRing): number[] {
  const heads: number[] = [];
  const used = { head: 0, length: 0 };
  while (ring.takeUsed(used)) heads.push(used.head);
  return heads;
}

async function keeping(bench: Bench, count: number): Promise<Selector> {
  const selector = new Selector(VERSION_1 | RARE, 1);
  selector.keeps = true;
  bench.start(selector);
  await until(() => selector.kept.length === count, `${count} requests`);
  return selector;
}

for (const memory of ["isolated", "direct"] as const) {
  benchTest(
    `B4: completed out of order, then a crash: each request comes back once: ${memory}`,
    { memory },
    async (bench) => {
      const first = bench.selector;
      first.keeps = true;
      bench.start();
      await bench.event("started");
      await bench.bringUp();
      const ring = driverRing(bench);
      offer(bench, ring, 0, 1, 2);
      await until(() => first.kept.length === 3, "three requests");
      first.giveBack(first.kept[1]!);
      let heads: number[] = [];
      await until(() => (heads.push(...usedHeads(ring)), heads.length === 1), "the second");
      assertEquals(heads, [1]);
      bench.stop();
      await bench.event("lost");
      offer(bench, ring, 3);
      const second = await keeping(bench, 3);
      await bench.event("resumed");
      second.giveBack(...second.kept.toReversed());
      heads = [];
      await until(() => (heads.push(...usedHeads(ring)), heads.length === 3), "the others");
      assertEquals(heads, [3, 2, 0]);
    },
  );
}

benchTest(
  "the next viola gives the next back-end what is in flight: direct",
  { memory: "direct", isKept: true },
  async (bench) => {
    const first = bench.selector;
    first.keeps = true;
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    const ring = driverRing(bench);
    offer(bench, ring, 5, 6, 7);
    await until(() => first.kept.length === 3, "three requests");
    first.giveBack(6);
    await bench.device.close();
    await bench.event("kept");
    bench.stop();
    const second = new Selector(VERSION_1 | RARE, 1);
    second.keeps = true;
    bench.start(second);
    bench.device = new BridgedDevice(bench.setup);
    await until(() => second.kept.length === 2, "two requests");
    assertEquals(second.kept, [5, 7]);
    second.giveBack(7, 5);
    const heads: number[] = [];
    await until(() => (heads.push(...usedHeads(ring)), heads.length === 3), "all of them");
    assertEquals(heads, [6, 7, 5]);
  },
);

benchTest(
  "a back-end without indirect tables, and with room for 256 entries, serves a driver that uses them",
  {},
  async (bench) => {
    bench.start(new Selector(VERSION_1 | RARE | INDIRECT, 1));
    await bench.event("started");
    await bench.bringUp(VERSION_1 | RARE | INDIRECT);
    bench.stop();
    await bench.event("lost");
    const selector = new Selector(VERSION_1 | RARE, 1);
    selector.maxQueueSize = 256;
    bench.start(selector);
    await bench.event("resumed");
    const said = bench.events.filter(({ text }) => text.includes("no indirect tables"));
    assertEquals(said.map(({ text }) => text.slice(-10)), ["trying 512", "trying 256"]);
    const ring = driverRing(bench);
    const { port } = bench;
    // A table with two segments to write.
    const table = new DataView(new ArrayBuffer(32));
    for (const [at, next] of [[0, 1], [16, 0]] as const) {
      table.setBigUint64(at, BigInt(port.guestBase + 0x9000 + at), true);
      table.setUint32(at + 8, 16, true);
      table.setUint16(at + 12, at === 0 ? VIRTQ_DESC_F_WRITE | 1 : VIRTQ_DESC_F_WRITE, true);
      table.setUint16(at + 14, next, true);
    }
    const { u8, guest } = port.memory.region(port.guestBase + 0xa000, 32);
    u8.set(new Uint8Array(table.buffer), port.guestBase + 0xa000 - guest);
    ring.writeDescriptor(4, port.guestBase + 0xa000, 32, VIRTQ_DESC_F_INDIRECT, 0);
    offer(bench, ring, 4);
    const heads: number[] = [];
    await until(() => (heads.push(...usedHeads(ring)), heads.length === 1), "the answer");
    assertEquals([heads[0], u8[port.guestBase + 0x901f - guest]], [4, 7]);
  },
);

/** A class with a second queue only where the back-end has a feature. */
const OPTIONAL: DeviceClass = {
  ...SELECTOR,
  queues: ({ features }) => {
    const names = (features & RARE) === 0n ? ["always"] : ["always", "optional"];
    return names.map((name) => ({ name, kind: "request", size: 16 }));
  },
};

benchTest(
  "a device is restored after a back-end that offered less: it has the queues that the driver knows",
  { isKept: true, deviceClass: OPTIONAL, queueCount: 2 },
  async (bench) => {
    bench.start();
    await bench.event("started");
    bench.stop();
    await bench.event("lost");
    const since = bench.events.length;
    bench.start(new Selector(VERSION_1, 2));
    await bench.event("connected", since);
    await until(() => bench.port.read(0x010, 4) === 0, "the narrower features");
    await bench.device.close();
    await bench.event("kept");
    bench.device = new BridgedDevice(bench.setup);
    await bench.event("restored");
    const { queues } = bench.device.counters() as { queues: { queue: string }[] };
    assertEquals(queues.map(({ queue }) => queue), ["always", "optional"]);
  },
);

benchTest(
  "a queue that takes its time is waited for, as long as the socket answers",
  {},
  async (bench) => {
    const { selector, port } = bench;
    selector.isSlow = true;
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    const layout = { index: 0, size: 16, ...splitRingLayout(port.guestBase, 16) };
    const options = { indirect: false, eventIdx: false, deviceName: "the driver" };
    const ring = new DriverRing(port.memory, layout, options);
    ring.writeDescriptor(0, port.guestBase + 0x8000, 64, VIRTQ_DESC_F_WRITE, 0);
    ring.offer(0);
    ring.publish();
    port.write(0x050, 4, 0);
    const { text } = await bench.event("waiting");
    assertEquals(
      text,
      "queue 0 (request 0) has requests in flight, none was given back for 0.1 s; " +
        "the back-end still answers on its socket, waiting on",
    );
    selector.catchUp();
    await until(() => ring.takeUsed({ head: 0, length: 0 }), "the answer");
    assertEquals(bench.events.filter(({ kind }) => kind === "lost"), []);
  },
);

benchTest(
  "a device that is kept is restored, and its driver served on",
  { isKept: true },
  async (bench) => {
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    for (let life = 0; life < 3; life++) {
      await bench.device.close();
      const since = bench.events.length;
      assertEquals(bench.events.at(-1)!.kind, "kept");
      // It does something meanwhile: that is answered by the next.
      bench.port.beginWrite(CONFIG, 1, 5 + life);
      bench.device = new BridgedDevice(bench.setup);
      await bench.event("resumed", since);
      const kinds = bench.events.slice(since).map(({ kind }) => kind);
      assertEquals(kinds, ["restored", "connected", "resumed"]);
      await until(() => !bench.port.pending, "an answer");
      await until(() => bench.port.read(CONFIG + 4, 1) === 2 * (5 + life), "the back-end's answer");
    }
    const { log } = bench.setup.store as FakeStore;
    assertEquals(log, [
      "take",
      "prepare",
      "put",
      ...Array(3).fill(["release", "take", "put"]).flat(),
    ]);
  },
);

benchTest(
  "what is held and is no state of the device is refused, with a way out",
  { isKept: true },
  async (bench) => {
    bench.start();
    await bench.event("started");
    await bench.device.close();
    const { held } = bench.setup.store as FakeStore;
    const [name, fds] = [...held][0]!;
    held.set(name, fds.toReversed());
    bench.device = new BridgedDevice(bench.setup);
    const error = await bench.device.done.then(() => null, (error: Error) => error);
    assert(error?.message.includes(`forget ${name}`), error?.message);
    held.set(name, fds);
  },
);

benchTest("the end finds a device in any state", {}, async (bench) => {
  assertEquals(bench.device.counters(), null);
  await bench.device.close();
  assertEquals(bench.events, []);
});

Deno.test("a node that is not there, or spent, ends the device with its reason", async () => {
  await withoutLeaks(async () => {
    await using bench = await Bench.create();
    Deno.removeSync(bench.folder.file("node"));
    bench.start();
    const error = await bench.device.done.then(() => null, (error: Error) => error);
    assert(error?.message.includes("ENOENT"), error?.message);
  });
});
