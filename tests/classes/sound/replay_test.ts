// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { replay as role } from "../../../lib/classes/sound/replay.ts";
import { DRIVER, ShadowBench } from "../../bridge/shadow_fixture.ts";

const [OK, BAD_MSG, IO_ERR] = [0x8000, 0x8001, 0x8003] as const;
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
  const area = new Uint8Array(role.stateBytes);
  const replay = role.create(area);
  for (const one of seen) {
    const [view, status] = Array.isArray(one) ? one : [one, OK];
    const response = new DataView(Uint32Array.of(status).buffer);
    if (role.isOk(response)) replay.observe(view, view.byteLength);
  }
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
  ["a stream that cannot be", [params(0xffffffff), params(32), request(START!, 4711)], [], []],
  ["half a request", [new DataView(new ArrayBuffer(7)), new DataView(new ArrayBuffer(4))], [], []],
  [
    "parameters cut short, after whole ones",
    [params(0), request(SET_PARAMS!, 0, [1, 2])],
    ["101 0"],
    [],
  ],
];

for (const [name, seen, before, then] of CASES) {
  Deno.test(`sound: a new back-end gets the replay of ${name}`, () => {
    const { replay } = after(...seen);
    assertEquals(codes(replay.before()), before);
    assertEquals(codes(replay.after()), then);
  });
}

Deno.test("sound: the last accepted parameters are replayed byte for byte", () => {
  const last = request(SET_PARAMS!, 0, [8192, 2048, 5, 0x01070402]);
  const { replay } = after(params(0), last, [params(0), 0x8002]);
  assertEquals(replay.before(), [new Uint8Array(last.buffer)]);
});

Deno.test("sound: the next process continues from the state that the last one recorded", () => {
  const { area } = after(params(0), request(PREPARE!, 0), request(START!, 0), params(31));
  const successor = role.create(area);
  assertEquals(codes(successor.before()), ["101 0", "102 0", "101 31"]);
  assertEquals(codes(successor.after()), ["104 0"]);
});

Deno.test("sound: buffers are due while their stream runs, and only there", () => {
  const { replay } = after(params(1), request(PREPARE!, 1), request(START!, 1), params(2));
  const due = [CONTROL, EVENT, TX, RX].map((queue) =>
    [1, 2, 0xffffffff].map((stream) => replay.isDue(queue!, stream))
  );
  const [no, running] = [[false, false, false], [true, false, false]];
  assertEquals(due, [no, no, running, running]);
});

/** Has the driver make requests, each answered with a status by the back-end. @returns the statuses that the driver got */
function exchange(bench: ShadowBench, ...requests: [DataView, number][]): number[] {
  const back = bench.attach();
  const text = (view: DataView) => String.fromCharCode(...new Uint8Array(view.buffer));
  return requests.map(([view, status]) => {
    const [, response] = bench.offer("t", text(view), 4);
    bench.turn();
    const [chain] = back.take();
    back.ring.walk(chain!.head, back.chain);
    back.chain.scatter(0, new Uint8Array(Uint32Array.of(status).buffer));
    back.ring.complete(chain!.head, 4);
    bench.turn();
    const { address } = response!;
    return new DataView(bench.bytes.buffer).getUint32(address - DRIVER, true);
  });
}

Deno.test("sound: requests that the driver makes are watched on their way back", () => {
  const bench = new ShadowBench({ replay: role });
  const statuses = exchange(
    bench,
    [request(SET_PARAMS!, 1, [64, 16, 0, 2]), OK],
    [request(PREPARE!, 1), OK],
    [request(START!, 1), IO_ERR],
  );
  assertEquals(statuses, [OK, OK, IO_ERR]);
  assertEquals(codes(bench.replay.before()), ["101 1", "102 1"]);
});

Deno.test("sound: a driver may begin anew where no stream was left prepared or running", () => {
  for (const [name, seen, before] of CASES) {
    const isPrepared = before.some((message) => message.startsWith("102"));
    assertEquals(after(...seen).replay.isClean!(), !isPrepared, name);
  }
});

Deno.test("sound: a second RELEASE is done, whatever the back-end says; no other refusal is changed", () => {
  const statuses = exchange(
    new ShadowBench({ replay: role }),
    [params(0), OK],
    [request(PREPARE!, 0), OK],
    [request(RELEASE!, 0), OK],
    [request(RELEASE!, 0), BAD_MSG],
    [request(START!, 0), BAD_MSG],
    [request(RELEASE!, 1), BAD_MSG],
  );
  assertEquals(statuses, [OK, OK, OK, OK, BAD_MSG, BAD_MSG]);
});

Deno.test("sound: a RELEASE is done by itself where a stream has parameters and no more, and nowhere else", () => {
  const path = [params(0), request(PREPARE!, 0), request(START!, 0), request(STOP!, 0)];
  const done = [0, 1, 2, 3, 4].map((count) => {
    const { replay } = after(...path.slice(0, count));
    return replay.refused!(request(RELEASE!, 0), 8);
  });
  assertEquals(done, [null, Uint8Array.of(0, 0x80, 0, 0), null, null, null]);
  const { replay } = after(params(0));
  assertEquals(replay.refused!(request(RELEASE!, 32), 8), null);
  assertEquals(replay.refused!(request(RELEASE!, 0), 7), null);
});

Deno.test("sound: a stream whose periods last longer than the watchdog's patience is not watched", () => {
  const bytesPerSecond = 8000; // U8, mono
  const of = (seconds: number): DataView =>
    request(SET_PARAMS!, 0, [4 * bytesPerSecond * seconds, bytesPerSecond * seconds, 0, 0x010401]);
  const short = after(of(1), request(PREPARE!, 0), request(START!, 0)).replay;
  const long = after(of(7), request(PREPARE!, 0), request(START!, 0)).replay;
  assertEquals([short.isDue(TX!, 0), long.isDue(TX!, 0)], [true, false]);
});
