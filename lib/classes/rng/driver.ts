// SPDX-License-Identifier: Apache-2.0
/**
 * The entropy driver (virtio 1.2 §5.4), like Linux's virtio_rng: one buffer of a cache line, always with the device except
 * while it is being read.
 *
 * @module
 */
import { monotonicNs } from "../../../ffi/mod.ts";
import type { Segment } from "../../virtio/driver_queue.ts";
import { GuestError } from "../../guest/error.ts";
import { NO_PROGRESS } from "../../guest/progress.ts";
import type { DriverContract, DriverRole } from "../../guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import { rng } from "./class.ts";

/** Bytes of the buffer: SMP_CACHE_BYTES on arm64 and x86-64. */
const BUFFER_BYTES = 64;

/** A bound entropy device. */
class EntropyDriver {
  readonly #queue: VirtQueue<null>;
  readonly #segments: readonly Segment[];
  readonly #buffer: Uint8Array;
  /** Unread bytes of the buffer, from `#index` on; 0 while the device has it. */
  #available = 0;
  #index = 0;

  private constructor(readonly device: MmioDevice) {
    this.#queue = device.setUpQueue<null>("input", (_, written) => {
      this.#available = written;
      this.#index = 0;
    });
    const address = device.pages.allocate(BUFFER_BYTES);
    this.#segments = [{ address, length: BUFFER_BYTES, writable: true }];
    this.#buffer = device.pages.bytes(address, BUFFER_BYTES);
    device.ready();
    this.#request();
  }

  /** Probes the device. @throws {GuestError} */
  static bind(device: MmioDevice): EntropyDriver {
    return device.bind(rng.id, 0n, () => new EntropyDriver(device));
  }

  #request(): void {
    this.#queue.add(this.#segments, null);
    this.#queue.kick();
  }

  /**
   * Reads entropy.
   *
   * @param count Bytes
   * @param timeoutMs How long a buffer may take
   * @returns as many bytes as asked for, fewer when the owner ended the call
   * @throws {GuestError} ETIMEDOUT
   */
  read(count: number, timeoutMs: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    for (let done = 0; done < count;) {
      this.#await(timeoutMs);
      if (this.#available === 0) return bytes.slice(0, done);
      const n = Math.min(count - done, this.#available);
      bytes.set(this.#buffer.subarray(this.#index, this.#index + n), done);
      done += n;
      this.#index += n;
      this.#available -= n;
      if (this.#available === 0) this.#request();
    }
    return bytes;
  }

  /**
   * Measures requests, from the moment one is offered until its interrupt was handled.
   *
   * @param rounds How many
   * @returns nanoseconds of each
   * @throws {GuestError} ETIMEDOUT
   */
  measure(rounds: number, timeoutMs: number): Float64Array<ArrayBuffer> {
    const times = new Float64Array(rounds);
    for (let i = 0; i < rounds; i++) {
      this.#await(timeoutMs);
      this.#available = 0;
      const start = monotonicNs();
      this.#request();
      this.#await(timeoutMs);
      times[i] = monotonicNs() - start;
    }
    return times;
  }

  readonly #isDone = (): boolean => this.#available > 0 || this.device.isToEnd();

  #await(timeoutMs: number): void {
    if (this.device.wait(this.#isDone, timeoutMs)) return;
    const { name } = this.device;
    throw new GuestError(
      "ETIMEDOUT",
      `read entropy from ${name}: no buffer came back in ${timeoutMs} ms`,
    );
  }
}

/** The contract between the entropy driver and its guest's owner. */
export interface RngDriverContract extends DriverContract {
  calls: {
    /**
     * Reads entropy.
     *
     * @param count Bytes
     * @returns as many bytes as asked for, fewer when the owner ended the call
     */
    readEntropy(count: number): Uint8Array<ArrayBuffer>;
    /** Measures requests, from offer to handled interrupt. @returns nanoseconds of each */
    measureRequests(rounds: number): Float64Array<ArrayBuffer>;
  };
  progress: typeof NO_PROGRESS;
}

/** The software entropy driver. */
export const driver: DriverRole<RngDriverContract> = {
  deviceClass: rng,
  progress: NO_PROGRESS,
  bind: (device, { stallTimeoutMs }) => {
    const bound = EntropyDriver.bind(device);
    return {
      found: {},
      calls: {
        readEntropy: (count) => bound.read(count, stallTimeoutMs),
        measureRequests: (rounds) => bound.measure(rounds, stallTimeoutMs),
      },
      exercise: () => void bound.read(16, stallTimeoutMs),
    };
  },
};
