// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { createMemory, Mapping, viewMemory } from "../../ffi/mod.ts";
import { VIEW_BYTES, viewsOf } from "../../lib/loopback/views.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { withoutLeaks } from "../support/leaks.ts";

const FIRST = 0x4000_0000;
const SECOND = 0x8000_0000;
/** Two views and a half; one that is short. */
const LENGTHS = [2.5 * VIEW_BYTES, 4096] as const;

const CASES = [
  { name: "the first byte", at: FIRST, length: 1, view: [0, VIEW_BYTES] },
  { name: "all of a view", at: FIRST, length: VIEW_BYTES, view: [0, VIEW_BYTES] },
  { name: "the next one", at: FIRST + VIEW_BYTES, length: 1, view: [VIEW_BYTES, 2 * VIEW_BYTES] },
  {
    name: "bytes across a border",
    at: FIRST + VIEW_BYTES - 5,
    length: 6,
    view: [0, 2 * VIEW_BYTES],
  },
  {
    name: "the last, short one",
    at: FIRST + LENGTHS[0] - 1,
    length: 1,
    view: [2 * VIEW_BYTES, LENGTHS[0]],
  },
  { name: "all of a memory", at: FIRST, length: LENGTHS[0], view: [0, LENGTHS[0]] },
  {
    name: "more than a view, wherever it is",
    at: FIRST + VIEW_BYTES,
    length: VIEW_BYTES + 1,
    view: [0, LENGTHS[0]],
  },
  { name: "no byte behind it", at: FIRST + LENGTHS[0] - 1, length: 2, view: null },
  { name: "no byte before it", at: FIRST - 1, length: 2, view: null },
  { name: "nothing at no address", at: NaN, length: 1, view: null },
] as const;

Deno.test("viewsOf() makes one view for each piece of memory", async (t) => {
  await withoutLeaks(async () => {
    using fd = createMemory("views", LENGTHS[0] + LENGTHS[1]);
    using mapping = Mapping.create(fd, LENGTHS[0] + LENGTHS[1]);
    const bytes = new Uint8Array(viewMemory(mapping));
    const second = mapping.address + BigInt(LENGTHS[0]);
    const find = viewsOf([
      { guest: FIRST, address: mapping.address, length: LENGTHS[0] },
      { guest: SECOND, address: second, length: LENGTHS[1] },
    ]);
    for (const { name, at, length, view } of CASES) {
      await t.step(name, () => {
        const found = find(at, length);
        if (view === null) return assertEquals(found, null);
        const [start, end] = view;
        assertEquals([found!.guest, found!.buffer.byteLength], [FIRST + start, end - start]);
        new Uint8Array(found!.buffer)[at - found!.guest] = 7;
        assertEquals(bytes[at - FIRST], 7);
      });
    }
    await t.step("a range is found anywhere in a view: at its borders and the whole of it", () => {
      const memory = new GuestMemory([], find);
      const step = VIEW_BYTES / 4;
      for (let at = 0; at < LENGTHS[0]; at += step) {
        for (let length = step; at + length <= LENGTHS[0]; length += step) {
          const region = memory.region(FIRST + at, length);
          assert(region.guest <= FIRST + at && FIRST + at + length <= region.end);
        }
      }
      assert(memory.regions.length <= 3 + 2 + 1, `${memory.regions.length} views`);
    });
    await t.step("another memory", () => {
      const found = find(SECOND + 16, 16)!;
      assertEquals([found.guest, found.buffer.byteLength], [SECOND, LENGTHS[1]]);
      new Uint8Array(found.buffer)[16] = 9;
      assertEquals(bytes[LENGTHS[0] + 16], 9);
    });
  });
});
