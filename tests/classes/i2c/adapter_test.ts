// SPDX-License-Identifier: Apache-2.0
// The bus of a host's adapter: what an adapter that a test plays is asked to do.
import { assertEquals, assertThrows } from "@std/assert";
import {
  Fd,
  I2C_CODES,
  I2cAdapter,
  type I2cAdapterMessage,
  O_RDWR,
  type SmbusCall,
  Watches,
} from "../../../ffi/mod.ts";
import {
  type Adapter,
  AdapterBus,
  addressesOf,
  HostAdapter,
} from "../../../lib/classes/i2c/adapter.ts";
import type { Message } from "../../../lib/classes/i2c/bus.ts";
import { checkI2c } from "../../../lib/classes/i2c/spec.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { until } from "../../support/process.ts";
import { transferBy } from "./transfer.ts";

const { I2C_FUNC_I2C, I2C_FUNC_10BIT_ADDR } = I2C_CODES;
/** Names of the calls of SMBus, by size. */
const SIZES: Readonly<Record<number, string>> = {
  0: "quick",
  1: "byte",
  2: "byte data",
  3: "word data",
  8: "block",
};

class FakeAdapter implements Adapter {
  readonly path = "/dev/i2c-7";
  readonly log: string[] = [];
  /** What calls return, 0 after these. */
  results: number[] = [];
  isClosed = false;

  constructor(readonly functions: number) {}

  transfer(messages: readonly I2cAdapterMessage[], onDone: (result: number) => void): void {
    this.log.push(messages.map(({ address, isRead }) => `${address} ${isRead}`).join("; "));
    onDone(this.results.shift() ?? messages.length);
  }

  smbus(
    { address, isRead, command, size, data }: SmbusCall,
    onDone: (result: number) => void,
  ): void {
    const length = size === 8 ? data[0]! + 1 : size === 3 ? 2 : 1;
    const bytes = isRead ? (size === 8 ? ` ${data[0]}` : "") : ` [${data.slice(0, length)}]`;
    this.log.push(`${address} ${isRead ? "read" : "write"} ${SIZES[size]} ${command}${bytes}`);
    if (isRead && size !== 0) data.set([9, 8, 7, 6].slice(0, 4), size === 8 ? 1 : 0);
    onDone(this.results.shift() ?? 0);
  }

  close(): void {
    this.isClosed = true;
  }
}

const write = (address: number, ...bytes: number[]) => ({
  ...{ address, isTenBit: false, isRead: false, data: Uint8Array.from(bytes) },
});
const read = (address: number, count: number) => ({
  ...{ address, isTenBit: false, isRead: true, data: new Uint8Array(count) },
});

/** A bus, and the adapter below it. */
function busOf(functions: number, allowed: number[] = []): [AdapterBus, FakeAdapter] {
  const adapter = new FakeAdapter(functions);
  return [new AdapterBus(adapter, new Set(allowed)), adapter];
}

Deno.test("i2c: an adapter does a transfer whole, or it is not known which message failed", () => {
  const [bus, adapter] = busOf(I2C_FUNC_I2C);
  assertEquals(transferBy(bus, [write(80, 1), read(80, 2)]), 2);
  adapter.results = [-121, 1, -6];
  for (let i = 0; i < 3; i++) assertEquals(transferBy(bus, [write(80), read(80, 1)]), 0);
  adapter.results = [-19];
  const text = "Cannot transfer by /dev/i2c-7: no such device (ENODEV)";
  assertThrows(() => transferBy(bus, [write(80)]), Error, text);
  assertEquals(adapter.log.slice(0, 1), ["80 false; 80 true"]);
});

Deno.test("i2c: only addresses that are allowed are used", () => {
  const [bus, adapter] = busOf(I2C_FUNC_I2C, [0x50]);
  assertEquals(transferBy(bus, [write(0x50), read(0x51, 1), write(0x50)]), 1);
  assertEquals(transferBy(bus, [write(0x51)]), 0);
  assertEquals(adapter.log, ["80 false"]);
});

Deno.test("i2c: an address of 7 bits that is allowed does not allow that of 10 bits, nor the reverse", () => {
  const [bus, adapter] = busOf(I2C_FUNC_I2C | I2C_FUNC_10BIT_ADDR, [0x50, 0x150]);
  const tenBit = (address: number) => ({ ...write(address), isTenBit: true });
  assertEquals(transferBy(bus, [tenBit(0x50)]), 0);
  assertEquals(transferBy(bus, [write(0x150)]), 0);
  assertEquals(transferBy(bus, [tenBit(0x150), write(0x50), tenBit(0x50)]), 2);
  assertEquals(adapter.log, ["336 false; 80 false"]);
});

Deno.test("i2c: addresses of 10 bits are for adapters that have them", () => {
  const message = { ...write(0x150), isTenBit: true };
  for (const [functions, done] of [[I2C_FUNC_I2C, 0], [I2C_FUNC_I2C | I2C_FUNC_10BIT_ADDR, 1]]) {
    assertEquals(transferBy(busOf(functions!)[0], [message]), done);
  }
});

Deno.test("i2c: an adapter of SMBus alone is asked by its calls", () => {
  const [bus, adapter] = busOf(0);
  const [byte, word, block, own] = [read(80, 1), read(80, 2), read(80, 4), read(80, 1)];
  const rows: [Message[], string][] = [
    [[write(80)], "80 write quick 0 [0]"],
    [[read(80, 0)], "80 read quick 0"],
    [[write(80, 5)], "80 write byte 5 [0]"],
    [[own], "80 read byte 0"],
    [[write(80, 5, 1)], "80 write byte data 5 [1]"],
    [[write(80, 5, 1, 2)], "80 write word data 5 [1,2]"],
    [[write(80, 5, 1, 2, 3)], "80 write block 5 [3,1,2,3]"],
    [[write(80, 5), byte], "80 read byte data 5"],
    [[write(80, 5), word], "80 read word data 5"],
    [[write(80, 5), block], "80 read block 5 4"],
  ];
  for (const [messages, text] of rows) {
    assertEquals(transferBy(bus, messages), messages.length, text);
    assertEquals(adapter.log.pop(), text);
  }
  assertEquals([own, byte, word, block].map(({ data }) => [...data]), [
    [9],
    [9],
    [9, 8],
    [9, 8, 7, 6],
  ]);
});

Deno.test("i2c: what SMBus has no call for is not done", () => {
  const [bus, adapter] = busOf(0);
  const none = [
    [read(80, 2)],
    [write(80, ...new Array(34).fill(1))],
    [write(80, 1), read(80, 33)],
    [write(80, 1, 2), read(80, 1)],
    [{ ...write(80), isTenBit: true }],
  ];
  for (const messages of none) assertEquals(transferBy(bus, messages), 0);
  assertEquals(adapter.log, []);
  assertEquals(transferBy(bus, [write(80, 1), write(80, 2, 3), read(81, 5)]), 2);
  adapter.results = [0, -6];
  assertEquals(transferBy(bus, [write(80, 1), read(80, 1), read(81, 1), write(80)]), 2);
});

Deno.test("i2c: the adapter is given back with its bus", () => {
  const [bus, adapter] = busOf(0);
  bus[Symbol.dispose]();
  assertEquals(adapter.isClosed, true);
});

Deno.test("i2c: what is no adapter and no address is refused, with what to try", () => {
  assertThrows(() => checkI2c({ adapter: "/dev/i2c-none" }), SpecError, "i2cdetect -l lists");
  assertThrows(() => checkI2c({ adapter: "/dev/null" }), SpecError, "as an I2C adapter");
  assertThrows(() => checkI2c({ adapter: "/dev/null", chips: "x" }), SpecError, "Cannot simulate");
  assertThrows(() => checkI2c({ address: ["0x50"] }), SpecError, "without an adapter");
  assertThrows(() => I2cAdapter.openAdapter("/dev/null"), Error, "ENOTTY");
  assertEquals([...addressesOf(["0x50", "8", "0x50"])], [0x50, 8]);
  for (const text of ["", "50h", "-1", "0x400"]) {
    assertThrows(() => addressesOf([text]), SpecError, `Cannot use address "${text}"`);
  }
});

Deno.test("i2c: calls of a host's adapter are made aside, one at a time, and what came of them is told", () =>
  withoutLeaks(async () => {
    using watches = new Watches();
    const turn = (isDone: () => boolean) =>
      until(() => {
        watches.dispatch(watches.epoll.wait(0));
        return isDone();
      }, "the result of a call");
    const open = (functions: number) =>
      new I2cAdapter(Fd.open("/dev/null", O_RDWR).release(), "/dev/null", functions);
    for (const functions of [I2C_FUNC_I2C, 0]) { // I2C_RDWR, and I2C_SMBUS
      const adapter = open(functions);
      const watch: Watches["watch"] = (...parts) => watches.watch(...parts);
      using bus = new AdapterBus(new HostAdapter(adapter, watch), new Set());
      const results: string[] = [];
      for (let i = 0; i < 2; i++) {
        bus.transfer([write(80, 1), read(80, 2)], (done, { message } = new Error()) => {
          results.push(`${done} ${message}`);
        });
        assertThrows(() => adapter.transfer([write(80)]), Error, "its last call is not done");
        assertEquals(results.length, i);
        await turn(() => results.length > i);
      }
      const text = "0 Cannot transfer by /dev/null: not a device of this kind (ENOTTY)";
      assertEquals(results, [text, text]);
    }
  }));
