// SPDX-License-Identifier: Apache-2.0
// An input device at its queues. Sections are those of virtio 1.2.
import { assertEquals } from "@std/assert";
import { device as role, type InputDeviceContract } from "../../../lib/classes/input/device.ts";
import { decodeBits, decodeEvent, encodeEvent } from "../../../lib/classes/input/wire.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

const HEAD = JSON.stringify({
  name: "buttons",
  serial: "7",
  ids: { bustype: 3, vendor: 1, product: 2, version: 0x100 },
  properties: [1],
  codes: { EV_KEY: [30, 256], EV_LED: [0] },
  axes: { 1: { min: -5, max: 300 } },
});
const key = (value: number) => JSON.stringify({ type: "EV_KEY", code: 30, value });
const SYN = '{"type": "EV_SYN", "code": 0, "value": 0}';
const ANY = { type: 1, code: 30, value: 1 };
const END = { type: 0, code: 0, value: 0 };

class Bench implements Disposable {
  readonly bench: DeviceBench<InputDeviceContract>;
  readonly wiring: Wiring;
  readonly #places = new Map<number, number>();
  #token = 0;

  /** @param lines Those after the first */
  constructor(lines: readonly string[] = [], queueSize = 64) {
    this.bench = new DeviceBench(role, { lines: [HEAD, ...lines].join("\n") });
    this.bench.device.featuresAccepted(0n);
    this.wiring = new Wiring(this.bench.device, queueSize);
    this.wiring.start();
  }

  offer(count: number, size = 8): void {
    for (let i = 0; i < count; i++) {
      const token = ++this.#token;
      this.#places.set(token, this.wiring.offer(0, token, [], [size])[0]!);
    }
  }

  /** Has the device take the buffers. */
  turn(): void {
    this.bench.device.turn();
  }

  /** Values of the keys since the last call; a dot ends a packet. */
  received(): string {
    this.turn();
    let text = "";
    for (let used; (used = this.wiring.queues[0]!.take()) !== null;) {
      if (used.length === 0) continue;
      const view = new DataView(this.wiring.buffer, this.#places.get(used.token)!, 8);
      const { type, value } = decodeEvent(view)!;
      text += type === 0 ? "." : `${value}`;
    }
    return text;
  }

  /** What select and subsel give. */
  select(select: number, subsel = 0): Uint8Array {
    this.bench.device.writeConfig(0, Uint8Array.of(select));
    this.bench.device.writeConfig(1, Uint8Array.of(subsel));
    const config = this.bench.device.readConfig();
    assertEquals([config.length, config[0], config[1]], [136, select, subsel]);
    return config.slice(8, 8 + config[2]!);
  }

  reported(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench[Symbol.dispose]();
  }
}

Deno.test("input: the config space tells what was selected, and nothing for what there is not", () => {
  using bench = new Bench();
  const text = (select: number) => new TextDecoder().decode(bench.select(select));
  assertEquals([text(1), text(2)], ["buttons", "7"]);
  assertEquals(bench.select(3), Uint8Array.of(3, 0, 1, 0, 2, 0, 0, 1));
  assertEquals(decodeBits(bench.select(0x10)), [1]);
  assertEquals(decodeBits(bench.select(0x11, 1)), [30, 256]);
  assertEquals(decodeBits(bench.select(0x11, 3)), [1], "axes are of EV_ABS");
  assertEquals(bench.select(0x12, 1).length, 20);
  for (
    const [select, subsel] of [[0, 0], [1, 1], [3, 2], [0x10, 1], [0x11, 2], [0x12, 0], [255, 0]]
  ) {
    assertEquals(bench.select(select!, subsel).length, 0, `${select} ${subsel}`);
  }
});

Deno.test("input: the config space tells what was selected, in whatever order that is written", () => {
  using bench = new Bench();
  const { device } = bench.bench;
  device.writeConfig(1, Uint8Array.of(1)); // subsel first
  device.writeConfig(0, Uint8Array.of(0x11));
  assertEquals([...device.readConfig().subarray(0, 3)], [0x11, 1, 33]);
  device.writeConfig(0, Uint8Array.of(0x11, 3)); // both at once
  assertEquals([...device.readConfig().subarray(0, 3)], [0x11, 3, 1]);
});

Deno.test("input: writes to other fields of the config space change nothing", () => {
  using bench = new Bench();
  bench.select(1);
  const before = bench.bench.device.readConfig();
  for (const at of [2, 8, 135]) bench.bench.device.writeConfig(at, Uint8Array.of(99));
  assertEquals(bench.bench.device.readConfig(), before);
  bench.bench.device.writeConfig(0, new Uint8Array(136).fill(2, 0, 1)); // the whole, as viola sends it
  assertEquals(bench.bench.device.readConfig()[2], 1);
});

Deno.test("input: events come in their order, at their times, when the driver has buffers", () => {
  using bench = new Bench([key(1), SYN, '{"wait": 20}', key(0), SYN]);
  bench.bench.clock.pass(100);
  bench.offer(10);
  assertEquals(bench.received(), "1.");
  bench.bench.clock.pass(19);
  assertEquals(bench.received(), "");
  bench.bench.clock.pass(1);
  assertEquals(bench.received(), "0.");
  assertEquals(bench.bench.clock.alarm, Infinity);
});

Deno.test("input: a file waits for the driver's buffers, and loses nothing", () => {
  using bench = new Bench([key(1), SYN, key(2), SYN, key(3), SYN]);
  bench.offer(3);
  assertEquals(bench.received(), "1.2");
  assertEquals(bench.bench.clock.alarm, Infinity);
  bench.offer(1);
  assertEquals(bench.received(), ".");
  bench.offer(9);
  assertEquals(bench.received(), "3.");
});

Deno.test("input: a packet of a file may be larger than the driver's queue", () => {
  const values = Array.from({ length: 9 }, (_, i) => i);
  using bench = new Bench([...values.map(key), SYN, key(1), SYN], 4);
  let text = "";
  for (let i = 0; i < 3; i++) {
    bench.offer(4);
    text += bench.received();
  }
  assertEquals(text, "012345678.1.");
  assertEquals(bench.reported("dropped"), []);
});

Deno.test("input: a packet without room for all of it is dropped whole, and told", () => {
  using bench = new Bench();
  const { device } = bench.bench;
  bench.offer(1);
  assertEquals(device.call("send", [[ANY, END]]), false);
  assertEquals([bench.received(), bench.reported("dropped").length], ["", 1]);
  bench.offer(1);
  assertEquals(device.call("send", [[ANY, END]]), true);
  assertEquals(bench.received(), "1.");
  bench.offer(60);
  assertEquals(device.call("send", [new Array(65).fill(ANY)]), false);
});

Deno.test("input: buffers that are too small come back empty", () => {
  using bench = new Bench([key(1), SYN]);
  bench.offer(3, 7);
  bench.wiring.offer(0, 900, [new Uint8Array(8)], []); // not to be written to
  bench.offer(2);
  assertEquals(bench.received(), "1.");
  assertEquals(bench.reported("error").length, 4);
});

Deno.test("input: what the driver sets is told and comes back, whatever it is", () => {
  using bench = new Bench();
  const event = new Uint8Array(8);
  encodeEvent(new DataView(event.buffer), { type: 0x11, code: 0, value: 1 });
  bench.wiring.offer(1, 1, [event], []);
  bench.wiring.offer(1, 2, [Uint8Array.of(1, 2, 3)], []);
  bench.wiring.offer(1, 3, [], [8]);
  const tokens = [1, 2, 3].map(() => bench.wiring.queues[1]!.take()?.token);
  assertEquals(tokens, [1, 2, 3]);
  assertEquals(bench.reported("status"), ["The driver sets 0 of event type 17 to 1"]);
});

Deno.test("input: buffers come back when the queue stops, and the file begins anew", () => {
  using bench = new Bench([key(1), SYN]);
  bench.offer(3);
  bench.offer(1);
  assertEquals(bench.received(), "1.");
  const { device } = bench.bench;
  for (const queue of [0, 1]) device.stopRing(queue, false);
  device.disconnected();
  device.featuresAccepted(0n);
  bench.wiring.start();
  bench.offer(4);
  assertEquals(bench.received(), "1.");
});
