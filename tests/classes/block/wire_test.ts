// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as block from "../../../lib/classes/block/wire.ts";

Deno.test("a request's head is written and read, with sectors beyond 2^32", () => {
  const bytes = new Uint8Array(20).fill(0xee);
  const view = new DataView(bytes.buffer);
  const header = { type: block.T_WRITE_ZEROES, sector: 0x12_3456_789a };
  block.encodeRequestHeader(view, 2, header);
  assertEquals(
    [...bytes],
    [0xee, 0xee, 13, 0, 0, 0, 0, 0, 0, 0, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0xee, 0xee],
  );
  assertEquals(block.decodeRequestHeader(view, 2), header);
});

Deno.test("a sector that no number can hold is read as one beyond every disk", () => {
  const view = new DataView(new ArrayBuffer(16));
  view.setBigUint64(8, 2n ** 64n - 1n, true);
  assertEquals(block.decodeRequestHeader(view, 0), { type: 0, sector: 2 ** 64 });
});

Deno.test("a range is written and read", () => {
  const bytes = new Uint8Array(block.RANGE_SIZE);
  const view = new DataView(bytes.buffer);
  const range = { sector: 0x1_0000_0002, sectors: 0xffff_ffff, flags: 1 };
  block.encodeRange(view, 0, range);
  assertEquals([...bytes], [2, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
  assertEquals(block.decodeRange(view, 0), range);
});

Deno.test("the config space is written and read", () => {
  const bytes = new Uint8Array(block.BLOCK_CONFIG_SIZE);
  const view = new DataView(bytes.buffer);
  const config: block.BlockConfig = {
    capacity: 0x2_0304_0506,
    sizeMax: 0x8000,
    segMax: 126,
    geometry: { cylinders: 0x1122, heads: 16, sectors: 63 },
    blockSize: 4096,
    topology: { physicalBlockExp: 3, alignmentOffset: 1, minIoSize: 0x0102, optIoSize: 0x100 },
    writeback: 1,
    queueCount: 4,
    discard: { maxSectors: 0x400000, maxRanges: 16, alignment: 8 },
    writeZeroes: { maxSectors: 0x8000, maxRanges: 2, mayUnmap: 1 },
  };
  block.encodeBlockConfig(view, config);
  // deno-fmt-ignore
  assertEquals([...bytes], [
    6, 5, 4, 3, 2, 0, 0, 0,  0, 0x80, 0, 0,  126, 0, 0, 0,
    0x22, 0x11, 16, 63,  0, 0x10, 0, 0,  3, 1, 2, 1,  0, 1, 0, 0,
    1, 0, 4, 0,  0, 0, 0x40, 0,  16, 0, 0, 0,  8, 0, 0, 0,
    0, 0x80, 0, 0,  2, 0, 0, 0,  1, 0, 0, 0,
  ]);
  assertEquals(block.decodeBlockConfig(view), config);
});
