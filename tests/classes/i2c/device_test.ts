// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  type Bus,
  MAX_MESSAGE_BYTES,
  type Message,
  type OnTransferred,
} from "../../../lib/classes/i2c/bus.ts";
import { i2c } from "../../../lib/classes/i2c/class.ts";
import { createI2c, type I2cDeviceContract } from "../../../lib/classes/i2c/device.ts";
import {
  encodeOutHeader,
  FLAGS_FAIL_NEXT as NEXT,
  FLAGS_M_RD as RD,
  MSG_ERR as ERR,
  MSG_OK as OK,
} from "../../../lib/classes/i2c/wire.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

/** A bus that notes its transfers; a chip at 0x50, which reads 1, 2, 3 …, and nobody else. */
class FakeBus implements Bus {
  readonly name = "/dev/i2c-7";
  readonly transfers: string[] = [];
  isClosed = false;
  fault: Error | null = null;
  /** It answers when it is told to. */
  isSlow = false;
  answer = (): void => {};

  transfer(messages: readonly Message[], onTransferred: OnTransferred): void {
    if (this.fault !== null) return onTransferred(0, this.fault);
    const text = messages.map(({ address, isRead, data }) =>
      `${address.toString(16)} ${isRead ? `read ${data.length}` : `write ${[...data]}`}`
    );
    this.transfers.push(text.join("; "));
    const done = messages.findIndex(({ address }) => address !== 0x50);
    this.answer = () => {
      for (const { data, isRead } of messages) if (isRead) data.forEach((_, i) => data[i] = i + 1);
      onTransferred(done < 0 ? messages.length : done);
    };
    if (!this.isSlow) this.answer();
  }

  [Symbol.dispose](): void {
    this.isClosed = true;
  }
}

/** An adapter at its queue. */
class Bench implements Disposable {
  readonly bus = new FakeBus();
  /** Of each request that was answered, the last byte of its room: the used length need not reach it. */
  readonly statuses: number[] = [];
  readonly bench = new DeviceBench<I2cDeviceContract>({
    deviceClass: i2c,
    check: () => {},
    create: (_, host) => createI2c(host, this.bus),
  }, {});
  readonly wiring = new Wiring(this.bench.device, 256);
  readonly #places = new Map<number, { readonly at: number; readonly room: number }>();
  #token = 0;

  constructor(features = 1n) {
    this.bench.device.featuresAccepted(features);
    this.wiring.start();
  }

  /** Offers a request of any pieces. */
  offer(pieces: Uint8Array[], room: number): void {
    const token = ++this.#token;
    const [at] = this.wiring.offer(0, token, pieces, room === 0 ? [] : [room]);
    this.#places.set(token, { at: at ?? 0, room });
  }

  write(address: number, flags: number, ...bytes: number[]): void {
    const header = encodeOutHeader({ addr: address << 1, flags });
    this.offer([header, ...(bytes.length > 0 ? [Uint8Array.from(bytes)] : [])], 1);
  }

  read(address: number, flags: number, count: number): void {
    this.offer([encodeOutHeader({ addr: address << 1, flags: flags | RD })], count + 1);
  }

  /** What was answered since the last call: of each request the bytes that were written. */
  answers(): number[][] {
    const all: number[][] = [];
    const [queue] = this.wiring.queues;
    for (let used = queue!.take(); used !== null; used = queue!.take()) {
      const { at, room } = this.#places.get(used.token)!;
      const { bytes } = this.wiring;
      all.push([...bytes.slice(at, at + used.length)]);
      this.statuses.push(bytes[at + room - 1]!);
    }
    return all;
  }

  [Symbol.dispose](): void {
    this.bench[Symbol.dispose]();
  }
}

Deno.test("i2c: a request by itself is a transfer, of no bytes too", () => {
  using bench = new Bench();
  bench.write(0x50, 0, 1, 2, 3);
  bench.read(0x50, 0, 2);
  bench.write(0x50, 0);
  bench.read(0x50, 0, 0);
  assertEquals(bench.answers(), [[OK], [1, 2, OK], [OK], [OK]]);
  assertEquals(bench.bus.transfers, ["50 write 1,2,3", "50 read 2", "50 write ", "50 read 0"]);
});

Deno.test("i2c: requests of a group are one transfer", () => {
  using bench = new Bench();
  bench.write(0x50, NEXT, 7);
  bench.read(0x50, NEXT, 3);
  assertEquals(bench.answers(), []);
  bench.write(0x50, 0, 9);
  assertEquals(bench.answers(), [[OK], [1, 2, 3, OK], [OK]]);
  assertEquals(bench.bus.transfers, ["50 write 7; 50 read 3; 50 write 9"]);
});

Deno.test("i2c: of a group the first request that fails, and all after it, have failed", () => {
  using bench = new Bench();
  bench.write(0x50, NEXT, 7);
  bench.read(0x51, NEXT, 2);
  bench.read(0x50, 0, 1);
  bench.write(0x50, 0, 8); // the next group
  assertEquals(bench.answers(), [[OK], [0, 0, ERR], [0, ERR], [OK]]);
});

Deno.test("i2c: nobody at an address is an error", () => {
  using bench = new Bench();
  bench.write(0x51, 0);
  bench.read(0x51, 0, 1);
  assertEquals(bench.answers(), [[ERR], [0, ERR]]);
  assertEquals(bench.bench.events, []);
});

Deno.test("i2c: a group whose end does not come is done as it is, and its rest is as good as that", () => {
  using bench = new Bench();
  bench.write(0x50, NEXT, 1);
  bench.bench.clock.pass(9);
  assertEquals(bench.answers(), []);
  bench.bench.clock.pass(1);
  assertEquals(bench.answers(), [[OK]]);
  bench.write(0x51, NEXT, 1);
  bench.bench.clock.pass(10);
  bench.write(0x50, NEXT, 2);
  bench.bench.clock.pass(10);
  bench.write(0x50, 0, 3); // the end of the group that has failed
  bench.write(0x50, 0, 4);
  assertEquals(bench.answers(), [[ERR], [ERR], [ERR], [OK]]);
  assertEquals(bench.bus.transfers, ["50 write 1", "51 write 1", "50 write 4"]);
  assertEquals(bench.bench.clock.alarm, Infinity);
});

Deno.test("i2c: a group of more messages than a transfer has fails whole, and keeps nothing", () => {
  using bench = new Bench();
  for (let i = 0; i < 45; i++) bench.write(0x50, NEXT);
  bench.write(0x50, 0);
  assertEquals(bench.answers(), new Array(46).fill([ERR]));
  bench.write(0x50, 0);
  assertEquals([bench.answers(), bench.bus.transfers], [[[OK]], ["50 write "]]);
});

Deno.test("i2c: requests that break a rule fail, and what comes before them is done", () => {
  using bench = new Bench();
  const header = (addr: number, flags: number) => encodeOutHeader({ addr, flags });
  const byte = Uint8Array.of(1);
  bench.offer([header(0xa1, 0), byte], 1); // no address
  bench.offer([header(0xa0, 4), byte], 1); // a reserved flag
  bench.offer([header(0xa0, 0), byte], 3); // written, with room to read
  bench.offer([header(0xa0, RD), byte], 3); // read, with bytes to write
  bench.offer([header(0xa0, RD)], 8194);
  bench.offer([header(0xa0, 0).subarray(0, 7)], 1);
  const answers = bench.answers();
  assertEquals(bench.statuses, [ERR, ERR, ERR, ERR, ERR, ERR]);
  assertEquals(answers.every((bytes) => bytes.slice(0, -1).every((one) => one === 0)), true);
  bench.write(0x50, NEXT, 1);
  bench.offer([header(0xa0, 4 | NEXT)], 1);
  bench.write(0x50, 0, 2);
  assertEquals(bench.answers(), [[OK], [ERR], [ERR]]);
  assertEquals(bench.bus.transfers, ["50 write 1"]);
});

Deno.test("i2c: a request without room for its status is refused, and told of", () => {
  using bench = new Bench();
  bench.offer([encodeOutHeader({ addr: 0xa0, flags: 0 })], 0);
  assertEquals(bench.answers(), [[]]);
  assertEquals(bench.bench.events.map(({ kind }) => kind), ["error"]);
});

Deno.test("i2c: a driver that does not accept zero-length requests gets nothing done", () => {
  using bench = new Bench(0n);
  assertEquals(bench.bench.device.features & 1n, 1n);
  bench.write(0x50, NEXT, 1);
  bench.write(0x50, 0, 1);
  assertEquals([bench.answers(), bench.bus.transfers], [[[ERR], [ERR]], []]);
});

Deno.test("i2c: of a buffer larger than a message no more is counted than was written", () => {
  using bench = new Bench();
  bench.wiring.bytes.fill(0xaa, 0x10000);
  bench.read(0x50, 0, MAX_MESSAGE_BYTES);
  bench.read(0x50, 0, MAX_MESSAGE_BYTES + 1);
  const [largest, larger] = bench.answers();
  assertEquals([largest!.length, largest!.at(-1)], [MAX_MESSAGE_BYTES + 1, OK]);
  assertEquals(larger, new Array(MAX_MESSAGE_BYTES).fill(0));
  assertEquals(bench.statuses, [OK, ERR]);
  assertEquals(bench.bus.transfers, [`50 read ${MAX_MESSAGE_BYTES}`]);
});

Deno.test("i2c: a bus that fails otherwise is told of", () => {
  using bench = new Bench();
  bench.bus.fault = new Error("Cannot transfer by /dev/i2c-7: no such device (ENODEV)");
  bench.read(0x50, 0, 2);
  assertEquals(bench.answers(), [[0, 0, ERR]]);
  assertEquals(bench.bench.events.map(({ text }) => text), [bench.bus.fault.message]);
});

Deno.test("i2c: a queue that stops has its group done; one that is abandoned forgets it", () => {
  for (const abandoned of [false, true]) {
    using bench = new Bench();
    bench.write(0x50, NEXT, 1);
    bench.bench.device.stopRing(0, abandoned);
    assertEquals(bench.answers(), abandoned ? [] : [[OK]]);
    assertEquals(bench.bench.clock.alarm, Infinity);
    bench.wiring.start();
    bench.write(0x50, 0, 2);
    assertEquals(bench.answers(), [[OK]]);
  }
});

Deno.test("i2c: the bus is given back at the end", () => {
  const bench = new Bench();
  bench[Symbol.dispose]();
  assertEquals(bench.bus.isClosed, true);
});

/** A bench whose bus answers when it is told to. */
function slowBench(): Bench {
  const bench = new Bench();
  bench.bus.isSlow = true;
  return bench;
}

/** The bus answers, and the device takes a turn, as after any event. */
function answered({ bus, bench: { device } }: Bench): void {
  bus.answer();
  device.turn();
}

Deno.test("i2c: a device whose bus takes its time waits for none, and does one transfer at a time", () => {
  using bench = slowBench();
  bench.read(0x50, 0, 2);
  bench.write(0x50, NEXT, 7);
  bench.read(0x51, 0, 1);
  bench.write(0x50, 0, 8);
  assertEquals([bench.answers(), bench.bus.transfers], [[], ["50 read 2"]]);
  answered(bench);
  assertEquals(bench.answers(), [[1, 2, OK]]);
  answered(bench);
  assertEquals(bench.answers(), [[OK], [0, ERR]]);
  answered(bench);
  assertEquals(bench.answers(), [[OK]]);
  assertEquals(bench.bus.transfers, ["50 read 2", "50 write 7; 51 read 1", "50 write 8"]);
  assertEquals(bench.bench.clock.alarm, Infinity);
});

Deno.test("i2c: a group that came in two parts fails after its first part, though that took its time", () => {
  using bench = slowBench();
  bench.write(0x51, NEXT, 1);
  bench.bench.clock.pass(10);
  bench.write(0x50, 0, 2);
  assertEquals([bench.answers(), bench.bus.transfers], [[], ["51 write 1"]]);
  answered(bench);
  assertEquals([bench.answers(), bench.bus.transfers], [[[ERR], [ERR]], ["51 write 1"]]);
});

Deno.test("i2c: a bus that takes too long is told of, and all requests fail until it answers", () => {
  using bench = slowBench();
  bench.read(0x50, 0, 1000);
  bench.write(0x50, 0, 1);
  bench.bench.clock.pass(10_999); // 10 s, and a millisecond for each byte
  assertEquals(bench.answers(), []);
  bench.bench.clock.pass(1);
  assertEquals(bench.answers(), [[...new Array(1000).fill(0), ERR], [ERR]]);
  assertEquals(bench.bench.events.map(({ text }) => text), [
    "Cannot finish a transfer by /dev/i2c-7: no answer in time, and what follows fails until there is one (does a chip hold the bus?)",
  ]);
  bench.write(0x50, 0, 2);
  assertEquals([bench.answers(), bench.bench.clock.alarm], [[[ERR]], Infinity]);
  answered(bench);
  bench.write(0x50, 0, 3);
  answered(bench);
  assertEquals([bench.answers(), bench.bus.transfers.at(-1)], [[[OK]], "50 write 3"]);
  assertEquals(bench.bench.events.length, 1);
});

Deno.test("i2c: a queue that is to stop has its transfers done, as far as there is time", () => {
  for (const isInTime of [true, false]) {
    using bench = slowBench();
    const { device, clock } = bench.bench;
    bench.read(0x50, 0, 20_000 / 8); // it has the time by itself
    bench.write(0x50, NEXT, 1);
    const drain = () => device.drainRing(0);
    assertEquals([drain(), bench.answers()], [false, []]);
    if (isInTime) {
      answered(bench);
      assertEquals([bench.wiring.rings[0]!.isDrained, bench.answers().length], [false, 1]);
      answered(bench);
      assertEquals(bench.answers(), [[OK]]);
    } else {
      clock.pass(12_500);
      assertEquals(bench.statuses, []);
      assertEquals([bench.answers().length, bench.statuses], [2, [ERR, ERR]]);
    }
    assertEquals(bench.wiring.rings[0]!.isDrained, true);
    device.stopRing(0, false);
    assertEquals(clock.alarm, Infinity);
  }
});

Deno.test("i2c: what an abandoned queue's transfer reads goes nowhere, and the next queue waits for the bus", () => {
  using bench = slowBench();
  bench.read(0x50, 0, 2);
  bench.write(0x50, 0, 1);
  bench.bench.device.stopRing(0, true);
  bench.wiring.start();
  bench.read(0x50, 0, 1);
  assertEquals(bench.bus.transfers, ["50 read 2"]);
  answered(bench);
  assertEquals([bench.answers(), bench.bus.transfers], [[], ["50 read 2", "50 read 1"]]);
  answered(bench);
  assertEquals(bench.answers(), [[1, OK]]);
});
