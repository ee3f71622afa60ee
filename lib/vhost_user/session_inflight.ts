// SPDX-License-Identifier: Apache-2.0
/**
 * The in-flight memory of a back-end's session: created for the front-end, which keeps it, and mapped when it comes back.
 *
 * @module
 */
import {
  cannotShrink,
  createMemory,
  type Fd,
  Mapping,
  pageSize,
  viewMemory,
} from "../../ffi/mod.ts";
import type { InflightLog } from "../virtio/device_ring.ts";
import type { BackEndDevice } from "./back_end.ts";
import { VhostUserError } from "./errors.ts";
import {
  inflightBlockBytes,
  inflightBytes,
  InflightQueue,
  type InflightShape,
} from "./inflight.ts";
import type { Inflight } from "./payloads.ts";

/** The part of a device that in-flight memory is checked against. */
export type InflightDevice = Pick<BackEndDevice, "name" | "queueCount" | "maxQueueSize">;

/** The reply to GET_INFLIGHT_FD, and the memory to send with it; its size is sealed. @throws {VhostUserError} */
export function createInflight(
  shape: InflightShape,
  device: InflightDevice,
): { reply: Inflight; fd: Fd } {
  checkShape("GET_INFLIGHT_FD", shape, device);
  const { queues, queueSize } = shape;
  const size = inflightBytes(shape);
  const fd = createMemory("viola-inflight", size);
  return { reply: { size: BigInt(size), offset: 0n, queues, queueSize }, fd };
}

/** In-flight memory that the front-end gave, mapped. */
export class SessionInflight implements Disposable {
  readonly shape: InflightShape;
  readonly #mapping: Mapping;
  readonly #bytes: Uint8Array<ArrayBuffer>;

  /** @throws {VhostUserError} when it does not fit the device, or its file */
  constructor(inflight: Inflight, fd: Fd, readonly device: InflightDevice) {
    checkShape("SET_INFLIGHT_FD", inflight, device);
    const { size, offset } = inflight;
    if (!cannotShrink(fd)) {
      const text = "it is not sealed against shrinking (F_SEAL_SHRINK)";
      throw refusal("SET_INFLIGHT_FD", device, text);
    }
    const least = inflightBytes(inflight);
    const available = BigInt(fd.size());
    const isFit = size >= BigInt(least) && offset + size <= available;
    if (!isFit || offset % BigInt(pageSize()) !== 0n) {
      throw refusal(
        "SET_INFLIGHT_FD",
        device,
        `it is ${size} bytes at ${offset} of a file of ${available}, expected at least ${least} ` +
          "from a page on and an end inside the file",
      );
    }
    this.shape = inflight;
    this.#mapping = Mapping.createWithin(fd, least, Number(offset));
    this.#bytes = new Uint8Array(viewMemory(this.#mapping.range), 0, least);
  }

  /**
   * Opens a queue's block.
   *
   * @param ring The queue's index, and the entries of its ring
   * @param usedIdx The ring's used index
   * @throws {VhostUserError} when the block is malformed, or there is none for the queue
   */
  open({ index, size: ringSize }: { index: number; size: number }, usedIdx: number): InflightLog {
    const { queues, queueSize } = this.shape;
    const what = `queue ${index} of ${this.device.name}`;
    if (index >= queues || ringSize > queueSize) {
      throw new VhostUserError(
        "protocol",
        `Cannot use the in-flight memory of ${what}, a ring of ${ringSize} entries: it is for ` +
          `${queues} queues of ${queueSize}`,
      );
    }
    const bytes = inflightBlockBytes(queueSize);
    const block = this.#bytes.subarray(index * bytes, (index + 1) * bytes);
    return new InflightQueue(block, queueSize, ringSize, usedIdx, what);
  }

  /** Unmaps it. May be called again. */
  close(): void {
    this.#mapping.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function checkShape(message: string, shape: InflightShape, device: InflightDevice): void {
  const { queues, queueSize } = shape;
  const { queueCount, maxQueueSize } = device;
  const isFit = queues >= 1 && queues <= queueCount && queueSize >= 1 && queueSize <= maxQueueSize;
  if (isFit) return;
  throw refusal(
    message,
    device,
    `${queues} queues of ${queueSize} entries, expected 1 to ${queueCount} of 1 to ${maxQueueSize}`,
  );
}

function refusal(message: string, { name }: InflightDevice, why: string): VhostUserError {
  return new VhostUserError("protocol", `Cannot handle ${message} for ${name}: ${why}`);
}
