// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { MemoryError } from "../../lib/virtio/error.ts";
import { copyBytes, GuestMemory } from "../../lib/virtio/memory.ts";

const low = { guest: 0x1000, buffer: new ArrayBuffer(0x1000) };
const next = { guest: 0x2000, buffer: new ArrayBuffer(0x100) };
const high = { guest: 2 ** 52, buffer: new ArrayBuffer(0x30) };

Deno.test("GuestMemory finds each region up to its last byte, from any region found before", () => {
  const memory = new GuestMemory([high, low, next]);
  assertEquals(memory.regions.map((region) => region.guest), [0x1000, 0x2000, 2 ** 52]);
  for (const [previous] of [[low.guest], [next.guest], [high.guest]] as const) {
    for (const { guest, buffer } of [low, next, high]) {
      const end = guest + buffer.byteLength;
      for (const [address, length] of [[guest, 1], [guest, end - guest], [end - 1, 1]] as const) {
        memory.region(previous, 1);
        assertStrictEquals(memory.region(address, length).buffer, buffer);
      }
    }
  }
});

Deno.test("GuestMemory refuses a range outside one region", () => {
  const refused: [why: string, address: number, length: number][] = [
    ["before memory", 0xfff, 1],
    ["at 0", 0, 1],
    ["begins before", 0xfff, 2],
    ["ends behind", 0x20ff, 2],
    ["crosses two that touch", 0x1fff, 2],
    ["between two", 0x10_0000, 16],
    ["longer than all", 0x1000, 0xffff_ffff],
    ["behind all", 2 ** 52 + 0x30, 1],
    ["an address no number is exact for", 2 ** 64 - 2 ** 11, 1],
    ["no number", NaN, 1],
    ["no length", 0x1000, NaN],
  ];
  const memory = new GuestMemory([low, next, high]);
  for (const [why, address, length] of refused) {
    assertEquals(memory.find(address, length), null, why);
    const error = assertThrows(() => memory.region(address, length), MemoryError);
    assertEquals([error.address, error.length], [address, length], why);
  }
  assertThrows(
    () => new GuestMemory([low]).region(0x1ff0, 32),
    MemoryError,
    "Cannot use 32 bytes at 0x1ff0: memory is 0x1000 to 0x2000",
  );
});

Deno.test("GuestMemory refuses invalid regions", () => {
  const buffer = new ArrayBuffer(32);
  for (const guest of [-16, 8, 0.5, NaN, Infinity, 2 ** 53, 2 ** 53 - 16]) {
    assertThrows(
      () => new GuestMemory([{ guest, buffer }]),
      RangeError,
      "Cannot place",
      `${guest}`,
    );
  }
  const empty = { guest: 0, buffer: new ArrayBuffer(0) };
  assertThrows(() => new GuestMemory([empty]), RangeError, "expected at least one");
  assertThrows(() => new GuestMemory([]), RangeError, "no regions");
  const overlapping = [{ guest: 16, buffer }, { guest: 0, buffer }];
  assertThrows(() => new GuestMemory(overlapping), RangeError, "the region before it ends at 0x20");
});

Deno.test("RegionView's views show one memory, also of an odd length", () => {
  const view = new GuestMemory([{ guest: 0, buffer: new ArrayBuffer(7) }]).region(0, 7);
  view.view.setUint32(0, 0x04030201, true);
  assertEquals([view.u8.length, view.u16.length, view.u32.length], [7, 3, 1]);
  assertEquals([view.u8[2], view.u16[1], view.u32[0]], [3, 0x0403, 0x04030201]);
});

Deno.test("copyBytes() copies short and long ranges and touches nothing beside them", () => {
  const source = Uint8Array.from({ length: 200 }, (_, i) => i + 1);
  for (const length of [0, 1, 31, 32, 33, 100]) {
    const target = new Uint8Array(200);
    copyBytes(target, 10, source, 20, length);
    const expected = new Uint8Array(200);
    for (let i = 0; i < length; i++) expected[10 + i] = 21 + i;
    assertEquals(target, expected);
  }
});

Deno.test("GuestMemory maps a missing range once, when it is first used", () => {
  const asked: number[] = [];
  const memory = new GuestMemory([], (address, length) => {
    asked.push(address);
    const guest = address - address % 0x1000;
    return address + length <= 0x10000 ? { guest, buffer: new ArrayBuffer(0x2000) } : null;
  });
  assertEquals(memory.region(0x4010, 16).guest, 0x4000);
  assertEquals(memory.region(0x5ff0, 16).guest, 0x4000);
  assertEquals(memory.region(0x5ff8, 16).guest, 0x5000);
  assertEquals(asked, [0x4010, 0x5ff8]);
  assertEquals(memory.find(0xfff8, 16), null);
  assertThrows(() => memory.region(0xfff8, 16), MemoryError, "0xfff8");
});
