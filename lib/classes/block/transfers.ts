// SPDX-License-Identifier: Apache-2.0
/**
 * The requests of the block driver: buffers in the guest's memory, and the queues that they go to.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import type { Segment } from "../../virtio/driver_queue.ts";
import type { BlockProgress } from "./driver.ts";
import {
  encodeRequestHeader,
  REQUEST_HEADER_SIZE,
  S_OK,
  S_UNSUPP,
  SECTOR_SIZE,
  T_DISCARD,
  T_FLUSH,
  T_GET_ID,
  T_IN,
  T_OUT,
  T_WRITE_ZEROES,
} from "./wire.ts";

const NAMES: Readonly<Record<number, string>> = {
  [T_IN]: "read",
  [T_OUT]: "write",
  [T_FLUSH]: "flush",
  [T_GET_ID]: "identify",
  [T_DISCARD]: "discard",
  [T_WRITE_ZEROES]: "write zeroes",
};

/** A status that no device gives: it has not written one. */
const NO_STATUS = 0xff;

/** A buffer for a request. While the device has it, its memory belongs to that. */
export class Buffer {
  /** Called when the device has returned it. */
  onDone: () => void = () => {};
  /** What it was used for last. */
  type = 0;
  sector = 0;

  /**
   * @param address Guest address of a page with the head and the status
   * @param data Room for data
   */
  constructor(
    readonly address: number,
    readonly page: DataView,
    readonly dataAddress: number,
    readonly data: Uint8Array,
  ) {}

  get status(): number {
    return this.page.getUint8(REQUEST_HEADER_SIZE);
  }

  /** The segments of a request, none longer than the device takes. */
  segments(type: number, sector: number, length: number, sizeMax: number): Segment[] {
    this.type = type;
    this.sector = sector;
    encodeRequestHeader(this.page, 0, { type, sector });
    this.page.setUint8(REQUEST_HEADER_SIZE, NO_STATUS);
    const writable = type === T_IN || type === T_GET_ID;
    const segments = [{ address: this.address, length: REQUEST_HEADER_SIZE, writable: false }];
    for (let at = 0; at < length; at += sizeMax) {
      const piece = Math.min(sizeMax, length - at);
      segments.push({ address: this.dataAddress + at, length: piece, writable });
    }
    segments.push({ address: this.address + REQUEST_HEADER_SIZE, length: 1, writable: true });
    return segments;
  }
}

/** The limits of a device's requests. */
export interface Limits {
  /** Most bytes of a segment, and most segments of data. */
  readonly sizeMax: number;
  readonly segMax: number;
}

/** The queues of a bound device. */
export class Transfers {
  readonly #device: MmioDevice<BlockProgress>;
  readonly #queues: VirtQueue<Buffer>[];
  readonly #limits: Limits;
  readonly #timeoutMs: number;
  /** Requests that the device has. */
  inFlight = 0;

  constructor(
    device: MmioDevice<BlockProgress>,
    count: number,
    limits: Limits,
    timeoutMs: number,
  ) {
    this.#device = device;
    this.#limits = limits;
    this.#timeoutMs = timeoutMs;
    this.#queues = Array.from(
      { length: count },
      (_, i) =>
        device.setUpQueue<Buffer>(`request ${i}`, (buffer) => {
          this.inFlight--;
          buffer.onDone();
        }),
    );
  }

  get queueCount(): number {
    return this.#queues.length;
  }

  /** The most data of one request. */
  get maxBytes(): number {
    const { sizeMax, segMax } = this.#limits;
    const bytes = sizeMax * segMax;
    return bytes - bytes % SECTOR_SIZE;
  }

  /** Buffers with room for `bytes` of data each. @throws {GuestError} ENOMEM */
  allocate(count: number, bytes: number): Buffer[] {
    const { pages } = this.#device;
    return Array.from({ length: count }, () => {
      const address = pages.allocate(REQUEST_HEADER_SIZE + 1);
      const dataAddress = pages.allocate(bytes);
      const page = pages.view(address, REQUEST_HEADER_SIZE + 1);
      return new Buffer(address, page, dataAddress, pages.bytes(dataAddress, bytes));
    });
  }

  /** Frees buffers, none of which the device has. */
  free(buffers: readonly Buffer[]): void {
    const { pages } = this.#device;
    for (const { address, dataAddress, data } of buffers) {
      pages.free(address, REQUEST_HEADER_SIZE + 1);
      pages.free(dataAddress, data.length);
    }
  }

  /** Offers a request, whose data lies in the buffer. @throws {GuestError} ENOSPC when the queue is full */
  start(buffer: Buffer, queue: number, type: number, sector: number, length: number): void {
    const { sizeMax } = this.#limits;
    const to = this.#queues[queue]!;
    if (!to.add(buffer.segments(type, sector, length, sizeMax), buffer)) {
      throw this.#error("ENOSPC", buffer, `queue ${queue} is full`);
    }
    this.inFlight++;
    to.kick();
  }

  /**
   * Handles interrupts until a condition is true.
   *
   * @throws {GuestError} ETIMEDOUT when the device returns nothing in time
   */
  await(isSo: () => boolean): void {
    if (this.#device.wait(isSo, this.#timeoutMs)) return;
    const { name } = this.#device;
    throw new GuestError(
      "ETIMEDOUT",
      `use ${name}: none of ${this.inFlight} requests came back in ${this.#timeoutMs} ms`,
    );
  }

  /** Offers a request and waits for it. @throws {GuestError} EIO, EOPNOTSUPP by its status; ETIMEDOUT */
  run(buffer: Buffer, type: number, sector: number, length: number): void {
    let isDone = false;
    buffer.onDone = () => isDone = true;
    this.start(buffer, 0, type, sector, length);
    this.await(() => isDone);
    this.check(buffer);
  }

  /** Checks the status of a buffer that came back. @throws {GuestError} EIO, EOPNOTSUPP */
  check(buffer: Buffer): void {
    const { status } = buffer;
    if (status === S_OK) return;
    const code = status === S_UNSUPP ? "EOPNOTSUPP" : "EIO";
    const text = status === NO_STATUS ? "it wrote no status" : `its status is ${status}`;
    throw this.#error(code, buffer, text);
  }

  #error(code: string, { type, sector }: Buffer, problem: string): GuestError {
    const what = `${NAMES[type] ?? `do request ${type} at`} sector ${sector} of`;
    return new GuestError(code, `${what} ${this.#device.name}: ${problem}`);
  }
}
