// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { Mapping, viewMemory } from "../../ffi/mod.ts";
import { BridgedDevice } from "../../lib/bridge/device.ts";
import { InflightMemory } from "../../lib/bridge/inflight_memory.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { bit } from "../../lib/virtio/features.ts";
import { DriverRing, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from "../../lib/virtio/ring_layout.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";
import {
  Bench,
  benchTest,
  CONFIG,
  FakeStore,
  RARE,
  SELECTOR,
  Selector,
  VERSION_1,
} from "./device_fixture.ts";

const INDIRECT = bit(28);

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

/** A back-end keeps the requests of these heads. @returns the driver's ring */
async function threeInFlight(
  bench: Bench,
  ...heads: [number, number, number]
): Promise<DriverRing> {
  const { selector } = bench;
  selector.keeps = true;
  bench.start();
  await bench.event("started");
  await bench.bringUp();
  const ring = driverRing(bench);
  offer(bench, ring, ...heads);
  await until(() => selector.kept.length === 3, "three requests");
  return ring;
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
      const ring = await threeInFlight(bench, 0, 1, 2);
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
    const ring = await threeInFlight(bench, 5, 6, 7);
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
  "notes that the next back-end refuses are dropped: what the rings show is resumed",
  { memory: "direct", isKept: true },
  async (bench) => {
    const first = bench.selector;
    await threeInFlight(bench, 0, 1, 2);
    first.giveBack(0);
    bench.stop();
    await bench.event("lost");
    const since = bench.events.length;
    const store = bench.setup.store as FakeStore;
    const notes = store.held.get(bench.setup.loopback)!.find((fd) => InflightMemory.isOne(fd))!;
    using mapping = Mapping.create(notes, 4096);
    new DataView(viewMemory(mapping.range)).setUint16(8, 9, true); // its version
    const second = await keeping(bench, 2);
    const { text } = await bench.event("lost", since);
    assert(text.includes("refused"), text);
    assertEquals(second.kept, [1, 2]);
  },
);

benchTest(
  "a queue that takes its time is waited for, as long as the socket answers",
  { streamMs: 100 },
  async (bench) => {
    const { selector } = bench;
    selector.isSlow = true;
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    const ring = driverRing(bench);
    offer(bench, ring, 0);
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
