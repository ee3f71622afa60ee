// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { Chain, DeviceRing } from "../../lib/virtio/split_ring.ts";
import { DATA, GUEST, INDIRECT, NEXT, RawRing, WRITE } from "./ring_fixture.ts";

/** Where the fixtures put an indirect table, as an offset in memory. */
const TABLE = 0x4000;

function segments(chain: Chain): [index: number, address: number, length: number][] {
  return Array.from({ length: chain.count }, (_, i) => [
    chain.index[i]!,
    chain.address[i]!,
    chain.length[i]!,
  ]);
}

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
const LIES: Record<string, [write: (raw: RawRing) => void, reason: string]> = {
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

for (const [lie, [write, reason]] of Object.entries(LIES)) {
  Deno.test(`pop() refuses ${lie}, again and again, and leaves the ring as it was`, () => {
    const raw = new RawRing(8);
    raw.offer(0, 0);
    write(raw);
    const ring = raw.device();
    const before = raw.bytes.slice();
    for (let round = 0; round < 2; round++) {
      const error = assertThrows(() => ring.pop(new Chain(12)), RingError, reason);
      assert(error.message.startsWith("Cannot take a chain from queue 3 of card0: "), lie);
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

Deno.test("a ring goes on where an earlier life left it", () => {
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

Deno.test("needsInterrupt() follows the driver's flag", () => {
  const raw = new RawRing(4);
  for (let i = 0; i < 4; i++) raw.desc(i, DATA, 1);
  raw.offer(0, 0, 1, 2);
  raw.usedEvent(77); // Means nothing here.
  const ring = raw.device();
  const chain = new Chain();
  const serve = () => ring.pop(chain) && ring.complete(chain.head, 0);
  assertEquals(ring.needsInterrupt(), false);
  serve();
  assertEquals([ring.needsInterrupt(), ring.needsInterrupt()], [true, false]);
  raw.availFlags(1);
  serve();
  assertEquals(ring.needsInterrupt(), false);
  raw.availFlags(0xfffe); // Only bit 0 counts.
  assertEquals(ring.needsInterrupt(), false);
  serve();
  assertEquals(ring.needsInterrupt(), true);
});

Deno.test("needsInterrupt() interrupts when used_event is passed, across the wrap", () => {
  const cases: [start: number, completed: number, event: number, wanted: boolean][] = [
    [0, 1, 0, true],
    [0, 1, 1, false],
    [0, 3, 2, true],
    [0, 3, 3, false],
    [0, 3, 65535, false],
    [65534, 1, 65534, true],
    [65534, 1, 65535, false],
    [65534, 2, 65535, true],
    [65534, 3, 0, true],
    [65534, 3, 65535, true],
    [65534, 3, 1, false],
    [65534, 3, 65533, false],
  ];
  for (const [start, completed, event, wanted] of cases) {
    const raw = new RawRing(8);
    for (let i = 0; i < 8; i++) raw.desc(i, DATA, 1);
    raw.usedIdx((start - 1) & 0xffff);
    raw.offer((start - 1) & 0xffff, 7, 6, 5, 4);
    raw.availFlags(1); // Means nothing here.
    const ring = raw.device({ eventIdx: true, nextAvail: (start - 1) & 0xffff });
    const chain = new Chain();
    const serve = () => ring.pop(chain) && ring.complete(chain.head, 0);
    serve();
    assert(ring.needsInterrupt(), "the first after a start, whatever the event");
    for (let i = 0; i < completed; i++) serve();
    raw.usedEvent(event);
    assertEquals(ring.needsInterrupt(), wanted, `${[start, completed, event]}`);
    assertEquals(ring.needsInterrupt(), false);
  }
});

Deno.test("needsInterrupt() is true after a whole turn of the index, wherever used_event is", () => {
  const raw = new RawRing(1);
  raw.desc(0, DATA, 1);
  const ring = raw.device({ eventIdx: true });
  const chain = new Chain();
  const serve = (times: number) => {
    for (let i = 0; i < times; i++) {
      raw.offer(ring.nextAvail, 0);
      assert(ring.pop(chain));
      ring.complete(0, 0);
    }
  };
  serve(1);
  ring.needsInterrupt();
  raw.usedEvent(0);
  serve(65536);
  assert(ring.needsInterrupt());
});

Deno.test("notifications are switched by the used ring's flag, or armed by avail_event", () => {
  for (const eventIdx of [false, true]) {
    const raw = new RawRing(4);
    raw.usedIdx(65535);
    raw.availIdx(65535);
    raw.usedFlags(eventIdx ? 0 : 1);
    for (let i = 0; i < 4; i++) raw.desc(i, DATA, 1);
    const ring = raw.device({ eventIdx, nextAvail: 65535 });
    const chain = new Chain();
    assertEquals(ring.enableNotifications(), false);
    assertEquals([raw.usedFlags(), raw.availEvent()], [0, eventIdx ? 65535 : 0]);
    raw.offer(65535, 2);
    ring.disableNotifications();
    assertEquals(raw.usedFlags(), eventIdx ? 0 : 1);
    assert(ring.enableNotifications(), "one came before: look again");
    assert(ring.pop(chain));
    assertEquals(ring.enableNotifications(), false);
    assertEquals([raw.usedFlags(), raw.availEvent()], [0, 0]);
    raw.availIdx(100);
    assertThrows(() => ring.enableNotifications(), RingError, "the available idx is 100");
  }
});

Deno.test("gather() and scatter() cross segments at every offset and length", () => {
  const raw = new RawRing(8);
  const lengths = [1, 60, 3, 100];
  const at = (i: number) => 0x8000 + 0x200 * i;
  lengths.forEach((length, i) => {
    raw.desc(i, GUEST + at(i), length, NEXT, i + 1);
    raw.desc(4 + i, GUEST + 0x2000 + at(i), length, i < 3 ? NEXT | WRITE : WRITE, 5 + i);
  });
  const sent = Uint8Array.from({ length: 164 }, (_, i) => i + 1);
  lengths.reduce((from, length, i) => {
    raw.bytes.set(sent.subarray(from, from + length), at(i));
    return from + length;
  }, 0);
  raw.offer(0, 0);
  const chain = new Chain();
  assert(raw.device().pop(chain));
  assertEquals([chain.readableBytes, chain.writableBytes], [164, 164]);
  for (const offset of [0, 1, 2, 60, 61, 63, 64, 163, 164, 1000]) {
    for (const length of [0, 1, 2, 63, 64, 164, 300]) {
      const expected = sent.subarray(offset, offset + length);
      const target = new Uint8Array(310).fill(0xee);
      assertEquals(chain.gather(offset, target, 5, length), expected.length);
      assertEquals(target.subarray(5, 5 + expected.length), expected);
      assert(target.subarray(5 + expected.length).every((byte) => byte === 0xee));
      raw.bytes.fill(0xee, 0xa000);
      const source = new Uint8Array(310);
      source.set(sent, 7);
      const n = Math.max(0, Math.min(length, 164 - offset));
      assertEquals(chain.scatter(offset, source, 7, length), n);
      const parts = lengths.map((size, i) =>
        raw.bytes.subarray(0x2000 + at(i), 0x2000 + at(i) + size)
      );
      const written = Uint8Array.from(parts.flatMap((part) => [...part]));
      const want = new Uint8Array(164).fill(0xee);
      want.set(source.subarray(7, 7 + n), Math.min(offset, 164));
      assertEquals(written, want);
      assertEquals(raw.bytes.subarray(0xa000).filter((byte) => byte !== 0xee).length, nonEe(want));
    }
  }
  assertEquals(raw.bytes.subarray(0x8000, 0x8001), sent.subarray(0, 1));
});

function nonEe(bytes: Uint8Array): number {
  return bytes.filter((byte) => byte !== 0xee).length;
}

Deno.test("gather() and scatter() refuse a range that the other array does not have", () => {
  const raw = new RawRing(1);
  raw.desc(0, DATA, 16, WRITE);
  raw.offer(0, 0);
  const chain = new Chain();
  assertEquals(chain.gather(0, new Uint8Array(4)), 0, "a new one is empty");
  assert(raw.device().pop(chain));
  const ranges = [[-1, 0, 1], [0, -1, 1], [0, 0, -1], [0, 0, 17], [0, 16, 1], [NaN, 0, 1], [
    0,
    NaN,
    1,
  ], [0, 0, NaN]] as const;
  for (const [offset, at, length] of ranges) {
    const bytes = new Uint8Array(16);
    assertThrows(() => chain.gather(offset, bytes, at, length), RangeError, "Cannot copy");
    assertThrows(() => chain.scatter(offset, bytes, at, length), RangeError, "Cannot copy");
  }
});

/** The fixture's memory, and behind it 64 bytes, 64 more, a gap of 64, and 64. */
function inPieces(raw: RawRing): { memory: GuestMemory; behind: Uint8Array[] } {
  const end = GUEST + raw.bytes.length;
  const buffers = [0, 1, 2].map(() => new ArrayBuffer(64));
  const regions = [0, 64, 192].map((at, i) => ({ guest: end + at, buffer: buffers[i]! }));
  const memory = new GuestMemory([{ guest: GUEST, buffer: raw.buffer }, ...regions]);
  return { memory, behind: buffers.map((buffer) => new Uint8Array(buffer)) };
}

const pieced = (raw: RawRing, memory: GuestMemory): DeviceRing =>
  new DeviceRing(memory, raw.layout, raw.options(), { nextAvail: 0 });

Deno.test("a buffer across regions that follow each other is cut at their boundaries", () => {
  const raw = new RawRing(4);
  const { memory, behind } = inPieces(raw);
  const end = GUEST + raw.bytes.length;
  raw.desc(0, end - 4, 4 + 64 + 4, NEXT, 1);
  raw.desc(1, end + 60, 8, WRITE);
  raw.offer(0, 0);
  raw.bytes.set([1, 2, 3, 4], raw.bytes.length - 4);
  behind[0]!.fill(5);
  behind[1]!.fill(6);
  const chain = new Chain();
  const ring = pieced(raw, memory);
  assert(ring.pop(chain));
  assertEquals(segments(chain), [
    [0, end - 4, 4],
    [0, end, 64],
    [0, end + 64, 4],
    [1, end + 60, 4],
    [1, end + 64, 4],
  ]);
  assertEquals([chain.readableBytes, chain.writableBytes], [72, 8]);
  const read = new Uint8Array(72);
  assertEquals(chain.gather(0, read), 72);
  assertEquals([...read], [1, 2, 3, 4, ...new Array(64).fill(5), ...new Array(4).fill(6)]);
  assertEquals(chain.scatter(0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)), 8);
  assertEquals([...behind[0]!.subarray(59), ...behind[1]!.subarray(0, 5)], [
    ...[5, 1, 2, 3, 4],
    ...[5, 6, 7, 8, 6],
  ]);
});

Deno.test("an indirect table across regions is read", () => {
  const raw = new RawRing(4);
  const { memory, behind } = inPieces(raw);
  const end = GUEST + raw.bytes.length;
  raw.desc(0, end - 8, 32, INDIRECT);
  raw.desc(2, DATA, 5, NEXT, 1); // the table, written here and moved
  raw.desc(3, DATA + 16, 6, WRITE);
  const table = raw.bytes.slice(32, 64);
  raw.bytes.set(table.subarray(0, 8), raw.bytes.length - 8);
  behind[0]!.set(table.subarray(8));
  raw.offer(0, 0);
  const chain = new Chain();
  assert(pieced(raw, memory).pop(chain));
  assertEquals(segments(chain), [[0, DATA, 5], [1, DATA + 16, 6]]);
});

Deno.test("a buffer or a table that reaches into a gap is refused", () => {
  const end = GUEST + 0x10000;
  for (
    const [address, length, flags] of [[end + 100, 100, 0], [end + 112, 32, INDIRECT]] as const
  ) {
    const raw = new RawRing(4);
    raw.desc(0, address, length, flags);
    raw.offer(0, 0);
    const ring = pieced(raw, inPieces(raw).memory);
    assertThrows(() => ring.pop(new Chain()), RingError, `inside memory`);
  }
});

Deno.test("pieces of buffers count as segments", () => {
  const raw = new RawRing(4);
  const { memory } = inPieces(raw);
  raw.desc(0, GUEST + 0x10000 - 4, 72, 0);
  raw.offer(0, 0);
  assertThrows(() => pieced(raw, memory).pop(new Chain(2)), RingError, "more segments than 2");
});
