// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { Chain, DeviceRing } from "../../lib/virtio/split_ring.ts";
import { DATA, GUEST, INDIRECT, NEXT, RawRing, segments, WRITE } from "./ring_fixture.ts";

/** Where the fixtures put an indirect table, as an offset in memory. */
const TABLE = 0x4000;

Deno.test("pop() and complete() read and write the bytes of the standard", () => {
  const raw = new RawRing(4);
  raw.bytes.set(
    Uint8Array.fromHex(
      // u64 address, u32 length, u16 flags, u16 next
      "00900040010000000010000002000300" + // 0: 0x1000 bytes to write at 0x1_4000_9000
        "00000000000000000000000000000000" +
        "00800040010000001000000001000000" + // 2: 0x10 bytes to read at 0x1_4000_8000, then 0
        "00000000000000000000000000000000",
    ),
  );
  raw.bytes.set(Uint8Array.fromHex("0000" + "0100" + "0200"), 0x1000); // flags, idx, ring[0]
  const ring = raw.device();
  const chain = new Chain();
  assert(ring.pop(chain));
  assertEquals(chain.head, 2);
  assertEquals(segments(chain), [[2, 0x1_4000_8000, 0x10], [0, 0x1_4000_9000, 0x1000]]);
  assertEquals([chain.readableCount, chain.writableCount], [1, 1]);
  assertEquals([chain.readableBytes, chain.writableBytes], [0x10, 0x1000]);
  assertEquals([chain.directCount, chain.tableIndex], [2, -1]);
  assertEquals([ring.nextAvail, ring.usedIdx, ring.pending], [1, 0, 1]);
  assertEquals(ring.pop(chain), false);
  ring.complete(2, 0x01020304);
  assertEquals(raw.hex(0x2000, 12), "0000" + "0100" + "02000000" + "04030201");
  assertEquals([ring.nextAvail, ring.usedIdx, ring.pending], [1, 1, 0]);
});

Deno.test("pop() follows indirect tables: alone, at the end of a chain, anywhere in memory", () => {
  const tables: [at: number, flags: number][] = [[TABLE, INDIRECT], [
    TABLE + 1,
    INDIRECT | WRITE, // WRITE on the reference means nothing
  ], [0x10000 - 64, INDIRECT]];
  for (const [at, flags] of tables) {
    const raw = new RawRing(4);
    raw.desc(0, DATA, 1, NEXT, 3);
    raw.desc(3, GUEST + at, 64, flags);
    raw.desc(0, DATA + 1, 2, NEXT, 3, at); // descriptor 2 of the table is unused
    raw.desc(3, DATA + 3, 4, NEXT | WRITE, 1, at);
    raw.desc(1, DATA + 7, 8, WRITE, 0xffff, at);
    raw.offer(0, 3, 0);
    const ring = raw.device();
    const chain = new Chain();
    assert(ring.pop(chain));
    const inTable = [[0, DATA + 1, 2], [3, DATA + 3, 4], [1, DATA + 7, 8]];
    assertEquals(segments(chain) as number[][], inTable);
    assertEquals([chain.head, chain.directCount, chain.tableIndex], [3, 0, 3]);
    assert(ring.pop(chain));
    assertEquals(segments(chain) as number[][], [[0, DATA, 1], ...inTable]);
    assertEquals([chain.head, chain.directCount, chain.tableIndex], [0, 1, 3]);
    assertEquals([chain.readableBytes, chain.writableBytes], [3, 12]);
  }
});

Deno.test("a chain may take the whole table, and a table as many as the chain has room for", () => {
  const raw = new RawRing(8);
  for (let i = 0; i < 8; i++) raw.desc(i, DATA, 1, i < 7 ? NEXT : 0, i + 1);
  raw.offer(0, 0);
  const chain = new Chain(8);
  assert(raw.device().pop(chain));
  assertEquals(chain.count, 8);
  raw.desc(0, GUEST + TABLE, 128, INDIRECT);
  for (let i = 0; i < 8; i++) raw.desc(i, DATA, 1, i < 7 ? NEXT : 0, i + 1, TABLE);
  assert(raw.device().pop(chain));
  assertEquals(chain.count, 8);
});

/** A driver that lies: how it writes a ring of 8, of which entry 0 is taken, and the reason it is refused with. */
const FAULTS: Record<string, [write: (raw: RawRing) => void, reason: string]> = {
  "idx ahead by more than the size": [
    (raw) => raw.availIdx(9),
    "the available idx is 9, expected at most 8 ahead of 0",
  ],
  "idx gone back": [
    (raw) => raw.availIdx(0xffff),
    "the available idx is 65535, expected at most 8 ahead of 0",
  ],
  "a head that is the size": [
    (raw) => raw.offer(0, 8),
    "available entry 0 is 8, expected a head below 8 that is not in flight",
  ],
  "a head that is 65535": [(raw) => raw.offer(0, 0xffff), "available entry 0 is 65535"],
  "a next that is the size": [
    (raw) => raw.desc(0, DATA, 1, NEXT, 8),
    "chain 0, descriptor 0: the next descriptor 8, expected below 8",
  ],
  "a next that is 65535": [(raw) => raw.desc(0, DATA, 1, NEXT, 0xffff), "descriptor 65535"],
  "a loop of one": [
    (raw) => raw.desc(0, DATA, 1, NEXT, 0),
    "chain 0, descriptor 0: a loop: 8 descriptors were followed without an end",
  ],
  "a loop of two": [
    (raw) => {
      raw.desc(0, DATA, 1, NEXT, 5);
      raw.desc(5, DATA, 1, NEXT, 0);
    },
    "a loop",
  ],
  "a loop behind a start": [
    (raw) => {
      raw.desc(0, DATA, 1, NEXT, 1);
      raw.desc(1, DATA, 1, NEXT, 2);
      raw.desc(2, DATA, 1, NEXT, 1);
    },
    "a loop",
  ],
  "a readable segment after a writable one": [
    (raw) => {
      raw.desc(0, DATA, 1, NEXT | WRITE, 1);
      raw.desc(1, DATA, 1);
    },
    "chain 0, descriptor 1: a readable segment after a writable one",
  ],
  "a length of 0": [
    (raw) => raw.desc(0, DATA, 0),
    "chain 0, descriptor 0: a length of 0, expected at least 1",
  ],
  "a segment before memory": [
    (raw) => raw.desc(0, GUEST - 1, 2),
    "chain 0, descriptor 0: 2 bytes at 0x13fffffff, expected them inside memory",
  ],
  "a segment beyond memory": [(raw) => raw.desc(0, GUEST + 0x10000, 1), "1 bytes at 0x140010000"],
  "a segment that ends beyond memory": [
    (raw) => raw.desc(0, GUEST + 0xffff, 2),
    "2 bytes at 0x14000ffff, expected them inside memory",
  ],
  "a length of 2^32 - 1": [
    (raw) => raw.desc(0, DATA, 0xffffffff, WRITE),
    "4294967295 bytes at 0x140008000, expected them inside memory",
  ],
  "an address of 2^64 - 1": [
    (raw) => raw.desc(0, 2n ** 64n - 1n, 1),
    "1 bytes at 0x10000000000000000, expected them inside memory",
  ],
  "an address that is right but for its high half": [
    (raw) => raw.desc(0, BigInt(DATA) + (1n << 63n), 1),
    "expected them inside memory",
  ],
  "an indirect table and a next": [
    (raw) => raw.desc(0, GUEST + TABLE, 16, INDIRECT | NEXT, 1),
    "an indirect table and a next descriptor, expected only one of them",
  ],
  "an indirect table inside another": [
    (raw) => {
      raw.desc(0, GUEST + TABLE, 16, INDIRECT);
      raw.desc(0, GUEST + TABLE, 16, INDIRECT, 0, TABLE);
    },
    "chain 0, descriptor 0 of the indirect table at 0: an indirect table inside another",
  ],
  "an indirect table of no length": [
    (raw) => raw.desc(0, GUEST + TABLE, 0, INDIRECT),
    "an indirect table of 0 bytes, expected a multiple of 16 up to 192",
  ],
  "an indirect table of a bad length": [
    (raw) => raw.desc(0, GUEST + TABLE, 24, INDIRECT),
    "an indirect table of 24 bytes, expected a multiple of 16 up to 192",
  ],
  "an indirect table that is too long": [
    (raw) => raw.desc(0, GUEST + TABLE, 208, INDIRECT),
    "an indirect table of 208 bytes, expected a multiple of 16 up to 192",
  ],
  "an indirect table of the greatest length": [
    (raw) => raw.desc(0, GUEST + TABLE, 0xfffffff0, INDIRECT),
    "an indirect table of 4294967280 bytes",
  ],
  "an indirect table beyond memory": [
    (raw) => raw.desc(0, GUEST + 0xfff8, 16, INDIRECT),
    "an indirect table of 16 bytes at 0x14000fff8, expected it inside memory",
  ],
  "a loop in an indirect table": [
    (raw) => {
      raw.desc(0, GUEST + TABLE, 32, INDIRECT);
      raw.desc(0, DATA, 1, NEXT, 1, TABLE);
      raw.desc(1, DATA, 1, NEXT, 0, TABLE);
    },
    "chain 0, descriptor 0 of the indirect table at 0: a loop: 2 descriptors were followed",
  ],
  "a next out of an indirect table": [
    (raw) => {
      raw.desc(0, GUEST + TABLE, 32, INDIRECT);
      raw.desc(0, DATA, 1, NEXT, 2, TABLE);
      raw.desc(2, DATA, 1, 0, 0, TABLE);
    },
    "the next descriptor 2, expected below 2",
  ],
  "a segment to read in a table after one to write before it": [
    (raw) => {
      raw.desc(0, DATA, 1, NEXT | WRITE, 1);
      raw.desc(1, GUEST + TABLE, 16, INDIRECT);
      raw.desc(0, DATA, 1, 0, 0, TABLE);
    },
    "descriptor 0 of the indirect table at 1: a readable segment after a writable one",
  ],
  "more segments than the chain has room for": [
    (raw) => {
      for (let i = 0; i < 7; i++) raw.desc(i, DATA, 1, NEXT, i + 1);
      raw.desc(7, GUEST + TABLE, 192, INDIRECT);
      for (let i = 0; i < 12; i++) raw.desc(i, DATA, 1, i < 11 ? NEXT : 0, i + 1, TABLE);
    },
    "chain 0, descriptor 5 of the indirect table at 7: more segments than 12",
  ],
};

for (const [fault, [write, reason]] of Object.entries(FAULTS)) {
  Deno.test(`pop() refuses ${fault}, again and again, and leaves the ring as it was`, () => {
    const raw = new RawRing(8);
    raw.offer(0, 0);
    write(raw);
    const ring = raw.device();
    const before = raw.bytes.slice();
    for (let round = 0; round < 2; round++) {
      const error = assertThrows(() => ring.pop(new Chain(12)), RingError, reason);
      assert(error.message.startsWith("Cannot take a chain from queue 3 of card0: "), fault);
      assertEquals([error.device, error.queue], ["card0", 3]);
    }
    assertEquals([ring.nextAvail, ring.pending], [0, 0]);
    assertEquals(raw.bytes, before);
  });
}

Deno.test("pop() refuses an indirect table that was not negotiated", () => {
  const raw = new RawRing(8);
  raw.desc(0, GUEST + TABLE, 16, INDIRECT);
  raw.desc(0, DATA, 1, 0, 0, TABLE);
  raw.offer(0, 0);
  assert(raw.device().pop(new Chain()));
  const ring = raw.device({ indirect: false });
  assertThrows(() => ring.pop(new Chain()), RingError, "which was not negotiated");
});

Deno.test("pop() refuses a chain of more than 2^32 bytes", () => {
  // Four segments over the same 1 GiB make exactly 2^32 bytes: allowed. The buffer's pages are never touched.
  const buffer = new ArrayBuffer(2 ** 30);
  const memory = new GuestMemory([{ guest: 0, buffer }]);
  const view = new DataView(buffer);
  const layout = { index: 0, size: 8, desc: 0, avail: 0x1000, used: 0x2000 };
  for (let i = 0; i < 4; i++) {
    view.setUint32(16 * i + 8, 2 ** 30, true);
    view.setUint16(16 * i + 12, i < 3 ? NEXT : 0, true);
    view.setUint16(16 * i + 14, i + 1, true);
  }
  view.setUint16(0x1002, 1, true);
  const options = { indirect: false, eventIdx: false, deviceName: "card0" };
  const chain = new Chain();
  assert(new DeviceRing(memory, layout, options).pop(chain));
  assertEquals(chain.readableBytes, 2 ** 32);
  view.setUint16(16 * 3 + 12, NEXT | WRITE, true);
  view.setUint32(16 * 4 + 8, 1, true);
  view.setUint16(16 * 4 + 12, WRITE, true);
  const ring = new DeviceRing(memory, layout, options);
  assertThrows(() => ring.pop(chain), RingError, "over 2^32 bytes");
});

Deno.test("a head may be offered again only when it was completed", () => {
  const raw = new RawRing(4);
  raw.desc(1, DATA, 1);
  raw.offer(0, 1, 1);
  const ring = raw.device();
  const chain = new Chain();
  assert(ring.pop(chain));
  assertThrows(() => ring.pop(chain), RingError, "available entry 1 is 1, expected a head below 4");
  ring.complete(1, 0);
  assert(ring.pop(chain));
  assertEquals(chain.head, 1);
});

Deno.test("complete() and walk() refuse a head that is not in flight", () => {
  const raw = new RawRing(4);
  raw.desc(1, DATA, 1);
  raw.offer(0, 1);
  const ring = raw.device();
  const chain = new Chain();
  assertThrows(() => ring.complete(1, 0), RingError, "its head is 1, expected one of the 0 in");
  assert(ring.pop(chain));
  for (const head of [0, 4, 0xffff, -1, 1.5, NaN]) {
    assertThrows(() => ring.complete(head, 0), RingError, "Cannot complete a chain of queue 3");
    assertThrows(() => ring.walk(head, chain), RingError, "Cannot read a chain of queue 3");
  }
  ring.complete(1, 0);
  assertThrows(() => ring.complete(1, 0), RingError, "Cannot complete a chain of queue 3 of card0");
  assertEquals([raw.usedIdx(), ring.usedIdx], [1, 1]);
});

Deno.test("walk() reads and checks a chain in flight anew; what was popped stays as it was", () => {
  const raw = new RawRing(4);
  raw.desc(1, DATA, 16, NEXT, 2);
  raw.desc(2, DATA + 16, 32, WRITE);
  raw.offer(0, 1);
  const ring = raw.device();
  const popped = new Chain();
  const walked = new Chain();
  assert(ring.pop(popped));
  ring.walk(1, walked);
  assertEquals(segments(walked), segments(popped));
  raw.desc(2, DATA + 32, 64, WRITE);
  ring.walk(1, walked);
  assertEquals(segments(walked)[1], [2, DATA + 32, 64]);
  assertEquals(segments(popped)[1], [2, DATA + 16, 32]);
  raw.desc(2, GUEST - 64, 64, WRITE);
  assertThrows(() => ring.walk(1, walked), RingError, "64 bytes at 0x13fffffc0");
  ring.complete(1, 0);
});

Deno.test("all indices wrap at 65535, in a ring of every size", () => {
  for (const size of [1, 2, 8, 64]) {
    const raw = new RawRing(size);
    for (let i = 0; i < size; i++) raw.desc(i, DATA, 1, WRITE);
    raw.usedIdx(65530);
    raw.availIdx(65530);
    const ring = raw.device({ nextAvail: 65530 });
    const chain = new Chain();
    let idx = 65530;
    for (let round = 0; round < 20; round++) {
      const head = (7 * round) % size;
      assertEquals(ring.pop(chain), false);
      raw.offer(idx, head);
      assert(ring.pop(chain));
      assertEquals(chain.head, head);
      ring.complete(head, round);
      assertEquals(raw.usedRing(idx % size), [head, round]);
      idx = (idx + 1) & 0xffff;
      assertEquals([ring.nextAvail, ring.usedIdx, raw.usedIdx()], [idx, idx, idx]);
    }
  }
});

Deno.test("the available idx may lie exactly the size ahead, across the wrap", () => {
  const raw = new RawRing(8);
  for (let i = 0; i < 8; i++) raw.desc(i, DATA, 1);
  raw.usedIdx(65533);
  raw.offer(65533, 7, 6, 5, 4, 3, 2, 1, 0);
  const ring = raw.device({ nextAvail: 65533 });
  const chain = new Chain();
  for (let head = 7; head >= 0; head--) {
    assert(ring.pop(chain));
    assertEquals(chain.head, head);
  }
  assertEquals([ring.pop(chain), ring.nextAvail, ring.pending], [false, 5, 8]);
});

Deno.test("a ring starts at the index where its last user stopped", () => {
  const raw = new RawRing(4);
  for (let i = 0; i < 4; i++) raw.desc(i, DATA + i, 1, WRITE);
  raw.usedIdx(65535);
  raw.offer(0, 3, 1);
  const ring = raw.device({ nextAvail: 1, inFlight: [0, 2] });
  assertEquals([ring.usedIdx, ring.nextAvail, ring.pending], [65535, 1, 2]);
  const chain = new Chain();
  ring.walk(2, chain);
  assertEquals(chain.address[0], DATA + 2);
  assert(ring.pop(chain));
  assertEquals(chain.head, 1);
  for (const head of [2, 1, 0]) ring.complete(head, 1);
  assertEquals([raw.usedIdx(), ring.pending], [2, 0]);
  assertEquals([3, 0, 1].map((i) => raw.usedRing(i)[0]), [2, 1, 0]);
  assertThrows(() => ring.complete(0, 1), RingError, "expected one of the 0 in flight");
});

Deno.test("a start that does not fit the ring is refused", () => {
  for (const [nextAvail, usedIdx] of [[5, 0], [0, 1], [0, 65531], [3, 65534]] as const) {
    const raw = new RawRing(4);
    raw.usedIdx(usedIdx);
    const text = `it starts at available entry ${nextAvail} and used element ${usedIdx}`;
    assertThrows(() => raw.device({ nextAvail }), RingError, text);
    assertThrows(() => new RawRing(4).device({ nextAvail, usedIdx }), RingError, text);
  }
  assertEquals(new RawRing(4).device({ nextAvail: 2, usedIdx: 65534 }).pending, 4);
  for (const inFlight of [[4], [-1], [0.5]]) {
    const raw = new RawRing(4);
    assertThrows(() => raw.device({ nextAvail: 1, inFlight }), RingError, "is in flight");
  }
});
