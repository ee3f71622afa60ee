// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { SlotAllocator } from "../../lib/bridge/slots.ts";
import { randomNumbers } from "../virtio/ring_fixture.ts";

const KIB = 1024;

Deno.test("slots are powers of two from 64 bytes, cut in order, and used again by size", () => {
  const slots = new SlotAllocator(4 * KIB, 8 * KIB, 64);
  assertEquals([1, 64, 65, 0].map((bytes) => slots.take(bytes)), [4096, 4160, 4224, 4352]);
  slots.give(4160, 64);
  slots.give(4224, 65);
  assertEquals([100, 2, 128].map((bytes) => slots.take(bytes)), [4224, 4160, 4416]);
});

Deno.test("what is more than there is finds no room, whatever 32 bits make of it", () => {
  const slots = new SlotAllocator(0, 16 * KIB * KIB, 4);
  for (const bytes of [16 * KIB * KIB + 1, 2 ** 31, 2 ** 31 + 1, 2 ** 32, 2 ** 32 + 64, 2 ** 33]) {
    assertEquals(slots.take(bytes), -1, `${bytes}`);
  }
  assertEquals(slots.take(16 * KIB * KIB), 0);
  assertEquals(slots.take(1), -1);
  slots.give(0, 16 * KIB * KIB);
  assertEquals(slots.take(1), 0);
});

Deno.test("room that was cut small is cut anew when nothing of it is in use", () => {
  const slots = new SlotAllocator(64, 4 * KIB + 64, 64);
  const small = Array.from({ length: 64 }, () => slots.take(64));
  assertEquals(slots.take(64), -1);
  assertEquals(new Set(small).size, 64);
  for (const offset of small.slice(1)) slots.give(offset, 64);
  assertEquals(slots.take(4 * KIB), -1); // one is still out
  slots.give(small[0]!, 64);
  assertEquals(slots.take(4 * KIB), 64);
  slots.give(64, 4 * KIB);
  assertEquals(slots.take(64), 64);
});

Deno.test("no two slots in use overlap, whatever comes and goes", () => {
  const [start, limit, most] = [4 * KIB, 260 * KIB, 32];
  const slots = new SlotAllocator(start, limit, most);
  const random = randomNumbers(0xb0);
  const used: { offset: number; bytes: number }[] = [];
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    if (used.length === most || (used.length > 0 && random(2) === 0)) {
      const [{ offset, bytes }] = used.splice(random(used.length), 1) as [typeof used[0]];
      slots.give(offset, bytes);
      continue;
    }
    const bytes = 1 + random(2 ** random(18));
    const offset = slots.take(bytes);
    if (offset < 0) {
      refused++;
      continue;
    }
    assert(offset >= start && offset + bytes <= limit && offset % 64 === 0);
    const clash = used.find((other) =>
      offset < other.offset + other.bytes && other.offset < offset + bytes
    );
    assertEquals(clash, undefined);
    used.push({ offset, bytes });
  }
  assert(refused > 0, "expected it to be full at times");
});
