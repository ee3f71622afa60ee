// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { Chain, DeviceRing } from "../../lib/virtio/split_ring.ts";
import { DATA, GUEST, INDIRECT, NEXT, RawRing, segments, WRITE } from "./ring_fixture.ts";

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
