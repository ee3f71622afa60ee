// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { LaneDevice } from "../../lib/bridge/lane_messages.ts";
import {
  DeviceReplay,
  isClean,
  isShadowed,
  loadReplay,
  replaySource,
  STATELESS,
} from "../../lib/bridge/replay.ts";
import { ReplayRequests } from "../../lib/bridge/replay_requests.ts";
import { console, rng, sound } from "../../lib/classes/mod.ts";
import type { ReplayRole } from "../../lib/virtio/device_class.ts";
import { TempFolder } from "../support/process.ts";
import { ShadowBench } from "./shadow_fixture.ts";

/** Counts requests by their first byte in its state; answers are one byte, as CAN's, of which 0 is OK. */
const COUNTER: ReplayRole = {
  queue: 0,
  stateBytes: 8,
  requestBytes: 2,
  responseBytes: 1,
  isOk: (response) => response.getUint8(0) === 0,
  create: (area) => ({
    observe: (request, length) => {
      if (length === 2) area[request.getUint8(0)]!++;
    },
    before: () => Array.from(area.subarray(0, 8), (count) => Uint8Array.of(count)),
    after: () => [],
    isDue: (queue, firstWord) => queue === 1 && area[firstWord]! > 0,
    refused: (request) => request.getUint8(0) === 7 ? Uint8Array.of(0) : null,
  }),
};

const done = new DataView(new ArrayBuffer(1));
const refusal = new DataView(Uint8Array.of(1).buffer);

/** A request of two bytes. */
function request(kind: number): DataView {
  return new DataView(Uint8Array.of(kind, 0).buffer);
}

/** What it counted. */
function counts(replay: DeviceReplay): number[] {
  return replay.before().map(([count]) => count!);
}

Deno.test("the class is shown what was done, the bridge remembers what was answered", () => {
  const area = new Uint8Array(64).fill(0xff);
  const replay = new DeviceReplay(COUNTER, area, 7);
  replay.observe(request(3), 2, done, 0x80000001);
  replay.observe(request(3), 2, refusal, 0x80000002);
  assertEquals(counts(replay), [0, 0, 0, 1, 0, 0, 0, 0]);
  assert(replay.isAnswered(0x80000002) && !replay.isAnswered(0x80000001));
  assert(replay.isDue(1, 3) && !replay.isDue(1, 4) && !replay.isDue(0, 3));
});

Deno.test("a refusal goes to the driver as it is, unless the class knows better; what was done does so anyway", () => {
  const replay = new DeviceReplay(COUNTER, new Uint8Array(64), 7);
  const instead = [[3, refusal], [7, refusal], [7, done]] as const;
  assertEquals(
    instead.map(([kind, response]) => replay.observe(request(kind), 2, response, 1)),
    [null, Uint8Array.of(0), null],
  );
  assertEquals(counts(replay), [0, 0, 0, 0, 0, 0, 0, 1]);
  const none = new DeviceReplay(STATELESS, new Uint8Array(64), 7);
  assertEquals(none.observe(request(7), 0, done, 1), null);
});

Deno.test("layout of a replay: u32 epoch, u32 mark, 24 bytes, then the class's state", () => {
  const area = new Uint8Array(64);
  new DeviceReplay(COUNTER, area, 0x0102).observe(request(2), 2, done, 0xa0b0c0d0);
  assertEquals([...area.subarray(0, 8)], [2, 1, 0, 0, 0xd0, 0xc0, 0xb0, 0xa0]);
  assertEquals([...area.subarray(8, 32)], Array(24).fill(0));
  assertEquals([...area.subarray(32, 40)], [0, 0, 1, 0, 0, 0, 0, 0]);
});

Deno.test("a successor knows what the last process saw; another life knows nothing", () => {
  const area = new Uint8Array(64);
  new DeviceReplay(COUNTER, area, 7).observe(request(1), 2, done, 0x80000000);
  const successor = new DeviceReplay(COUNTER, area, 7);
  assertEquals(counts(successor), [0, 1, 0, 0, 0, 0, 0, 0]);
  assert(successor.isAnswered(0x80000000));
  const next = new DeviceReplay(COUNTER, area, 8);
  assertEquals(counts(next), Array(8).fill(0));
  assert(!next.isAnswered(0x80000000));
});

Deno.test("a class without replay repeats nothing", () => {
  const replay = new DeviceReplay(STATELESS, new Uint8Array(64), 0);
  assertEquals([replay.queue, replay.before(), replay.after()], [-1, [], []]);
  assert(!replay.isDue(0, 0) && !replay.isAnswered(1));
});

Deno.test("a class's replay is loaded from where the class says", async () => {
  const source = await replaySource(sound);
  assertEquals(source, { url: sound.roles.replay!.href, queues: [0] });
  assertEquals((await loadReplay(source!.url)).requestBytes, 24);
  assertEquals((await replaySource(console))?.queues, [3, 2]);
  assertEquals(await replaySource(rng), null);
  assertEquals(await loadReplay(null), STATELESS);
});

Deno.test("a replay whose state has no room is refused", async () => {
  await using folder = await TempFolder.create();
  const path = folder.file("replay.ts");
  await Deno.writeTextFile(path, "export const replay = { stateBytes: 1057 };");
  const text = "its state takes 1057 bytes, expected at most 1056";
  await assertRejects(() => loadReplay(`file://${path}`), RangeError, text);
});

Deno.test("which queues are shadow queues", () => {
  const device = (memory: "isolated" | "direct", seen: boolean, ...queues: number[]) => {
    const replay = queues.length === 0 ? null : { url: "", queues };
    return { memory, port: { memory: seen ? [{}] : [] }, replay } as unknown as LaneDevice;
  };
  const of = (one: LaneDevice) => [0, 1, 2, 3].filter((queue) => isShadowed(one, queue));
  assertEquals(of(device("isolated", true, 0)), [0, 1, 2, 3]);
  assertEquals(of(device("direct", true, 0)), [0]);
  assertEquals(of(device("direct", true, 2)), [2]);
  assertEquals(of(device("direct", true, 3, 2)), [2, 3]);
  assertEquals(of(device("direct", true)), []);
  assertEquals(of(device("direct", false, 0)), []);
});

// ---- over a ring ----

Deno.test("requests are repeated one after the other, and a refusal is reported", () => {
  const bench = new ShadowBench({ replay: COUNTER });
  const back = bench.attach();
  const messages = [24, 8, 8].map((length) => new Uint8Array(length));
  const replaying = new ReplayRequests(bench.queue, messages, COUNTER);
  const refused: string[] = [];
  const step = () => replaying.step((text) => refused.push(text));
  const seen: number[] = [];
  for (const status of [0, 0x41, 0]) {
    assertEquals(step(), false);
    assertEquals(step(), false); // not answered yet: nothing more is sent
    const chains = back.take();
    assertEquals(chains.length, 1);
    seen.push(chains[0]!.text.length);
    assertEquals(chains[0]!.writable, 1);
    back.ring.walk(chains[0]!.head, back.chain);
    back.chain.scatter(0, Uint8Array.of(status));
    back.ring.complete(chains[0]!.head, 1);
  }
  assertEquals(step(), true);
  assertEquals(seen, [24, 8, 8]);
  assertEquals(refused, [
    "the back-end refused replayed control request 2 of 3: its response is 41",
  ]);
  // The ring serves the driver's own afterwards.
  bench.offer("t", "own", 4);
  bench.turn();
  const [own] = back.take();
  back.give(own!.head, "done");
  bench.turn();
  assertEquals(bench.taken(), [["t", 4]]);
});

Deno.test("requests are repeated over a control queue of one descriptor, too", () => {
  for (const indirect of [true, false]) {
    const bench = new ShadowBench({ replay: COUNTER, size: 1 });
    const back = bench.attach({ size: 2, indirect });
    const replaying = new ReplayRequests(bench.queue, [new Uint8Array(24)], COUNTER);
    assertEquals(replaying.step(() => {}), false);
    const [request] = back.take();
    assertEquals([request!.text.length, request!.writable, back.chain.count], [24, 1, 2]);
    back.give(request!.head, "\0");
    assertEquals(replaying.step(() => {}), true);
    for (const name of ["a", "b"]) {
      bench.offer(name, "own", 4);
      bench.turn();
      back.give(back.take()[0]!.head, "done");
      bench.turn();
      assertEquals(bench.taken(), [[name, 4]]);
    }
  }
});

Deno.test("a request without a response is repeated as one segment", () => {
  const role = { ...COUNTER, responseBytes: 0, isOk: () => true };
  const bench = new ShadowBench({ replay: role, size: 4 });
  const back = bench.attach();
  const replaying = new ReplayRequests(bench.queue, [new Uint8Array(8), new Uint8Array(8)], role);
  for (const _ of replaying.messages) {
    assertEquals(replaying.step(() => {}), false);
    const [request] = back.take();
    assertEquals([request!.text.length, request!.writable, back.chain.count], [8, 0, 1]);
    back.give(request!.head);
  }
  assertEquals(replaying.step(() => {}), true);
  bench.offer("next", "own", 4);
  bench.turn();
  back.give(back.take()[0]!.head, "done");
  bench.turn();
  assertEquals(bench.taken(), [["next", 4]]);
});

Deno.test("a response in several segments is watched whole", () => {
  const role = {
    ...COUNTER,
    responseBytes: 4,
    isOk: (response: DataView) => response.getUint32(0, true) === 0x04030201,
  };
  const bench = new ShadowBench({ replay: role });
  const back = bench.attach();
  for (const status of ["\x01\x02\x03\x04", "\x01\x02\x03\x05"]) {
    bench.offer("t", "\x03", "\0", 1, 2, 3);
    bench.turn();
    back.give(back.take()[0]!.head, status);
    bench.turn();
  }
  assertEquals(counts(bench.replay), [0, 0, 0, 1, 0, 0, 0, 0]);
});

Deno.test("nothing to repeat is done at once", () => {
  const bench = new ShadowBench();
  bench.attach();
  assertEquals(new ReplayRequests(bench.queue, [], STATELESS).step(() => {}), true);
});

Deno.test("a response of one byte is watched on its way back", () => {
  const bench = new ShadowBench({ replay: COUNTER });
  const back = bench.attach();
  for (const [kind, status] of [[1, 0], [2, 0], [2, 7]] as const) {
    bench.offer("t", String.fromCharCode(kind, 0), 1);
    bench.turn();
    const [chain] = back.take();
    back.give(chain!.head, String.fromCharCode(status));
    bench.turn();
  }
  assertEquals(counts(bench.replay), [0, 1, 1, 0, 0, 0, 0, 0]);
});

Deno.test("isClean() asks the class of the life that is over", async () => {
  assertEquals(await isClean(null, new Uint8Array(64), 7), true);
  const source = await replaySource(sound);
  const area = new Uint8Array(1088);
  const replay = new DeviceReplay(await loadReplay(source!.url), area, 7);
  const prepare = new DataView(Uint32Array.of(0x102, 0).buffer);
  const ok = new DataView(Uint32Array.of(0x8000).buffer);
  assertEquals(await isClean(source, area.slice(), 7), true);
  replay.observe(prepare, 8, ok, 1);
  assertEquals(await isClean(source, area.slice(), 7), false);
  assertEquals(await isClean(source, area.slice(), 8), true); // a life that made no request
});
