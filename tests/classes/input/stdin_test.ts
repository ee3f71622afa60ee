// SPDX-License-Identifier: Apache-2.0
// Events by standard input, which a pipe of the test is.
import { assertEquals, assertThrows } from "@std/assert";
import { createPipe, type Fd, setNonblocking, writeFd } from "../../../ffi/mod.ts";
import { input } from "../../../lib/classes/input/class.ts";
import {
  createInput,
  device as role,
  type InputDeviceContract,
} from "../../../lib/classes/input/device.ts";
import { parseEvents } from "../../../lib/classes/input/events_file.ts";
import { StdinSource } from "../../../lib/classes/input/stdin_source.ts";
import { decodeEvent } from "../../../lib/classes/input/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

const HEAD = '{"codes": {"EV_KEY": [30]}}';
const key = (value: number) => `{"type": "EV_KEY", "code": 30, "value": ${value}}\n`;

/** An input device at its queues, and what is at its standard input. */
class Bench implements Disposable {
  readonly bench: DeviceBench<InputDeviceContract>;
  readonly wiring: Wiring;
  readonly #input: Fd;
  readonly #output: Fd;
  readonly #places = new Map<number, number>();
  #token = 0;

  constructor(lines = "") {
    ({ reader: this.#input, writer: this.#output } = createPipe());
    setNonblocking(this.#input);
    const file = parseEvents(`${HEAD}\n${lines}`, "f");
    this.bench = new DeviceBench<InputDeviceContract>({
      deviceClass: input,
      check: () => {},
      create: (_, host) =>
        createInput(new StdinSource(file, host, () => this.#input.duplicate()), host),
    }, {});
    this.wiring = new Wiring(this.bench.device);
  }

  begin(buffers = 30): this {
    this.bench.device.featuresAccepted(0n);
    this.wiring.start();
    for (let i = 0; i < buffers; i++) {
      this.#places.set(++this.#token, this.wiring.offer(0, this.#token, [], [8])[0]!);
    }
    return this;
  }

  end(): void {
    for (const queue of [0, 1]) this.bench.device.stopRing(queue, false);
    this.bench.device.disconnected();
  }

  type(text: string): void {
    const bytes = new TextEncoder().encode(text);
    assertEquals(writeFd(this.#output.number, bytes, 0, bytes.length), bytes.length);
  }

  /** Nothing more comes. */
  close(): void {
    this.#output.close();
  }

  /** Values that the driver got since the last call, after what the epoll tells. */
  received(): number[] {
    this.bench.watches.dispatch(this.bench.watches.epoll.wait(0));
    this.bench.device.turn();
    const values: number[] = [];
    for (let used; (used = this.wiring.queues[0]!.take()) !== null;) {
      if (used.length === 0) continue;
      const view = new DataView(this.wiring.buffer, this.#places.get(used.token)!, 8);
      values.push(decodeEvent(view)!.value);
    }
    return values;
  }

  get errors(): string[] {
    return this.bench.events.filter(({ kind }) => kind === "error").map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
    this.#input.close();
    this.#output.close();
  }
}

Deno.test("input: lines of standard input are events as they come, after those of the file", () => {
  using bench = new Bench(key(1)).begin();
  assertEquals(bench.received(), [1]);
  bench.type(key(2) + "\n" + key(3).slice(0, 9));
  assertEquals(bench.received(), [2]);
  bench.type(key(3).slice(9) + '{"wait": 20}\n' + key(4));
  assertEquals(bench.received(), [3]);
  bench.bench.clock.pass(20);
  assertEquals(bench.received(), [4]);
  bench.type(key(5).trim());
  assertEquals(bench.received(), []);
  bench.close();
  assertEquals(bench.received(), [5], "the last line need not end");
  assertEquals([bench.errors, bench.bench.clock.alarm], [[], Infinity]);
});

Deno.test("input: a wrong line of standard input is told with its number, and the next is taken", () => {
  using bench = new Bench().begin();
  bench.type(key(1) + '{"type": "EV_KEY", "code": 31, "value": 0}\nno\n' + key(2));
  assertEquals(bench.received(), [1, 2]);
  assertEquals(bench.errors.map((text) => text.slice(0, 42)), [
    "Cannot use line 2 of standard input: code ",
    "Cannot use line 3 of standard input: Unexp",
  ]);
  bench.type("x".repeat(10_000) + key(3) + key(4));
  assertEquals(bench.received(), [4]);
  assertEquals(bench.errors.length, 3, "a line that is too long is wrong, as a whole");
});

Deno.test("input: however many lines are wrong, a turn ends", () => {
  using bench = new Bench().begin();
  bench.type("no\n".repeat(100) + key(1));
  assertEquals([bench.received(), bench.errors.length], [[], 32]);
  bench.bench.clock.pass(0);
  for (let i = 0; i < 10; i++) bench.bench.clock.pass(1);
  assertEquals([bench.received(), bench.errors.length], [[1], 100]);
});

Deno.test("input: lines wait in standard input while there is no driver", () => {
  using bench = new Bench();
  bench.type(key(1) + key(2));
  bench.begin(1);
  assertEquals(bench.received(), [1]);
  bench.end();
  bench.type(key(3));
  assertEquals(bench.received(), []);
  assertEquals(
    bench.begin(5).received(),
    [3],
    "the one that waited for a buffer is gone with its driver",
  );
});

Deno.test("input: standard input alone does not say what the device is", () => {
  assertThrows(() => role.check({ stdin: "yes" }), SpecError, "expected a file whose first line");
});
