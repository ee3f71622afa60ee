// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { RingAreas } from "../../lib/virtio/ring_layout.ts";
import * as ring from "../../lib/virtio/split_ring.ts";
import { GUEST, RawRing } from "./ring_fixture.ts";

Deno.test("splitRingLayout() places a version 1 queue of 64 as Linux does", () => {
  assertEquals(ring.splitRingLayout(0x4000_0000, 64, 4096), {
    desc: 0x4000_0000,
    avail: 0x4000_0400,
    used: 0x4000_1000,
    bytes: 0x1206,
  });
});

Deno.test("a queue cannot be set up where its areas do not fit", () => {
  const { memory, layout } = new RawRing(8);
  const refused: [wrong: Partial<typeof layout>, why: string][] = [
    [{ size: 0 }, "its size is 0, expected a power of 2 of at most 32768"],
    [{ size: 3 }, "its size is 3"],
    [{ size: 65536 }, "its size is 65536"],
    [{ size: -8 }, "its size is -8"],
    [{ size: NaN }, "its size is NaN"],
    [{ size: 1.5 }, "its size is 1.5"],
    [{ desc: GUEST + 8 }, "desc is at 0x140000008, expected a multiple of 16"],
    [{ avail: GUEST + 0x1001 }, "avail is at 0x140001001, expected a multiple of 2"],
    [{ used: GUEST + 0x2002 }, "used is at 0x140002002, expected a multiple of 4"],
    [{ desc: 0 }, "desc is at 0x0, expected 128 bytes inside memory"],
    [{ desc: GUEST + 0xff90 }, "desc is at 0x14000ff90, expected 128 bytes inside memory"],
    [{ avail: GUEST + 0xffec }, "avail is at 0x14000ffec, expected 22 bytes inside memory"],
    [{ used: GUEST + 0xffbc }, "used is at 0x14000ffbc, expected 70 bytes inside memory"],
    [{ used: 2 ** 53 }, "used is at 0x20000000000000, expected 70 bytes inside memory"],
  ];
  for (const [wrong, why] of refused) {
    const text = `Cannot set up queue 3 of card0: ${why}`;
    assertThrows(() => new RingAreas(memory, { ...layout, ...wrong }, "card0"), RingError, text);
  }
  const last = { desc: GUEST + 0xff80, avail: GUEST + 0xffea, used: GUEST + 0xffb8 };
  new RingAreas(memory, { ...layout, ...last }, "card0"); // Ends with memory: no harm.
});

Deno.test("the areas of a queue may lie in different regions", () => {
  const parts = [0x1000, 0x2000, 0x3000].map((guest) => ({ guest, buffer: new ArrayBuffer(4096) }));
  const memory = new GuestMemory(parts);
  const layout = { index: 0, size: 256, desc: 0x1000, avail: 0x2000, used: 0x3000 };
  const driver = new ring.DriverRing(memory, layout, new RawRing(1).options(), 0x0102);
  driver.writeDescriptor(255, 0x3000, 1, 0, 0);
  const bytes = parts.map(({ buffer }) => new Uint8Array(buffer));
  assertEquals(bytes.map((b) => b.subarray(0, 4).toHex()), ["00000000", "00000201", "00000201"]);
  assertEquals(bytes[0]!.subarray(4080).toHex(), "00300000000000000100000000000000");
});
