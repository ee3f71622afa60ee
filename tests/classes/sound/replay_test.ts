// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { isShadowed, replayOf } from "../../../lib/classes/sound/replay.ts";
import { ReplayRequests } from "../../../lib/bridge/replay_requests.ts";
import type { LaneDevice } from "../../../lib/bridge/lane_messages.ts";
import { ShadowBench } from "../../bridge/shadow_fixture.ts";

const SOUND = 25;
const RNG = 4;
const OK = 0x8000;
const [SET_PARAMS, PREPARE, RELEASE, START, STOP] = [0x101, 0x102, 0x103, 0x104, 0x105];
const [CONTROL, EVENT, TX, RX] = [0, 1, 2, 3];

function request(code: number, stream: number, rest: number[] = []): DataView {
  return new DataView(Uint32Array.of(code, stream, ...rest).buffer);
}

function params(stream: number): DataView {
  return request(SET_PARAMS!, stream, [4096, 1024, 0, 0x00060502]);
}

/** A replay that was shown requests, each with its answer; all OK unless said. */
function after(...seen: (DataView | [DataView, number])[]) {
  const area = new Uint8Array(1024);
  const replay = replayOf(SOUND, area, 7);
  seen.forEach((one, i) => {
    const [view, status] = Array.isArray(one) ? one : [one, OK];
    replay.observe(view, view.byteLength, status, 0x80000000 + i);
  });
  return { replay, area };
}

/** Messages as "code stream". */
function codes(messages: Uint8Array[]): string[] {
  return messages.map((message) => {
    const [code, stream] = new Uint32Array(message.buffer, message.byteOffset, 2);
    return `${code!.toString(16)} ${stream}`;
  });
}

const CASES: [name: string, seen: Parameters<typeof after>, before: string[], then: string[]][] = [
  ["nothing", [], [], []],
  ["parameters", [params(1)], ["101 1"], []],
  ["a prepared stream", [params(1), request(PREPARE!, 1)], ["101 1", "102 1"], []],
  [
    "a stream that plays",
    [params(0), request(PREPARE!, 0), request(START!, 0)],
    ["101 0", "102 0"],
    ["104 0"],
  ],
  [
    "a stopped stream",
    [params(0), request(PREPARE!, 0), request(START!, 0), request(STOP!, 0)],
    ["101 0", "102 0"],
    [],
  ],
  [
    "a released stream",
    [params(0), request(PREPARE!, 0), request(STOP!, 0), request(RELEASE!, 0)],
    ["101 0"],
    [],
  ],
  [
    "two streams",
    [params(3), params(1), request(PREPARE!, 3), request(START!, 3)],
    ["101 1", "101 3", "102 3"],
    ["104 3"],
  ],
  ["a refused request", [[params(0), 0x8001], [request(PREPARE!, 0), 0x8003]], [], []],
  ["one prepared without parameters", [request(PREPARE!, 2)], ["102 2"], []],
  ["information that was asked for", [request(0x100, 0), request(0x001, 0)], [], []],
  ["a stream that cannot be", [params(0xffffffff), params(31), request(START!, 4711)], [], []],
  ["half a request", [new DataView(new ArrayBuffer(7)), new DataView(new ArrayBuffer(4))], [], []],
  [
    "parameters cut short, after whole ones",
    [params(0), request(SET_PARAMS!, 0, [1, 2])],
    ["101 0"],
    [],
  ],
];

for (const [name, seen, before, then] of CASES) {
  Deno.test(`sound: a new back-end is told of ${name}`, () => {
    const { replay } = after(...seen);
    assertEquals(codes(replay.before()), before);
    assertEquals(codes(replay.after()), then);
  });
}

Deno.test("sound: parameters are repeated byte for byte, those that were accepted last", () => {
  const last = request(SET_PARAMS!, 0, [8192, 2048, 5, 0x01070402]);
  const { replay } = after(params(0), last, [params(0), 0x8002]);
  assertEquals(replay.before(), [new Uint8Array(last.buffer)]);
});

Deno.test("sound: a successor knows what the last process saw; another life knows nothing", () => {
  const { area } = after(params(0), request(PREPARE!, 0), request(START!, 0));
  const successor = replayOf(SOUND, area, 7);
  assertEquals(codes(successor.before()), ["101 0", "102 0"]);
  assert(successor.isAnswered(0x80000002));
  const next = replayOf(SOUND, area, 8);
  assertEquals(codes(next.before()), []);
  assert(!next.isAnswered(0x80000002));
});

Deno.test("sound: buffers are due while their stream runs, and only there", () => {
  const { replay } = after(params(1), request(PREPARE!, 1), request(START!, 1), params(2));
  const due = [CONTROL, EVENT, TX, RX].map((queue) =>
    [1, 2, 0xffffffff].map((stream) => replay.isDue(queue!, stream))
  );
  const [no, running] = [[false, false, false], [true, false, false]];
  assertEquals(due, [no, no, running, running]);
});

Deno.test("a class without memory repeats nothing", () => {
  const replay = replayOf(RNG, new Uint8Array(1024), 0);
  replay.observe(params(0), 24, OK, 1);
  assertEquals([replay.before(), replay.after()], [[], []]);
  assert(!replay.isDue(0, 0) && !replay.isAnswered(0));
});

Deno.test("which queues are relayed", () => {
  const device = (memory: "isolated" | "direct", seen: boolean) =>
    ({ memory, port: { memory: seen ? [{}] : [] } }) as unknown as LaneDevice;
  const of = (one: LaneDevice, id: number) => [0, 1, 2, 3].filter((q) => isShadowed(one, id, q));
  assertEquals(of(device("isolated", true), SOUND), [0, 1, 2, 3]);
  assertEquals(of(device("direct", true), SOUND), [CONTROL!]);
  assertEquals(of(device("direct", true), RNG), []);
  assertEquals(of(device("direct", false), SOUND), []);
});

// ---- over a ring ----

Deno.test("requests are repeated one after the other, and a refusal is told", () => {
  const bench = new ShadowBench({ deviceId: SOUND });
  const back = bench.attach();
  const messages = [params(0), request(PREPARE!, 0), request(START!, 0)]
    .map((view) => new Uint8Array(view.buffer));
  const replaying = new ReplayRequests(bench.queue, messages);
  const refused: string[] = [];
  const step = () => replaying.step((text) => refused.push(text));
  const seen: number[] = [];
  for (const status of ["\0\x80\0\0", "\x01\x80\0\0", "\0\x80\0\0"]) {
    assertEquals(step(), false);
    assertEquals(step(), false); // not answered yet: nothing more is sent
    const chains = back.take();
    assertEquals(chains.length, 1);
    seen.push(chains[0]!.text.length);
    assertEquals(chains[0]!.writable, 4);
    back.ring.walk(chains[0]!.head, back.chain);
    back.chain.scatter(0, Uint8Array.from(status, (c) => c.charCodeAt(0)));
    back.ring.complete(chains[0]!.head, 4);
  }
  assertEquals(step(), true);
  assertEquals(seen, [24, 8, 8]);
  assertEquals(refused, [
    "the new back-end answered request 2 of 3 with 0x8001, expected 0x8000",
  ]);
  // The ring serves the driver's own afterwards.
  bench.offer("t", "own", 4);
  bench.turn();
  const [own] = back.take();
  back.give(own!.head, "done");
  bench.turn();
  assertEquals(bench.taken(), [["t", 4]]);
});

Deno.test("nothing to repeat is done at once", () => {
  const bench = new ShadowBench();
  bench.attach();
  assertEquals(new ReplayRequests(bench.queue, []).step(() => {}), true);
});

Deno.test("sound: requests that the driver makes are watched on their way back", () => {
  const bench = new ShadowBench({ deviceId: SOUND });
  const back = bench.attach();
  const text = (view: DataView) => String.fromCharCode(...new Uint8Array(view.buffer));
  for (const view of [request(SET_PARAMS!, 1, [64, 16, 0, 2]), request(PREPARE!, 1)]) {
    bench.offer("t", text(view), 4);
    bench.turn();
    const [chain] = back.take();
    back.ring.walk(chain!.head, back.chain);
    back.chain.scatter(0, Uint8Array.of(0, 0x80, 0, 0));
    back.ring.complete(chain!.head, 4);
    bench.turn();
  }
  assertEquals(codes(bench.replay.before()), ["101 1", "102 1"]);
});

Deno.test("sound: a stream whose periods last longer than the watchdog's patience is not watched", () => {
  const bytesPerSecond = 8000; // U8, mono
  const of = (seconds: number): DataView =>
    request(SET_PARAMS!, 0, [4 * bytesPerSecond * seconds, bytesPerSecond * seconds, 0, 0x010401]);
  const short = after(of(1), request(PREPARE!, 0), request(START!, 0)).replay;
  const long = after(of(7), request(PREPARE!, 0), request(START!, 0)).replay;
  assertEquals([short.isDue(TX!, 0), long.isDue(TX!, 0)], [true, false]);
});
