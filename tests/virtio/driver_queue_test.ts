// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { MemoryError, RingError } from "../../lib/virtio/error.ts";
import { DriverQueue, type Segment } from "../../lib/virtio/split_ring.ts";
import { DATA, GUEST, RawRing } from "./ring_fixture.ts";

const TABLES = 0x4000;

function piece(address: number, length: number, writable = false): Segment {
  return { address, length, writable };
}

Deno.test("add() links free descriptors and take() frees them", () => {
  const raw = new RawRing(4);
  const queue = new DriverQueue<string>(raw.driver());
  assert(queue.add([piece(DATA, 1), piece(DATA + 1, 2), piece(DATA + 3, 4, true)], "a"));
  assert(queue.add([piece(DATA + 7, 8, true)], "b"));
  assertEquals([queue.freeCount, queue.add([piece(DATA, 1)], "c")], [0, false]);
  assertEquals(
    raw.hex(0, 64),
    "0080004001000000" + "01000000" + "01000100" +
      "0180004001000000" + "02000000" + "01000200" +
      "0380004001000000" + "04000000" + "02000300" +
      "0780004001000000" + "08000000" + "0200ffff",
  );
  assertEquals(raw.hex(0x1000, 8), "0000" + "0200" + "0000" + "0300");
  assertEquals(queue.take(), null);
  raw.usedRing(0, [3, 8]);
  raw.usedRing(1, [0, 0]);
  raw.usedIdx(2);
  assertEquals(queue.take(), { token: "b", length: 8 });
  assertEquals(queue.freeCount, 1);
  assertEquals(queue.take(), { token: "a", length: 0 });
  assertEquals([queue.freeCount, queue.take()], [4, null]);
});

Deno.test("add() puts several segments in an indirect table, and one in the ring", () => {
  const raw = new RawRing(4);
  const indirect = { memory: raw.memory, address: GUEST + TABLES, entries: 3 };
  const queue = new DriverQueue<number>(raw.driver(), indirect);
  const three = [piece(DATA, 1), piece(DATA + 1, 2, true), piece(DATA + 3, 4, true)];
  assert(queue.add([piece(DATA, 16)], 0));
  assert(queue.add(three, 1));
  assertEquals(queue.freeCount, 2);
  assertEquals(raw.hex(0, 16), "0080004001000000" + "10000000" + "00000100");
  assertEquals(raw.hex(16, 16), "3040004001000000" + "30000000" + "04000000");
  assertEquals(
    raw.hex(TABLES + 48, 48),
    "0080004001000000" + "01000000" + "01000100" +
      "0180004001000000" + "02000000" + "03000200" +
      "0380004001000000" + "04000000" + "02000300",
  );
  assertEquals(queue.add([...three, piece(DATA, 1, true)], 2), false, "too long for a table");
  raw.usedRing(0, [1, 6]);
  raw.usedIdx(1);
  assertEquals(queue.take(), { token: 1, length: 6 });
  assertEquals(queue.freeCount, 3);
  assert(queue.add(three, 3) && queue.add(three, 4) && queue.add(three, 5));
  assertEquals([queue.freeCount, queue.add([piece(DATA, 1)], 6)], [0, false]);
  assertEquals(queue.add(three, 7), false);
});

Deno.test("add() finds no room in a full ring, however long the buffer that a table would hold", () => {
  const raw = new RawRing(1);
  const indirect = { memory: raw.memory, address: GUEST + TABLES, entries: 2 };
  const queue = new DriverQueue<number>(raw.driver(), indirect);
  const two = [piece(DATA, 1), piece(DATA + 1, 1, true)];
  assertEquals([queue.add(two, 0), queue.add(two, 1)], [true, false]);
});

Deno.test("take() refuses more bytes than there was room for", () => {
  const raw = new RawRing(4);
  const queue = new DriverQueue<string>(raw.driver());
  queue.add([piece(DATA, 100), piece(DATA, 8, true)], "a");
  raw.usedRing(0, [0, 9]);
  raw.usedIdx(1);
  const reason =
    "Cannot take a used chain from queue 3 of card0: 9 bytes written, expected up to 8";
  assertThrows(() => queue.take(), RingError, reason);
});

Deno.test("add() refuses invalid buffers, and does not change the ring", () => {
  const raw = new RawRing(4);
  const indirect = { memory: raw.memory, address: GUEST + TABLES, entries: 2 };
  const queue = new DriverQueue<string>(raw.driver(), indirect);
  const before = raw.bytes.slice();
  assertThrows(() => queue.add([], ""), RangeError, "a buffer of 0 segments, expected 1 to 4");
  const five = Array.from({ length: 5 }, () => piece(DATA, 1));
  assertThrows(() => queue.add(five, ""), RangeError, "a buffer of 5 segments, expected 1 to 4");
  const backwards = [piece(DATA, 1, true), piece(DATA, 1)];
  assertThrows(
    () => queue.add(backwards, ""),
    RangeError,
    "a readable segment after a writable one",
  );
  assertEquals([raw.bytes, queue.freeCount], [before, 4]);
});

Deno.test("indirect tables must lie in memory", () => {
  const raw = new RawRing(4);
  const indirect = { memory: raw.memory, address: GUEST + 0x10000 - 4 * 32 + 16, entries: 2 };
  assertThrows(() => new DriverQueue(raw.driver(), indirect), MemoryError, "Cannot use 128 bytes");
});

Deno.test("a queue with one descriptor can be used again and again", () => {
  const raw = new RawRing(1);
  const queue = new DriverQueue<number>(raw.driver({ start: 65000 }));
  for (let i = 0; i < 2000; i++) {
    assert(queue.add([piece(DATA, 1)], i));
    assertEquals(queue.add([piece(DATA, 1)], i), false);
    raw.usedRing(0, [0, 0]);
    raw.usedIdx((raw.usedIdx() + 1) & 0xffff);
    assertEquals(queue.take()?.token, i);
  }
});
