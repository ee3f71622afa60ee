// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as block from "../../../lib/classes/block/wire.ts";
import { runC } from "./run_c.ts";

/** Where the field that a writer writes is found to lie, when all others are 0. */
function placeOf(bytes: number, write: (view: DataView) => void): number {
  const view = new DataView(new ArrayBuffer(bytes));
  write(view);
  return new Uint8Array(view.buffer).indexOf(1);
}

const ZEROS: block.BlockConfig = block.decodeBlockConfig(new DataView(new ArrayBuffer(60)));

/** Fields of the kernel's config space, and a config space in which only that one is set. */
const FIELDS: Record<string, block.BlockConfig> = {
  "capacity": { ...ZEROS, capacity: 1 },
  "size_max": { ...ZEROS, sizeMax: 1 },
  "seg_max": { ...ZEROS, segMax: 1 },
  "geometry.cylinders": { ...ZEROS, geometry: { ...ZEROS.geometry, cylinders: 1 } },
  "geometry.heads": { ...ZEROS, geometry: { ...ZEROS.geometry, heads: 1 } },
  "geometry.sectors": { ...ZEROS, geometry: { ...ZEROS.geometry, sectors: 1 } },
  "blk_size": { ...ZEROS, blockSize: 1 },
  "physical_block_exp": { ...ZEROS, topology: { ...ZEROS.topology, physicalBlockExp: 1 } },
  "alignment_offset": { ...ZEROS, topology: { ...ZEROS.topology, alignmentOffset: 1 } },
  "min_io_size": { ...ZEROS, topology: { ...ZEROS.topology, minIoSize: 1 } },
  "opt_io_size": { ...ZEROS, topology: { ...ZEROS.topology, optIoSize: 1 } },
  "wce": { ...ZEROS, writeback: 1 },
  "num_queues": { ...ZEROS, queueCount: 1 },
  "max_discard_sectors": { ...ZEROS, discard: { ...ZEROS.discard, maxSectors: 1 } },
  "max_discard_seg": { ...ZEROS, discard: { ...ZEROS.discard, maxRanges: 1 } },
  "discard_sector_alignment": { ...ZEROS, discard: { ...ZEROS.discard, alignment: 1 } },
  "max_write_zeroes_sectors": { ...ZEROS, writeZeroes: { ...ZEROS.writeZeroes, maxSectors: 1 } },
  "max_write_zeroes_seg": { ...ZEROS, writeZeroes: { ...ZEROS.writeZeroes, maxRanges: 1 } },
  "write_zeroes_may_unmap": { ...ZEROS, writeZeroes: { ...ZEROS.writeZeroes, mayUnmap: 1 } },
};

const SIZES = [
  ["virtio_blk_outhdr", block.REQUEST_HEADER_SIZE],
  ["virtio_blk_discard_write_zeroes", block.RANGE_SIZE],
] as const;

Deno.test("sizes, offsets and codes are those of <linux/virtio_blk.h>", async () => {
  const header = (fields: Partial<block.RequestHeader>) => (view: DataView) =>
    block.encodeRequestHeader(view, 0, { type: 0, sector: 0, ...fields });
  const range = (fields: Partial<block.SectorRange>) => (view: DataView) =>
    block.encodeRange(view, 0, { sector: 0, sectors: 0, flags: 0, ...fields });
  const offsets: [structure: string, field: string, offset: number][] = [
    ["virtio_blk_outhdr", "type", placeOf(16, header({ type: 1 }))],
    ["virtio_blk_outhdr", "sector", placeOf(16, header({ sector: 1 }))],
    ["virtio_blk_discard_write_zeroes", "sector", placeOf(16, range({ sector: 1 }))],
    ["virtio_blk_discard_write_zeroes", "num_sectors", placeOf(16, range({ sectors: 1 }))],
    ["virtio_blk_discard_write_zeroes", "flags", placeOf(16, range({ flags: 1 }))],
    ["virtio_blk_config", "wce", block.CONFIG_WRITEBACK],
    ["virtio_blk_config", "write_zeroes_may_unmap", block.BLOCK_CONFIG_SIZE - 4],
    ...Object.entries(FIELDS).map(([field, config]): [string, string, number] => [
      "virtio_blk_config",
      field,
      placeOf(60, (view) => block.encodeBlockConfig(view, config)),
    ]),
  ];
  // Each export that has the kernel's name without its prefix; zoned devices came with Linux 6.3.
  const names = Object.entries(block).filter(([name, value]) =>
    typeof value === "number" && name !== "F_ZONED" &&
    /^[FTS]_|^ID_BYTES$|^WRITE_ZEROES_FLAG_UNMAP$/.test(name)
  );
  assertEquals(names.length, 23);
  const expected = [
    ...SIZES.map(([, size]) => size),
    ...offsets.map(([, , offset]) => offset),
    ...names.map(([, value]) => value as number),
  ];
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_blk.h>
    int main(void) {
      ${SIZES.map(([name]) => `printf("%zu ", sizeof(struct ${name}));`).join("\n")}
      ${offsets.map(([s, f]) => `printf("%zu ", offsetof(struct ${s}, ${f}));`).join("\n")}
      ${names.map(([name]) => `printf("%d ", (int)VIRTIO_BLK_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), expected);
});
