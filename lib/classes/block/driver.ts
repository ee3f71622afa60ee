// SPDX-License-Identifier: Apache-2.0
/**
 * The block driver (virtio 1.2 §5.2), like Linux's virtio_blk: reads the limits, sets up a queue or several, and has as many
 * requests in flight as there is room for.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import type { DriverContract, DriverRole } from "../../guest/role.ts";
import { type MmioDevice, REGISTER } from "../../guest/transport.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { block, MAX_REQUEST_QUEUES } from "./class.ts";
import { hammer, type HammerOptions, type HammerResult } from "./hammer.ts";
import { type MeasureOptions, measureReads } from "./measure.ts";
import { type Buffer, type Limits, Transfers } from "./transfers.ts";
import {
  BLOCK_CONFIG_SIZE,
  type BlockConfig,
  CONFIG_WRITEBACK,
  decodeBlockConfig,
  encodeRange,
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
  ID_BYTES,
  RANGE_SIZE,
  SECTOR_SIZE,
  type SectorRange,
  T_DISCARD,
  T_FLUSH,
  T_GET_ID,
  T_IN,
  T_OUT,
  T_WRITE_ZEROES,
} from "./wire.ts";

/** The features that Linux's driver accepts, except zones and secure erase. */
const ACCEPTED = [
  ...[F_SIZE_MAX, F_SEG_MAX, F_RO, F_BLK_SIZE, F_FLUSH, F_TOPOLOGY, F_CONFIG_WCE, F_MQ],
  ...[F_DISCARD, F_WRITE_ZEROES],
].reduce((bits, n) => bits | bit(n), 0n);

/** The largest block that Linux takes: a page. */
const MAX_BLOCK = 4096;
/** Bytes of data in the requests of {@linkcode BlockDriverContract} `readSectors` and `writeSectors`, if the device takes as many. */
const CHUNK = 131072;
/** The largest segment, where the device sets no limit. */
const MAX_SEGMENT = 65536;

const PROGRESS = {
  states: [],
  totals: [],
  words: ["reads", "writes"],
  numbers: [],
} as const;

/** The layout of the driver's progress: reads and writes that were answered. */
export type BlockProgress = typeof PROGRESS;

/** What the driver finds. */
export interface DiskInfo {
  /** Sectors. */
  readonly capacity: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  readonly queues: number;
  readonly isReadOnly: boolean;
  /** The config space. */
  readonly config: BlockConfig;
}

/** A bound disk. */
class BlockDriver {
  readonly found: DiskInfo;
  readonly transfers: Transfers;
  readonly #buffer: Buffer;

  private constructor(readonly device: MmioDevice<BlockProgress>, timeoutMs: number) {
    const config = this.#readConfig();
    const has = (feature: number): boolean => hasFeature(device.features, feature);
    const blockSize = has(F_BLK_SIZE) ? config.blockSize : SECTOR_SIZE;
    if (blockSize < SECTOR_SIZE || blockSize > MAX_BLOCK || (blockSize & blockSize - 1) !== 0) {
      throw this.#invalid(`its blocks have ${blockSize} bytes, expected 512 to ${MAX_BLOCK}`);
    }
    const stated = has(F_MQ) ? config.queueCount : 1;
    if (stated === 0) throw this.#invalid("it has no queues, expected one or more");
    const queues = Math.min(stated, MAX_REQUEST_QUEUES);
    const limits: Limits = {
      // Some devices offer the limit and leave it 0, which Linux takes for none.
      sizeMax: has(F_SIZE_MAX) && config.sizeMax > 0 ? config.sizeMax : MAX_SEGMENT,
      segMax: has(F_SEG_MAX) && config.segMax > 0 ? config.segMax : 1,
    };
    const { capacity } = config;
    this.found = { capacity, blockSize, queues, isReadOnly: has(F_RO), config };
    this.transfers = new Transfers(device, queues, limits, timeoutMs);
    const bytes = Math.min(CHUNK, this.transfers.maxBytes);
    if (bytes < blockSize) {
      throw this.#invalid(`its requests have ${bytes} bytes at most, expected a block's`);
    }
    [this.#buffer] = this.transfers.allocate(1, bytes) as [Buffer];
    device.ready();
  }

  /** Probes the device. @throws {GuestError} as Linux's probe would fail */
  static bind(device: MmioDevice<BlockProgress>, timeoutMs: number): BlockDriver {
    return device.bind(block.id, ACCEPTED, () => new BlockDriver(device, timeoutMs));
  }

  #invalid(problem: string): GuestError {
    return new GuestError("EINVAL", `drive ${this.device.name}: ${problem}`);
  }

  #readConfig(): BlockConfig {
    const view = new DataView(new ArrayBuffer(BLOCK_CONFIG_SIZE));
    for (let at = 0; at < BLOCK_CONFIG_SIZE; at += 4) {
      view.setUint32(at, this.device.readConfig(at, 4), true);
    }
    return decodeBlockConfig(view);
  }

  /** Reads sectors, request by request. */
  read(sector: number, bytes: number): Uint8Array<ArrayBuffer> {
    const { data } = this.#buffer;
    const all = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += data.length) {
      const length = Math.min(data.length, bytes - at);
      this.transfers.run(this.#buffer, T_IN, sector + at / SECTOR_SIZE, length);
      all.set(data.subarray(0, length), at);
    }
    return all;
  }

  write(sector: number, bytes: Uint8Array): void {
    const { data } = this.#buffer;
    for (let at = 0; at < bytes.length; at += data.length) {
      const length = Math.min(data.length, bytes.length - at);
      data.set(bytes.subarray(at, at + length));
      this.transfers.run(this.#buffer, T_OUT, sector + at / SECTOR_SIZE, length);
    }
  }

  flush(): void {
    this.transfers.run(this.#buffer, T_FLUSH, 0, 0);
  }

  ranges(type: number, ranges: readonly SectorRange[]): void {
    const { buffer, byteOffset, length } = this.#buffer.data;
    const view = new DataView(buffer, byteOffset, length);
    ranges.forEach((range, i) => encodeRange(view, i * RANGE_SIZE, range));
    this.transfers.run(this.#buffer, type, 0, ranges.length * RANGE_SIZE);
  }

  identify(): string {
    this.transfers.run(this.#buffer, T_GET_ID, 0, ID_BYTES);
    const id = this.#buffer.data.slice(0, ID_BYTES);
    return new TextDecoder().decode(id).replace(/\0.*$/s, "");
  }

  /** As `echo "write through" > /sys/block/vda/cache_type` does. @returns the setting afterwards */
  setWriteCache(isOn: boolean): boolean {
    if (!hasFeature(this.device.features, F_CONFIG_WCE)) {
      throw new GuestError("EOPNOTSUPP", `switch the write cache of ${this.device.name}`);
    }
    this.device.port.write(REGISTER.config + CONFIG_WRITEBACK, 1, Number(isOn));
    return this.writeCache;
  }

  get writeCache(): boolean {
    return this.device.readConfig(CONFIG_WRITEBACK, 1) === 1;
  }

  /** Reads the first block, and writes it back if the disk is not read-only. */
  exercise(): void {
    const { blockSize, isReadOnly } = this.found;
    const first = this.read(0, blockSize);
    if (isReadOnly) return;
    this.write(0, first);
    if (hasFeature(this.device.features, F_FLUSH)) this.flush();
  }
}

/** The contract between the block driver and its guest's owner. */
export interface BlockDriverContract extends DriverContract {
  found: DiskInfo;
  calls: {
    /** Reads sectors. @param bytes Whole sectors */
    readSectors(sector: number, bytes: number): Uint8Array<ArrayBuffer>;
    /** Writes whole sectors. */
    writeSectors(sector: number, bytes: Uint8Array<ArrayBuffer>): void;
    /** Has the device commit what was written. */
    flush(): void;
    discard(ranges: readonly SectorRange[]): void;
    writeZeroes(ranges: readonly SectorRange[]): void;
    /** The device's identifier. */
    identify(): string;
    /** Switches the write cache. @returns whether it is on */
    setWriteCache(isOn: boolean): boolean;
    /** Whether the write cache is on. */
    writeCache(): boolean;
    /** Writes and reads at random, and verifies. @throws when a block is not as its last write left it */
    hammer(options: HammerOptions): HammerResult;
    /** Measures reads. @returns nanoseconds of all */
    measureReads(options: MeasureOptions): number;
  };
  progress: BlockProgress;
}

/** The software block driver. */
export const driver: DriverRole<BlockDriverContract> = {
  deviceClass: block,
  progress: PROGRESS,
  bind: (device, { stallTimeoutMs }) => {
    const disk = BlockDriver.bind(device, stallTimeoutMs);
    const isToEnd = (): boolean => device.isToEnd();
    return {
      found: disk.found,
      calls: {
        readSectors: (sector, bytes) => disk.read(sector, bytes),
        writeSectors: (sector, bytes) => disk.write(sector, bytes),
        flush: () => disk.flush(),
        discard: (ranges) => disk.ranges(T_DISCARD, ranges),
        writeZeroes: (ranges) => disk.ranges(T_WRITE_ZEROES, ranges),
        identify: () => disk.identify(),
        setWriteCache: (isOn) => disk.setWriteCache(isOn),
        writeCache: () => disk.writeCache,
        hammer: (options) => hammer(disk.transfers, device.progress, options, isToEnd),
        measureReads: (options) => measureReads(disk.transfers, options),
      },
      exercise: () => disk.exercise(),
    };
  },
};
