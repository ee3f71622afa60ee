// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { ByteRing, MOST_RING_BYTES, ringSize } from "../../../lib/classes/sound/byte_ring.ts";
import { noise } from "./card.ts";

function sides(at: number): [writer: ByteRing, reader: ByteRing] {
  const words = new Int32Array(new SharedArrayBuffer(8));
  words.fill(at);
  const bytes = new Uint8Array(new SharedArrayBuffer(MOST_RING_BYTES));
  const [writer, reader] = [new ByteRing(words, bytes), new ByteRing(words, bytes)];
  for (const side of [writer, reader]) side.follow(2 ** 16);
  return [writer, reader];
}

Deno.test("a ring's size is a power of 2 with room for what is asked", () => {
  assertEquals([0, 1, 65536, 65537, 2 ** 24, 2 ** 30].map(ringSize), [
    ...[65536, 65536, 65536, 131072, 2 ** 24, 2 ** 24],
  ]);
});

for (const at of [0, -100, 2 ** 31 - 100]) {
  Deno.test(`what is put is read in its order, also where positions wrap (from ${at})`, () => {
    const [writer, reader] = sides(at);
    const all = noise(300_000);
    const read = new Uint8Array(all.length);
    let [put, taken] = [0, 0];
    for (let turn = 0; taken < all.length; turn++) {
      const count = Math.min(writer.room, all.length - put, 1 + turn * 7919 % 40_000);
      writer.put(all, put, count);
      writer.publish();
      put += count;
      assertEquals(reader.waiting, put - taken);
      const wanted = Math.min(reader.waiting, 1 + turn * 104_729 % 30_000);
      reader.peek(read, taken, wanted);
      reader.take(wanted);
      taken += wanted;
      assertEquals(writer.room, 65536 - (put - taken));
    }
    assertEquals(read, all);
  });
}

Deno.test("the reader sees nothing that was not published, and never what was rolled back", () => {
  const [writer, reader] = sides(0);
  writer.put(Uint8Array.of(1, 2), 0, 2);
  assertEquals([reader.waiting, writer.room], [0, 65534]);
  writer.rollback();
  assertEquals(writer.room, 65536);
  writer.put(Uint8Array.of(3), 0, 1);
  writer.publish();
  const read = new Uint8Array(1);
  reader.peek(read, 0, reader.waiting);
  assertEquals([...read], [3]);
});
