// SPDX-License-Identifier: Apache-2.0
/**
 * The payloads of vhost-user messages: values and their bytes, little-endian on all machines this runs on. The roles check
 * whether a value is acceptable in the present state.
 *
 * @module
 */

/** The longest payload accepted: what the strictest of the common implementations accepts. */
export const MAX_BODY = 4096;
/** The most regions of a memory table without CONFIGURE_MEM_SLOTS. */
export const MAX_REGIONS = 8;
/** The largest config space, which is also the most that virtio-mmio has room for. */
export const MAX_CONFIG = 256;

/** Encodes and decodes the payload of one kind of message. */
export interface Codec<T> {
  /** The fewest and most bytes of a payload. */
  readonly min: number;
  readonly max: number;
  encode(value: T): Uint8Array<ArrayBuffer>;
  /**
   * @param body `min` to `max` bytes
   * @throws {RangeError} when a size in the payload contradicts the payload's length
   */
  decode(body: DataView): T;
}

function fixed<T>(
  size: number,
  write: (view: DataView, value: T) => void,
  read: (view: DataView) => T,
): Codec<T> {
  const encode = (value: T): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(size);
    write(new DataView(bytes.buffer), value);
    return bytes;
  };
  return { min: size, max: size, encode, decode: read };
}

function bytesOf(view: DataView, offset = 0): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer, view.byteOffset + offset, view.byteLength - offset).slice();
}

function opaque(min: number, max: number): Codec<Uint8Array> {
  return { min, max, encode: (value) => value.slice(), decode: (body) => bytesOf(body) };
}

/** No payload. */
export const NONE: Codec<void> = fixed<void>(0, () => {}, () => {});

/** One number of 64 bits. */
export const U64: Codec<bigint> = fixed(
  8,
  (view, value) => view.setBigUint64(0, value, true),
  (view) => view.getBigUint64(0, true),
);

/** A ring's index and a number: entries, an available index, on or off. */
export interface VringState {
  index: number;
  num: number;
}

/** {@linkcode VringState}: 0 u32 index, 4 u32 num. */
export const VRING_STATE: Codec<VringState> = fixed(
  8,
  (view, { index, num }) => {
    view.setUint32(0, index, true);
    view.setUint32(4, num, true);
  },
  (view) => ({ index: view.getUint32(0, true), num: view.getUint32(4, true) }),
);

/** A ring's three areas, as user addresses. */
export interface VringAddress {
  index: number;
  /** Bit 0: log writes to the used ring. */
  flags: number;
  desc: bigint;
  avail: bigint;
  used: bigint;
  log: bigint;
}

/** {@linkcode VringAddress}: 0 u32 index, 4 u32 flags, then u64: 8 desc, 16 used, 24 avail, 32 log. */
export const VRING_ADDRESS: Codec<VringAddress> = fixed(
  40,
  (view, value) => {
    view.setUint32(0, value.index, true);
    view.setUint32(4, value.flags, true);
    view.setBigUint64(8, value.desc, true);
    view.setBigUint64(16, value.used, true);
    view.setBigUint64(24, value.avail, true);
    view.setBigUint64(32, value.log, true);
  },
  (view) => ({
    index: view.getUint32(0, true),
    flags: view.getUint32(4, true),
    desc: view.getBigUint64(8, true),
    used: view.getBigUint64(16, true),
    avail: view.getBigUint64(24, true),
    log: view.getBigUint64(32, true),
  }),
);

/** A memory region: `size` bytes of a file from `offset`. */
export interface Region {
  guest: bigint;
  size: bigint;
  user: bigint;
  offset: bigint;
  /** With XEN_MMAP only. */
  xen?: { flags: number; domain: number };
}

const REGION_SIZE = 32;
const XEN_REGION_SIZE = 40;

function writeRegion(view: DataView, at: number, region: Region): void {
  view.setBigUint64(at, region.guest, true);
  view.setBigUint64(at + 8, region.size, true);
  view.setBigUint64(at + 16, region.user, true);
  view.setBigUint64(at + 24, region.offset, true);
  if (region.xen === undefined) return;
  view.setUint32(at + 32, region.xen.flags, true);
  view.setUint32(at + 36, region.xen.domain, true);
}

function readRegion(view: DataView, at: number, size: number): Region {
  const region: Region = {
    guest: view.getBigUint64(at, true),
    size: view.getBigUint64(at + 8, true),
    user: view.getBigUint64(at + 16, true),
    offset: view.getBigUint64(at + 24, true),
  };
  if (size === XEN_REGION_SIZE) {
    region.xen = { flags: view.getUint32(at + 32, true), domain: view.getUint32(at + 36, true) };
  }
  return region;
}

function regionSize(bytes: number, count: number): number {
  for (const size of [REGION_SIZE, XEN_REGION_SIZE]) if (bytes === count * size) return size;
  throw new RangeError(`${count} regions in ${bytes} bytes, expected ${REGION_SIZE} for each`);
}

/** 0 u32 count, 4 u32 padding, 8 regions: u64 guest, size, user, offset (XEN_MMAP: u32 flags, domain). */
export const MEMORY_TABLE: Codec<readonly Region[]> = {
  min: 8,
  max: 8 + MAX_REGIONS * XEN_REGION_SIZE,
  encode(regions) {
    const size = regions.some((region) => region.xen !== undefined) ? XEN_REGION_SIZE : REGION_SIZE;
    const bytes = new Uint8Array(8 + regions.length * size);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, regions.length, true);
    regions.forEach((region, i) => writeRegion(view, 8 + i * size, region));
    return bytes;
  },
  decode(body) {
    const count = body.getUint32(0, true);
    const size = regionSize(body.byteLength - 8, count);
    return Array.from({ length: count }, (_, i) => readRegion(body, 8 + i * size, size));
  },
};

/** 0 u64 padding, 8 one region. */
export const SINGLE_REGION: Codec<Region> = {
  min: 8 + REGION_SIZE,
  max: 8 + XEN_REGION_SIZE,
  encode(region) {
    const bytes = new Uint8Array(8 + (region.xen === undefined ? REGION_SIZE : XEN_REGION_SIZE));
    writeRegion(new DataView(bytes.buffer), 8, region);
    return bytes;
  },
  decode: (body) => readRegion(body, 8, regionSize(body.byteLength - 8, 1)),
};

/** The part of a file that holds the dirty log. */
export interface LogRegion {
  size: bigint;
  offset: bigint;
}

/** {@linkcode LogRegion}: u64 size, offset. */
export const LOG_REGION: Codec<LogRegion> = fixed(
  16,
  (view, { size, offset }) => {
    view.setBigUint64(0, size, true);
    view.setBigUint64(8, offset, true);
  },
  (view) => ({ size: view.getBigUint64(0, true), offset: view.getBigUint64(8, true) }),
);

/** The answer to SET_LOG_BASE: some back-ends send a number, some the region. */
export const LOG_REPLY: Codec<bigint | LogRegion> = {
  min: U64.min,
  max: LOG_REGION.max,
  encode: (value) => typeof value === "bigint" ? U64.encode(value) : LOG_REGION.encode(value),
  decode(body) {
    if (body.byteLength === U64.min) return U64.decode(body);
    if (body.byteLength === LOG_REGION.min) return LOG_REGION.decode(body);
    throw new RangeError(`${body.byteLength} bytes, expected ${U64.min} or ${LOG_REGION.min}`);
  },
};

/** A change to the IOMMU's translations. */
export interface Iotlb {
  iova: bigint;
  size: bigint;
  user: bigint;
  /** 0 none, 1 read, 2 write, 3 both. */
  permission: number;
  /** 1 miss, 2 update, 3 invalidate, 4 access failed. */
  type: number;
}

/** {@linkcode Iotlb}: u64: 0 iova, 8 size, 16 user; u8: 24 permission, 25 type; padding to 32. */
export const IOTLB: Codec<Iotlb> = fixed(
  32,
  (view, value) => {
    view.setBigUint64(0, value.iova, true);
    view.setBigUint64(8, value.size, true);
    view.setBigUint64(16, value.user, true);
    view.setUint8(24, value.permission);
    view.setUint8(25, value.type);
  },
  (view) => ({
    iova: view.getBigUint64(0, true),
    size: view.getBigUint64(8, true),
    user: view.getBigUint64(16, true),
    permission: view.getUint8(24),
    type: view.getUint8(25),
  }),
);

/** A part of the config space. */
export interface Config {
  offset: number;
  /** 0 written by the driver, 1 by a migration. */
  flags: number;
  data: Uint8Array;
}

/** {@linkcode Config}: u32: 0 offset, 4 size, 8 flags; 12 the bytes. */
export const CONFIG: Codec<Config> = {
  min: 12,
  max: 12 + MAX_CONFIG,
  encode({ offset, flags, data }) {
    const bytes = new Uint8Array(12 + data.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, offset, true);
    view.setUint32(4, data.length, true);
    view.setUint32(8, flags, true);
    bytes.set(data, 12);
    return bytes;
  },
  decode(body) {
    const size = body.getUint32(4, true);
    if (size !== body.byteLength - 12) {
      throw new RangeError(`config size ${size}, expected the ${body.byteLength - 12} that follow`);
    }
    const data = bytesOf(body, 12);
    return { offset: body.getUint32(0, true), flags: body.getUint32(8, true), data };
  },
};

/** The reply to GET_CONFIG; an empty payload (null) means that the back-end refuses. */
export const CONFIG_REPLY: Codec<Config | null> = {
  min: 0,
  max: CONFIG.max,
  encode: (value) => value === null ? new Uint8Array() : CONFIG.encode(value),
  decode(body) {
    if (body.byteLength === 0) return null;
    if (body.byteLength >= CONFIG.min) return CONFIG.decode(body);
    throw new RangeError(`${body.byteLength} bytes, expected 0 or at least ${CONFIG.min}`);
  },
};

/** A ring's index, and whether an eventfd comes with the message. */
export interface VringFd {
  index: number;
  /** No descriptor: the back-end polls (kick), or does not signal (call, error). */
  noFd: boolean;
}

function vringWord({ index, noFd }: VringFd): bigint {
  return BigInt(index & 0xff) | (noFd ? 0x100n : 0n);
}

function vringOfWord(word: bigint): VringFd {
  return { index: Number(word & 0xffn), noFd: (word & 0x100n) !== 0n };
}

/** {@linkcode VringFd}: u64, bits 0 to 7 the index, bit 8 no descriptor. */
export const VRING_FD: Codec<VringFd> = fixed(
  8,
  (view, value) => view.setBigUint64(0, vringWord(value), true),
  (view) => vringOfWord(view.getBigUint64(0, true)),
);

/** A ring's doorbell page. */
export interface VringArea extends VringFd {
  size: bigint;
  offset: bigint;
}

/** {@linkcode VringArea}: u64: 0 as {@linkcode VRING_FD}, 8 size, 16 offset. */
export const VRING_AREA: Codec<VringArea> = fixed(
  24,
  (view, value) => {
    view.setBigUint64(0, vringWord(value), true);
    view.setBigUint64(8, value.size, true);
    view.setBigUint64(16, value.offset, true);
  },
  (view) => ({
    ...vringOfWord(view.getBigUint64(0, true)),
    size: view.getBigUint64(8, true),
    offset: view.getBigUint64(16, true),
  }),
);

/** The shared memory that records requests in flight. */
export interface Inflight {
  size: bigint;
  offset: bigint;
  queues: number;
  queueSize: number;
}

/** {@linkcode Inflight}: u64: 0 size, 8 offset; u16: 16 queues, 18 queue size; padding to 24. */
export const INFLIGHT: Codec<Inflight> = fixed(
  24,
  (view, value) => {
    view.setBigUint64(0, value.size, true);
    view.setBigUint64(8, value.offset, true);
    view.setUint16(16, value.queues, true);
    view.setUint16(18, value.queueSize, true);
  },
  (view) => ({
    size: view.getBigUint64(0, true),
    offset: view.getBigUint64(8, true),
    queues: view.getUint16(16, true),
    queueSize: view.getUint16(18, true),
  }),
);

/** The sixteen bytes of a UUID, in the order they are written. */
export const UUID: Codec<Uint8Array> = opaque(16, 16);

/** Parameters of a crypto session, as bytes, since implementations use different layouts. */
export const CRYPTO_SESSION: Codec<Uint8Array> = opaque(0, MAX_BODY);

/** Direction and phase of a device state transfer. */
export interface DeviceStateTransfer {
  /** 0 save, 1 load. */
  direction: number;
  /** 0 stopped. */
  phase: number;
}

/** {@linkcode DeviceStateTransfer}: u32 direction, phase. */
export const DEVICE_STATE: Codec<DeviceStateTransfer> = fixed(
  8,
  (view, { direction, phase }) => {
    view.setUint32(0, direction, true);
    view.setUint32(4, phase, true);
  },
  (view) => ({ direction: view.getUint32(0, true), phase: view.getUint32(4, true) }),
);

/** A mapping into a shared-memory region of the device. */
export interface ShmemMapping {
  shmid: number;
  fdOffset: bigint;
  shmOffset: bigint;
  length: bigint;
  /** Bit 0: writable. */
  flags: bigint;
}

/** {@linkcode ShmemMapping}: 0 u8 shmid, padding; u64: 8 offset in the file, 16 in the region, 24 length, 32 flags. */
export const SHMEM_MAPPING: Codec<ShmemMapping> = fixed(
  40,
  (view, value) => {
    view.setUint8(0, value.shmid);
    view.setBigUint64(8, value.fdOffset, true);
    view.setBigUint64(16, value.shmOffset, true);
    view.setBigUint64(24, value.length, true);
    view.setBigUint64(32, value.flags, true);
  },
  (view) => ({
    shmid: view.getUint8(0),
    fdOffset: view.getBigUint64(8, true),
    shmOffset: view.getBigUint64(16, true),
    length: view.getBigUint64(24, true),
    flags: view.getBigUint64(32, true),
  }),
);

/** Shared-memory regions of a device. */
export interface ShmemConfig {
  count: number;
  /** Bytes of each of the 256 possible regions, 0 for none. */
  sizes: readonly bigint[];
}

/** {@linkcode ShmemConfig}: 0 u32 count, 4 u32 padding, 8 u64 × 256. */
export const SHMEM_CONFIG: Codec<ShmemConfig> = fixed(
  8 + 8 * 256,
  (view, { count, sizes }) => {
    view.setUint32(0, count, true);
    for (let i = 0; i < 256; i++) view.setBigUint64(8 + 8 * i, sizes[i] ?? 0n, true);
  },
  (view) => ({
    count: view.getUint32(0, true),
    sizes: Array.from({ length: 256 }, (_, i) => view.getBigUint64(8 + 8 * i, true)),
  }),
);
