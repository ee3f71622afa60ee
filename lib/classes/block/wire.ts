// SPDX-License-Identifier: Apache-2.0
/**
 * The block device's structures (virtio 1.2 §5.2; Linux's `<linux/virtio_blk.h>`): requests, ranges and the config space.
 * All fields are little endian.
 *
 * @module
 */

/** Feature bit: `sizeMax` limits each segment. */
export const F_SIZE_MAX = 1;
/** Feature bit: `segMax` limits the segments of a request. */
export const F_SEG_MAX = 2;
/** Feature bit: the geometry is given. */
export const F_GEOMETRY = 4;
/** Feature bit: the disk cannot be written. */
export const F_RO = 5;
/** Feature bit: `blockSize` is given. */
export const F_BLK_SIZE = 6;
/** Feature bit: {@linkcode T_FLUSH} is served. */
export const F_FLUSH = 9;
/** Feature bit: the topology is given. */
export const F_TOPOLOGY = 10;
/** Feature bit: the driver may switch the write cache by `writeback`. */
export const F_CONFIG_WCE = 11;
/** Feature bit: there are `queueCount` queues. */
export const F_MQ = 12;
/** Feature bit: {@linkcode T_DISCARD} is served. */
export const F_DISCARD = 13;
/** Feature bit: {@linkcode T_WRITE_ZEROES} is served. */
export const F_WRITE_ZEROES = 14;
/** Feature bit: secure erase is served. */
export const F_SECURE_ERASE = 16;
/** Feature bit: a zoned device (virtio 1.3). */
export const F_ZONED = 17;

/** Request: read sectors. */
export const T_IN = 0;
/** Request: write sectors. */
export const T_OUT = 1;
/** Request: commit the writes that were completed before. */
export const T_FLUSH = 4;
/** Request: read the device's identifier. */
export const T_GET_ID = 8;
/** Request: the contents of ranges are no longer needed. */
export const T_DISCARD = 11;
/** Request: fill ranges with zeros. */
export const T_WRITE_ZEROES = 13;

/** Status: done. */
export const S_OK = 0;
/** Status: an error of the device or the driver. */
export const S_IOERR = 1;
/** Status: the device does not serve the request. */
export const S_UNSUPP = 2;

/** Bytes of a sector, the unit of all addresses and lengths whatever the block size. */
export const SECTOR_SIZE = 512;
/** Bytes of the identifier, padded with zeros; not terminated when it has as many. */
export const ID_BYTES = 20;

/** What is before a request's data: u32 type, u32 reserved (ioprio), u64 sector. */
export const REQUEST_HEADER_SIZE = 16;
/** What follows its data: u8 status. */
export const STATUS_SIZE = 1;

/** The head of a request. */
export interface RequestHeader {
  /** {@linkcode T_IN} and so on. */
  readonly type: number;
  /** The first sector; 0 where the type has none. Beyond 2^53 it is inexact, and beyond every disk. */
  readonly sector: number;
}

/** A u64 as a number: exact below 2^53. */
function readU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** @param value A whole number below 2^53 */
function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Reads a request's head at a byte offset. */
export function decodeRequestHeader(view: DataView, at: number): RequestHeader {
  return { type: view.getUint32(at, true), sector: readU64(view, at + 8) };
}

/** Writes a request's head at a byte offset. */
export function encodeRequestHeader(view: DataView, at: number, header: RequestHeader): void {
  view.setUint32(at, header.type, true);
  view.setUint32(at + 4, 0, true);
  writeU64(view, at + 8, header.sector);
}

/** A range to discard or to fill with zeros: u64 sector, u32 sectors, u32 flags. */
export const RANGE_SIZE = 16;
/** Flag of a range to fill with zeros: its sectors may be deallocated. */
export const WRITE_ZEROES_FLAG_UNMAP = 1;

/** A range of sectors. */
export interface SectorRange {
  /** The first; inexact beyond 2^53. */
  readonly sector: number;
  readonly sectors: number;
  /** {@linkcode WRITE_ZEROES_FLAG_UNMAP} or 0. */
  readonly flags: number;
}

/** Reads a range at a byte offset. */
export function decodeRange(view: DataView, at: number): SectorRange {
  return {
    sector: readU64(view, at),
    sectors: view.getUint32(at + 8, true),
    flags: view.getUint32(at + 12, true),
  };
}

/** Writes a range at a byte offset. */
export function encodeRange(view: DataView, at: number, range: SectorRange): void {
  writeU64(view, at, range.sector);
  view.setUint32(at + 8, range.sectors, true);
  view.setUint32(at + 12, range.flags, true);
}

/** Bytes of the config space up to the limits of {@linkcode T_WRITE_ZEROES}. */
export const BLOCK_CONFIG_SIZE = 60;
/** Offset of the u8 `writeback`, the only field that the driver may write. */
export const CONFIG_WRITEBACK = 32;
const CONFIG_NUM_QUEUES = 34;

/** The config space. Fields of a feature that is not offered are 0. */
export interface BlockConfig {
  /** Sectors of the disk. */
  readonly capacity: number;
  /** Most bytes of a segment. */
  readonly sizeMax: number;
  /** Most segments of a request, besides its head and its status. */
  readonly segMax: number;
  readonly geometry: {
    readonly cylinders: number;
    readonly heads: number;
    readonly sectors: number;
  };
  /** Bytes of a logical block. */
  readonly blockSize: number;
  readonly topology: {
    /** 2 to the power of this many logical blocks make a physical one. */
    readonly physicalBlockExp: number;
    /** Logical blocks before the first that is aligned. */
    readonly alignmentOffset: number;
    /** The smallest size without a penalty, in logical blocks. */
    readonly minIoSize: number;
    /** The best size of a sequential access, in logical blocks. */
    readonly optIoSize: number;
  };
  /** 1: writes are cached until a flush. 0: each is committed before it is answered. */
  readonly writeback: number;
  readonly queueCount: number;
  /** Most sectors and ranges of {@linkcode T_DISCARD}, and the sectors to which a range is to be aligned. */
  readonly discard: {
    readonly maxSectors: number;
    readonly maxRanges: number;
    readonly alignment: number;
  };
  /** Most sectors and ranges of {@linkcode T_WRITE_ZEROES}; `mayUnmap` 1: the flag to deallocate has an effect. */
  readonly writeZeroes: {
    readonly maxSectors: number;
    readonly maxRanges: number;
    readonly mayUnmap: number;
  };
}

/** Reads the number of queues from a config space of at least 36 bytes. */
export function decodeQueueCount(view: DataView): number {
  return view.getUint16(CONFIG_NUM_QUEUES, true);
}

/** Reads a config space of {@linkcode BLOCK_CONFIG_SIZE} bytes. */
export function decodeBlockConfig(view: DataView): BlockConfig {
  const u32 = (at: number): number => view.getUint32(at, true);
  return {
    capacity: readU64(view, 0),
    sizeMax: u32(8),
    segMax: u32(12),
    geometry: {
      cylinders: view.getUint16(16, true),
      heads: view.getUint8(18),
      sectors: view.getUint8(19),
    },
    blockSize: u32(20),
    topology: {
      physicalBlockExp: view.getUint8(24),
      alignmentOffset: view.getUint8(25),
      minIoSize: view.getUint16(26, true),
      optIoSize: u32(28),
    },
    writeback: view.getUint8(CONFIG_WRITEBACK),
    queueCount: decodeQueueCount(view),
    discard: { maxSectors: u32(36), maxRanges: u32(40), alignment: u32(44) },
    writeZeroes: { maxSectors: u32(48), maxRanges: u32(52), mayUnmap: view.getUint8(56) },
  };
}

/** Writes a config space of {@linkcode BLOCK_CONFIG_SIZE} bytes. */
export function encodeBlockConfig(view: DataView, config: BlockConfig): void {
  const { geometry, topology, discard, writeZeroes } = config;
  writeU64(view, 0, config.capacity);
  view.setUint32(8, config.sizeMax, true);
  view.setUint32(12, config.segMax, true);
  view.setUint16(16, geometry.cylinders, true);
  view.setUint8(18, geometry.heads);
  view.setUint8(19, geometry.sectors);
  view.setUint32(20, config.blockSize, true);
  view.setUint8(24, topology.physicalBlockExp);
  view.setUint8(25, topology.alignmentOffset);
  view.setUint16(26, topology.minIoSize, true);
  view.setUint32(28, topology.optIoSize, true);
  view.setUint8(CONFIG_WRITEBACK, config.writeback);
  view.setUint8(33, 0);
  view.setUint16(CONFIG_NUM_QUEUES, config.queueCount, true);
  view.setUint32(36, discard.maxSectors, true);
  view.setUint32(40, discard.maxRanges, true);
  view.setUint32(44, discard.alignment, true);
  view.setUint32(48, writeZeroes.maxSectors, true);
  view.setUint32(52, writeZeroes.maxRanges, true);
  view.setUint32(56, writeZeroes.mayUnmap, true);
}
