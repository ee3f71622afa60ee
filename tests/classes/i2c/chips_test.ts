// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { type Chip, Eeprom, Registers, Rtc, SimulatedBus } from "../../../lib/classes/i2c/chips.ts";
import { transferBy } from "./transfer.ts";

function read(chip: Chip, at: number[], count: number): number[] {
  const bytes = new Uint8Array(count);
  if (at.length > 0) chip.write(Uint8Array.from(at));
  chip.read(bytes);
  return [...bytes];
}

const eeprom = (size: number, page: number, addressBytes: number, writes: number[][] = []) =>
  new Eeprom(
    new Uint8Array(size).fill(0xff),
    page,
    addressBytes,
    (at, length) => writes.push([at, length]),
  );

Deno.test("i2c: an EEPROM is written page by page, and read over its end", () => {
  const writes: number[][] = [];
  const chip = eeprom(32, 8, 1, writes);
  chip.write(Uint8Array.of(14, 1, 2, 3)); // the third byte is the first of its page
  assertEquals(read(chip, [8], 8), [3, 255, 255, 255, 255, 255, 1, 2]);
  chip.write(Uint8Array.of(31, 9));
  assertEquals(read(chip, [30], 4), [255, 9, 255, 255]);
  assertEquals(writes, [[8, 8], [24, 8]]);
});

Deno.test("i2c: an EEPROM goes on reading where it was, and knows as many bits as it has", () => {
  const chip = eeprom(32, 8, 1);
  chip.write(Uint8Array.of(0, 1, 2, 3));
  assertEquals([read(chip, [0x20], 1), read(chip, [], 1)], [[1], [2]]);
  chip.write(new Uint8Array(0)); // it is only asked whether it is there
  assertEquals(read(chip, [], 1), [3]);
});

Deno.test("i2c: a large EEPROM takes two bytes of address", () => {
  const chip = eeprom(4096, 32, 2);
  chip.write(Uint8Array.of(0x01, 0x02, 7));
  assertEquals([read(chip, [0x01, 0x02], 1), read(chip, [0x00, 0x02], 1)], [[7], [255]]);
  chip.write(Uint8Array.of(0x01)); // half an address is none
  assertEquals(read(chip, [], 1), [255]);
});

Deno.test("i2c: registers count up, and over the last", () => {
  const chip = new Registers(new Uint8Array(256));
  chip.write(Uint8Array.of(254, 1, 2, 3));
  assertEquals(read(chip, [254], 4), [1, 2, 3, 0]);
  assertEquals(read(chip, [], 1), [0]);
});

Deno.test("i2c: a clock tells the host's time in BCD, until it is set", () => {
  let now = Date.UTC(2026, 10, 28, 23, 59, 58);
  const rtc = new Rtc(() => now);
  assertEquals(read(rtc, [0], 8), [0x58, 0x59, 0x23, 7, 0x28, 0x11, 0x26, 0]);
  now += 3000;
  assertEquals(read(rtc, [0], 7), [0x01, 0x00, 0x00, 1, 0x29, 0x11, 0x26]);
  rtc.write(Uint8Array.of(0, 0x30, 0x15, 0x08, 5, 0x31, 0x12, 0x99));
  now += 40_000;
  assertEquals(read(rtc, [0], 7), [0x10, 0x16, 0x08, 5, 0x31, 0x12, 0x99]);
});

Deno.test("i2c: a clock that is set in the mode of 12 hours tells them so", () => {
  let now = 0;
  const rtc = new Rtc(() => now);
  const HOUR = 3_600_000;
  const rows: [set: number, after: number, hours: number][] = [
    [0x52, 0x52, 0], // 12 at night
    [0x41, 0x41, 1],
    [0x51, 0x51, 11],
    [0x72, 0x72, 12], // noon
    [0x61, 0x61, 13],
    [0x71, 0x71, 23],
  ];
  for (const [set, after, hours] of rows) {
    rtc.write(Uint8Array.of(0, 0, 0, set, 1, 0x01, 0x06, 0x26));
    assertEquals(read(rtc, [2], 1), [after]);
    now += (24 - hours) * HOUR; // to midnight, in the same mode
    assertEquals(read(rtc, [2], 3), [0x52, 3, 0x02]);
  }
  rtc.write(Uint8Array.of(2, 0x15)); // the mode of 24 hours again
  now += HOUR;
  assertEquals(read(rtc, [2], 1), [0x16]);
});

Deno.test("i2c: a clock that is halted stands, and goes on from there", () => {
  let now = Date.UTC(2026, 0, 1);
  const rtc = new Rtc(() => now);
  rtc.write(Uint8Array.of(0, 0x80 | 0x42));
  now += 60_000;
  assertEquals(read(rtc, [0], 2), [0xc2, 0x00]);
  rtc.write(Uint8Array.of(0, 0x42));
  now += 1000;
  assertEquals(read(rtc, [0], 2), [0x43, 0x00]);
});

Deno.test("i2c: a clock has memory of 57 bytes, and begins again after that", () => {
  const rtc = new Rtc(() => 0);
  rtc.write(Uint8Array.of(62, 1, 2));
  assertEquals(read(rtc, [62], 3), [1, 2, 0x00]);
  rtc.write(Uint8Array.of(7, 0x13));
  assertEquals(read(rtc, [7], 1), [0x13]);
});

Deno.test("i2c: nobody answers at other addresses, nor what comes after", () => {
  const chip = eeprom(32, 8, 1);
  const bus = new SimulatedBus(new Map([[0x50, chip]]));
  const message = (address: number, isRead: boolean, bytes: number[], isTenBit = false) => ({
    address,
    isTenBit,
    isRead,
    data: Uint8Array.from(bytes),
  });
  const write = message(0x50, false, [0, 5]);
  assertEquals(transferBy(bus, [write, message(0x51, true, [0]), message(0x50, false, [0, 6])]), 1);
  const got = message(0x50, true, [0]);
  assertEquals([transferBy(bus, [message(0x50, false, [0]), got]), got.data[0]], [2, 5]);
  assertEquals(transferBy(bus, [message(0x50, true, [0], true)]), 0);
  assertEquals(transferBy(bus, [message(0x50, true, []), message(0x50, false, [])]), 2);
});
