// SPDX-License-Identifier: Apache-2.0
/**
 * A request of the driver (virtio 1.2 §5.2.6): read from its chain, checked, and cut into operations.
 *
 * @module
 */
import type { Chain } from "../../virtio/chain.ts";
import type { Disk } from "./disk.ts";
import { SLOT_BYTES } from "./io_slots.ts";
import { OP } from "./operations.ts";
import {
  decodeRange,
  decodeRequestHeader,
  RANGE_SIZE,
  REQUEST_HEADER_SIZE,
  S_IOERR,
  S_OK,
  S_UNSUPP,
  SECTOR_SIZE,
  type SectorRange,
  STATUS_SIZE,
  T_DISCARD,
  T_FLUSH,
  T_IN,
  T_OUT,
  T_WRITE_ZEROES,
  WRITE_ZEROES_FLAG_UNMAP,
} from "./wire.ts";

/** Most ranges of one request, and most sectors of each. */
export const MAX_RANGES = 16;
/** 2 GiB. */
export const MAX_DISCARD_SECTORS: number = 2 ** 22;
/** 16 MiB: on some file systems they must be written. */
export const MAX_ZEROES_SECTORS: number = 2 ** 15;

/** A part of the disk, in bytes. */
interface Extent {
  readonly position: number;
  readonly length: number;
  readonly op: number;
}

/** A request that takes operations on the disk. */
export class Request {
  status: number = S_OK;
  /** Operations that are queued or being worked on. */
  outstanding = 0;
  /** Its queue was abandoned: its chain must not be touched any more. */
  abandoned = false;
  #extent = 0;
  /** Bytes of the extent that operations were made for. */
  #offset = 0;

  /**
   * @param chain Null for a flush of the device's own
   * @param extents Of data there is one; operations are made of it piece by piece
   */
  constructor(
    readonly queue: number,
    readonly chain: Chain | null,
    readonly extents: readonly Extent[],
  ) {}

  /** Whether there is another operation to make. */
  get hasMore(): boolean {
    return this.#extent < this.extents.length;
  }

  /** The next operation: its op, position and length. Only while there is one. */
  get op(): number {
    return this.extents[this.#extent]!.op;
  }

  get position(): number {
    return this.extents[this.#extent]!.position + this.#offset;
  }

  get length(): number {
    const { op, length } = this.extents[this.#extent]!;
    return hasData(op) ? Math.min(length - this.#offset, SLOT_BYTES) : length;
  }

  /** Where the next operation's data is in the request's data. */
  get dataOffset(): number {
    return this.#offset;
  }

  /** Moves on to the operation after this one. */
  advance(): void {
    this.#offset += this.length;
    if (this.#offset < this.extents[this.#extent]!.length) return;
    this.#offset = 0;
    this.#extent++;
  }

  /** Makes no more operations: one has failed. */
  fail(): void {
    this.status = S_IOERR;
    this.#extent = this.extents.length;
  }
}

function hasData(op: number): boolean {
  return op === OP.read || op === OP.write;
}

const scratch = new Uint8Array(REQUEST_HEADER_SIZE + MAX_RANGES * RANGE_SIZE);
const view = new DataView(scratch.buffer);

/** Type of a request, −1 when it is cut short. */
export function typeOf(chain: Chain): number {
  const length = chain.gather(0, scratch, 0, REQUEST_HEADER_SIZE);
  return length < REQUEST_HEADER_SIZE ? -1 : decodeRequestHeader(view, 0).type;
}

/**
 * Reads a request for the disk.
 *
 * @param chain With room for a status
 * @returns a status when it is refused: S_UNSUPP for a type or flag that is not served, S_IOERR for sectors beyond the end,
 * lengths that are not whole blocks, a write to a disk that cannot be written
 */
export function parseRequest(queue: number, chain: Chain, disk: Disk): Request | number {
  const header = chain.gather(0, scratch, 0, REQUEST_HEADER_SIZE);
  if (header < REQUEST_HEADER_SIZE) return S_IOERR;
  const { type, sector } = decodeRequestHeader(view, 0);
  switch (type) {
    case T_IN:
      return transfer(queue, chain, disk, OP.read, sector, chain.writableBytes - STATUS_SIZE);
    case T_OUT: {
      if (disk.isReadOnly) return S_IOERR;
      const length = chain.readableBytes - REQUEST_HEADER_SIZE;
      return transfer(queue, chain, disk, OP.write, sector, length);
    }
    case T_FLUSH:
      return new Request(queue, chain, [{ op: OP.flush, position: 0, length: 0 }]);
    case T_DISCARD:
    case T_WRITE_ZEROES:
      return disk.isReadOnly ? S_UNSUPP : ranges(queue, chain, disk, type);
    default:
      return S_UNSUPP;
  }
}

/** Whether sectors are whole blocks within the disk. */
function isWithin({ sectors, blockSize }: Disk, sector: number, bytes: number): boolean {
  const isAligned = sector % (blockSize / SECTOR_SIZE) === 0 && bytes % blockSize === 0;
  return isAligned && sector + bytes / SECTOR_SIZE <= sectors;
}

function transfer(
  queue: number,
  chain: Chain,
  disk: Disk,
  op: number,
  sector: number,
  length: number,
): Request | number {
  if (!isWithin(disk, sector, length)) return S_IOERR;
  const position = sector * SECTOR_SIZE;
  return new Request(queue, chain, length === 0 ? [] : [{ op, position, length }]);
}

/** The status of a range that is refused (§5.2.6.2); S_OK for one that is served. */
function checkRange(type: number, { sectors, flags }: SectorRange): number {
  const isDiscard = type === T_DISCARD;
  const known = isDiscard ? 0 : WRITE_ZEROES_FLAG_UNMAP;
  if ((flags & ~known) !== 0) return S_UNSUPP;
  return sectors > (isDiscard ? MAX_DISCARD_SECTORS : MAX_ZEROES_SECTORS) ? S_IOERR : S_OK;
}

/** The operation that a range asks for. */
function rangeOp(type: number, { flags }: SectorRange): number {
  if (type === T_DISCARD) return OP.discard;
  return flags === 0 ? OP.zero : OP.zeroUnmap;
}

function ranges(queue: number, chain: Chain, disk: Disk, type: number): Request | number {
  const bytes = chain.readableBytes - REQUEST_HEADER_SIZE;
  if (bytes === 0 || bytes % RANGE_SIZE !== 0 || bytes > MAX_RANGES * RANGE_SIZE) return S_IOERR;
  chain.gather(REQUEST_HEADER_SIZE, scratch, REQUEST_HEADER_SIZE, bytes);
  const extents: Extent[] = [];
  for (let at = 0; at < bytes; at += RANGE_SIZE) {
    const range = decodeRange(view, REQUEST_HEADER_SIZE + at);
    const status = checkRange(type, range);
    if (status !== S_OK) return status;
    const length = range.sectors * SECTOR_SIZE;
    if (!isWithin(disk, range.sector, length)) return S_IOERR;
    const extent = { op: rangeOp(type, range), position: range.sector * SECTOR_SIZE, length };
    if (length > 0) extents.push(extent);
  }
  return new Request(queue, chain, extents);
}
