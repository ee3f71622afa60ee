// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { RawRing } from "./ring_fixture.ts";

Deno.test("a driver's ring begins empty at any index, and writes the bytes of the standard", () => {
  const raw = new RawRing(4);
  raw.bytes.fill(0xff, 0x1000, 0x1004);
  raw.bytes.fill(0xff, 0x2000, 0x2004);
  const ring = raw.driver({ start: 65535 });
  assertEquals(raw.hex(0x1000, 4), "0000" + "ffff");
  assertEquals(raw.hex(0x2000, 4), "0000" + "ffff");
  assertEquals([raw.usedEvent(), raw.availEvent()], [65535, 65535]);

  ring.writeDescriptor(2, 0x1_4000_8000, 0x10, 1, 0);
  ring.writeDescriptor(0, 0xf_f234_5678_9abc, 0xfedcba98, 2, 3);
  assertEquals(raw.hex(32, 16), "0080004001000000" + "10000000" + "0100" + "0000");
  assertEquals(raw.hex(0, 16), "bc9a785634f20f00" + "98badcfe" + "0200" + "0300");

  ring.offer(2);
  assertEquals(raw.hex(0x1000, 12), "0000" + "ffff" + "0000" + "0000" + "0000" + "0200");
  assertEquals([ring.nextAvail, ring.pending], [0, 1]);
  ring.publish();
  assertEquals(raw.availIdx(), 0);
  ring.offer(3);
  ring.offer(0);
  assertEquals(raw.availIdx(), 0, "offered is not published");
  ring.publish();
  assertEquals(raw.hex(0x1000, 12), "0000" + "0200" + "0300" + "0000" + "0000" + "0200");

  const used = { head: 0, length: 0 };
  assertEquals(ring.takeUsed(used), false);
  raw.usedRing(3, [0, 0xffffffff]);
  raw.usedRing(0, [2, 7]);
  raw.usedIdx(1);
  assert(ring.takeUsed(used));
  assertEquals([used, ring.nextUsed, ring.pending], [{ head: 0, length: 0xffffffff }, 0, 2]);
  assert(ring.takeUsed(used));
  assertEquals([used, ring.nextUsed, ring.pending], [{ head: 2, length: 7 }, 1, 1]);
  assertEquals(ring.takeUsed(used), false);
});

Deno.test("a driver's ring tells how many chains it can take, and takes none by that", () => {
  const raw = new RawRing(4);
  const ring = raw.driver({ start: 65535 });
  for (const head of [0, 1, 2]) ring.offer(head);
  ring.publish();
  assertEquals(ring.countUsed(), 0);
  raw.usedRing(3, [1, 0]);
  raw.usedIdx(0);
  assertEquals([ring.countUsed(), ring.countUsed(), ring.pending], [1, 1, 3]);
  raw.usedRing(0, [0, 0]);
  raw.usedRing(1, [2, 0]);
  raw.usedIdx(2);
  assertEquals(ring.countUsed(), 3);
  assert(ring.takeUsed({ head: 0, length: 0 }));
  assertEquals(ring.countUsed(), 2);
  raw.usedIdx(3);
  assertThrows(() => ring.countUsed(), RingError, "the used idx is 3, expected at most 2 ahead");
});

Deno.test("all indices of a driver's ring wrap at 65535", () => {
  for (const size of [1, 2, 8, 64]) {
    const raw = new RawRing(size);
    const ring = raw.driver({ start: 65530 });
    const used = { head: 0, length: 0 };
    for (let round = 0, idx = 65530; round < 20; round++) {
      const head = (5 * round) % size;
      ring.offer(head);
      ring.publish();
      assertEquals(raw.availRing(idx % size), head);
      raw.usedRing(idx % size, [head, round]);
      idx = (idx + 1) & 0xffff;
      assertEquals(raw.availIdx(), idx);
      raw.usedIdx(idx);
      assert(ring.takeUsed(used));
      assertEquals([used, ring.nextUsed], [{ head, length: round }, idx]);
    }
  }
});

/** A device that lies to a ring of 8 with the heads 2, 3 and 5 in flight from index 65534 on. */
const FAULTS: Record<string, [write: (raw: RawRing) => void, reason: string]> = {
  "a used idx ahead of what is in flight": [
    (raw) => raw.usedIdx(2),
    "the used idx is 2, expected at most 3 ahead of 65534",
  ],
  "a used idx gone back": [(raw) => raw.usedIdx(65533), "the used idx is 65533"],
  "a used idx half the circle away": [(raw) => raw.usedIdx(32766), "the used idx is 32766"],
  "an id that is the size": [
    (raw) => raw.usedRing(6, [8, 0]),
    "used element 65534 has id 8, expected one of the 3 in flight",
  ],
  "an id that is right but for its high half": [
    (raw) => raw.usedRing(6, [0x10002, 0]),
    "has id 65538",
  ],
  "an id of 2^32 - 1": [(raw) => raw.usedRing(6, [0xffffffff, 0]), "has id 4294967295"],
  "an id never offered": [(raw) => raw.usedRing(6, [4, 0]), "used element 65534 has id 4"],
};

for (const [fault, [write, reason]] of Object.entries(FAULTS)) {
  Deno.test(`takeUsed() refuses ${fault}, again and again`, () => {
    const raw = new RawRing(8);
    const ring = raw.driver({ start: 65534 });
    for (const head of [2, 3, 5]) ring.offer(head);
    ring.publish();
    raw.usedIdx(65535);
    write(raw);
    const used = { head: 99, length: 99 };
    for (let round = 0; round < 2; round++) {
      const error = assertThrows(() => ring.takeUsed(used), RingError, reason);
      assert(error.message.startsWith("Cannot take a used chain from queue 3 of card0: "));
    }
    assertEquals([used.head, ring.nextUsed, ring.pending], [99, 65534, 3]);
  });
}

Deno.test("takeUsed() refuses an id returned twice, and a chain not yet published", () => {
  const raw = new RawRing(8);
  const ring = raw.driver();
  ring.offer(2);
  ring.offer(3);
  ring.publish();
  ring.offer(4);
  const used = { head: 0, length: 0 };
  raw.usedRing(0, [3, 0]);
  raw.usedRing(1, [3, 0]);
  raw.usedIdx(3);
  assertThrows(() => ring.takeUsed(used), RingError, "the used idx is 3, expected at most 2 ahead");
  raw.usedIdx(2);
  assert(ring.takeUsed(used));
  assertThrows(() => ring.takeUsed(used), RingError, "used element 1 has id 3, expected one");
  assertEquals(ring.pending, 2);
});

Deno.test("offer() and writeDescriptor() refuse what the ring does not have", () => {
  const raw = new RawRing(4);
  const ring = raw.driver();
  ring.offer(1);
  for (const head of [1, 4, -1, 0.5, NaN, 65536]) {
    assertThrows(
      () => ring.offer(head),
      RingError,
      "Cannot offer a chain in queue 3 of card0: its",
    );
  }
  assertEquals(ring.pending, 1);
  const before = raw.bytes.slice();
  for (const index of [4, -1, 65536]) {
    assertThrows(() => ring.writeDescriptor(index, 0, 1, 0, 0), RangeError);
  }
  assertEquals(raw.bytes, before);
});

Deno.test("needsKick() follows the device's flag", () => {
  const raw = new RawRing(4);
  const ring = raw.driver();
  raw.availEvent(77); // Means nothing here.
  const offer = (head: number) => {
    ring.offer(head);
    ring.publish();
  };
  assertEquals(ring.needsKick(), false);
  ring.offer(0);
  assertEquals(ring.needsKick(), false, "offered is not published");
  ring.publish();
  assertEquals([ring.needsKick(), ring.needsKick()], [true, false]);
  raw.usedFlags(1);
  offer(1);
  assertEquals(ring.needsKick(), false);
  raw.usedFlags(0xfffe); // Only bit 0 counts.
  offer(2);
  assertEquals(ring.needsKick(), true);
});

Deno.test("needsKick() kicks when avail_event is passed, across the wrap", () => {
  const cases: [start: number, offered: number, event: number, wanted: boolean][] = [
    [0, 1, 0, true],
    [0, 1, 1, false],
    [0, 1, 65535, false],
    [0, 3, 2, true],
    [0, 3, 3, false],
    [65534, 2, 65535, true],
    [65534, 2, 0, false],
    [65534, 3, 0, true],
    [65534, 3, 65534, true],
    [65534, 3, 65533, false],
  ];
  for (const [start, offered, event, wanted] of cases) {
    const raw = new RawRing(4);
    const ring = raw.driver({ eventIdx: true, start });
    raw.usedFlags(1); // Means nothing here.
    raw.availEvent(event);
    for (let head = 0; head < offered; head++) {
      ring.offer(head);
      ring.publish();
    }
    assertEquals(ring.needsKick(), wanted, `${[start, offered, event]}`);
    assertEquals(ring.needsKick(), false);
  }
});

Deno.test("interrupts are switched by the available ring's flag, or armed by used_event", () => {
  for (const eventIdx of [false, true]) {
    const raw = new RawRing(4);
    const ring = raw.driver({ eventIdx, start: 65535 });
    ring.disableInterrupts();
    assertEquals(raw.availFlags(), eventIdx ? 0 : 1);
    assertEquals(ring.enableInterrupts(), false);
    assertEquals([raw.availFlags(), raw.usedEvent()], [0, 65535]);
    ring.offer(1);
    ring.publish();
    raw.usedRing(3, [1, 0]);
    raw.usedIdx(0);
    assert(ring.enableInterrupts(), "one came before: look again");
    assert(ring.takeUsed({ head: 0, length: 0 }));
    assertEquals(ring.enableInterrupts(), false);
    assertEquals([raw.availFlags(), raw.usedEvent()], [0, eventIdx ? 0 : 65535]);
    raw.usedIdx(1);
    assertThrows(() => ring.enableInterrupts(), RingError, "the used idx is 1, expected at most 0");
  }
});
