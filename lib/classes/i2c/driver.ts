// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C driver, as Linux's i2c-virtio: the messages of a transfer are offered together, each with
 * VIRTIO_I2C_FLAGS_FAIL_NEXT but the last, and waited for in their order; those after the first that failed count as failed.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import { NO_PROGRESS } from "../../guest/progress.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import type { Segment } from "../../virtio/driver_queue.ts";
import { i2c } from "./class.ts";
import {
  encodeAddress,
  encodeOutHeader,
  F_ZERO_LENGTH_REQUEST,
  FLAGS_FAIL_NEXT,
  FLAGS_M_RD,
  IN_HDR_SIZE,
  MSG_OK,
  OUT_HDR_SIZE,
} from "./wire.ts";

/** A message of a transfer: it reads so many bytes, or writes these. */
export type I2cMessage =
  & { readonly address: number }
  & ({ readonly read: number } | { readonly write: Uint8Array });

/** What the I2C driver and its guest's owner agree on. */
export interface I2cDriverContract extends DriverContract {
  found: object;
  calls: {
    /**
     * Does a transfer.
     *
     * @returns what was read by each message that was done, nothing by those that write
     */
    transfer(messages: readonly I2cMessage[]): Uint8Array<ArrayBuffer>[];
  };
  progress: typeof NO_PROGRESS;
}

/** A request on its way. */
interface Request {
  readonly address: number;
  readonly bytes: number;
  /** Bytes to read. */
  readonly read: number;
  isDone: boolean;
  /** It is no longer waited for. */
  isAbandoned: boolean;
}

/** What an exercise is done with: the chip of an adapter of which nothing is said. */
const CHIP = 0x50;
/** An address that is reserved. */
const NOBODY = 0x07;

/** A bound I2C adapter. */
class I2cDriver {
  readonly #device: MmioDevice;
  readonly #patience: Patience;
  readonly #queue: VirtQueue<Request>;
  #exercises = 0;

  constructor(device: MmioDevice, patience: Patience) {
    if (!hasFeature(device.features, F_ZERO_LENGTH_REQUEST)) {
      const { name } = device;
      throw new GuestError("EINVAL", `drive ${name}: it offers no zero-length requests`);
    }
    this.#device = device;
    this.#patience = patience;
    this.#queue = device.setUpQueue<Request>("request", (request) => {
      request.isDone = true;
      if (request.isAbandoned) this.#free(request);
    });
  }

  transfer(messages: readonly I2cMessage[]): Uint8Array<ArrayBuffer>[] {
    const requests: Request[] = [];
    for (const [i, message] of messages.entries()) {
      const request = this.#offer(message, i === messages.length - 1);
      if (request === null) break; // the queue is full: what is offered is done
      requests.push(request);
    }
    this.#queue.kick();
    try {
      return this.#complete(requests);
    } finally {
      for (const request of requests) {
        if (request.isDone) this.#free(request);
        else request.isAbandoned = true;
      }
    }
  }

  /** @returns null when there is no room */
  #offer(message: I2cMessage, isLast: boolean): Request | null {
    const written = "write" in message ? message.write : new Uint8Array(0);
    const read = "read" in message ? message.read : 0;
    const { pages } = this.#device;
    const bytes = OUT_HDR_SIZE + written.length + read + IN_HDR_SIZE;
    const address = pages.allocate(bytes);
    const flags = ("read" in message ? FLAGS_M_RD : 0) | (isLast ? 0 : FLAGS_FAIL_NEXT);
    const addr = encodeAddress({ address: message.address, isTenBit: false });
    const memory = pages.bytes(address, bytes);
    memory.set(encodeOutHeader({ addr, flags }));
    memory.set(written, OUT_HDR_SIZE);
    memory[bytes - 1] = 0xff; // no status
    const request = { address, bytes, read, isDone: false, isAbandoned: false };
    const segments: Segment[] = [
      { address, length: OUT_HDR_SIZE, writable: false },
      { address: address + OUT_HDR_SIZE, length: written.length, writable: false },
      { address: address + OUT_HDR_SIZE, length: read, writable: true },
      { address: address + bytes - 1, length: IN_HDR_SIZE, writable: true },
    ];
    if (this.#queue.add(segments.filter(({ length }) => length > 0), request)) return request;
    this.#free(request);
    return null;
  }

  #complete(requests: readonly Request[]): Uint8Array<ArrayBuffer>[] {
    const results: Uint8Array<ArrayBuffer>[] = [];
    let hasFailed = false;
    for (const request of requests) {
      this.#await(request);
      const memory = this.#device.pages.bytes(request.address, request.bytes);
      hasFailed ||= memory.at(-1) !== MSG_OK;
      const { read } = request;
      if (!hasFailed) {
        results.push(Uint8Array.from(memory.slice(-read - IN_HDR_SIZE, -IN_HDR_SIZE)));
      }
    }
    return results;
  }

  #await(request: Request): void {
    const { stallTimeoutMs } = this.#patience;
    if (this.#device.wait(() => request.isDone, stallTimeoutMs)) return;
    const { name } = this.#device;
    throw new GuestError("ETIMEDOUT", `transfer by ${name}: no answer in ${stallTimeoutMs} ms`);
  }

  #free({ address, bytes }: Request): void {
    this.#device.pages.free(address, bytes);
  }

  /** Writes bytes to the chip and reads them back; asks for nobody. */
  exercise(): void {
    const value = ++this.#exercises & 0xff;
    const [, written] = this.transfer([
      { address: CHIP, write: new Uint8Array(0) },
      { address: CHIP, write: Uint8Array.of(0, value, value ^ 0xff) },
    ]);
    const [, read] = this.transfer([
      { address: CHIP, write: Uint8Array.of(0) },
      { address: CHIP, read: 2 },
    ]);
    const nobody = this.transfer([{ address: NOBODY, read: 1 }, { address: CHIP, read: 1 }]);
    if (written === undefined || read?.join() !== `${value},${value ^ 0xff}` || nobody.length > 0) {
      const { name } = this.#device;
      throw new GuestError("EIO", `use ${name}: read ${read}, and ${nobody.length} of nobody`);
    }
  }
}

/** The software I2C driver. */
export const driver: DriverRole<I2cDriverContract> = {
  deviceClass: i2c,
  progress: NO_PROGRESS,
  bind: (device, patience) => {
    const features = bit(F_ZERO_LENGTH_REQUEST);
    const bound = device.bind(i2c.id, features, () => new I2cDriver(device, patience));
    return {
      found: {},
      calls: { transfer: (messages) => bound.transfer(messages) },
      exercise: () => bound.exercise(),
    };
  },
};
