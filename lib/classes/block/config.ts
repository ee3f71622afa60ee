// SPDX-License-Identifier: Apache-2.0
/**
 * The features and the config space of a block device (virtio 1.2 §5.2.3, §5.2.4).
 *
 * @module
 */
import { bit } from "../../virtio/features.ts";
import type { Disk } from "./disk.ts";
import { MAX_DISCARD_SECTORS, MAX_RANGES, MAX_ZEROES_SECTORS } from "./request.ts";
import type { BlockSettings } from "./spec.ts";
import {
  BLOCK_CONFIG_SIZE,
  encodeBlockConfig,
  F_BLK_SIZE,
  F_CONFIG_WCE,
  F_DISCARD,
  F_FLUSH,
  F_MQ,
  F_RO,
  F_SEG_MAX,
  F_SIZE_MAX,
  F_TOPOLOGY,
  F_WRITE_ZEROES,
  SECTOR_SIZE,
} from "./wire.ts";

/** A queue of 128 descriptors, less those of the head and the status. */
const SEG_MAX = 126;
/** With {@linkcode SEG_MAX} the largest request has less than 4 MiB, which an adapter with memory of its own has room for. */
const SIZE_MAX = 32768;

/** The features that a device offers. */
export function offered({ isReadOnly }: Disk, { queues }: BlockSettings): bigint {
  const always = [F_SIZE_MAX, F_SEG_MAX, F_BLK_SIZE, F_TOPOLOGY, F_FLUSH, F_CONFIG_WCE];
  const access = isReadOnly ? [F_RO] : [F_DISCARD, F_WRITE_ZEROES];
  const multi = queues > 1 ? [F_MQ] : [];
  return [...always, ...access, ...multi].reduce((bits, n) => bits | bit(n), 0n);
}

/** The config space. */
export function writeConfigOf(
  { sectors, blockSize, physicalBlockSize, isReadOnly }: Disk,
  { queues }: BlockSettings,
  writeback: boolean,
): Uint8Array<ArrayBuffer> {
  const blocks = physicalBlockSize / blockSize;
  const limits = { maxRanges: isReadOnly ? 0 : MAX_RANGES };
  const config = new Uint8Array(BLOCK_CONFIG_SIZE);
  encodeBlockConfig(new DataView(config.buffer), {
    capacity: sectors,
    sizeMax: SIZE_MAX,
    segMax: SEG_MAX,
    geometry: { cylinders: 0, heads: 0, sectors: 0 },
    blockSize,
    topology: {
      physicalBlockExp: Math.log2(blocks),
      alignmentOffset: 0,
      minIoSize: blocks,
      optIoSize: 0,
    },
    writeback: Number(writeback),
    queueCount: queues,
    discard: {
      ...limits,
      maxSectors: isReadOnly ? 0 : MAX_DISCARD_SECTORS,
      alignment: physicalBlockSize / SECTOR_SIZE,
    },
    writeZeroes: {
      ...limits,
      maxSectors: isReadOnly ? 0 : MAX_ZEROES_SECTORS,
      mayUnmap: isReadOnly ? 0 : 1,
    },
  });
  return config;
}
