// SPDX-License-Identifier: Apache-2.0
/**
 * A queue of requests as most Linux drivers use theirs: one at a time, each answered in the same chain, each with a time
 * limit.
 *
 * @module
 */
import type { Segment } from "../virtio/driver_queue.ts";
import { GuestError } from "./error.ts";
import type { ProgressLayout } from "./progress.ts";
import type { MmioDevice, VirtQueue } from "./transport.ts";

/** A request in line or on its way. */
interface Request {
  readonly address: number;
  readonly bytes: number;
  answered: boolean;
  /** Nobody waits for the answer any more; the memory is the device's until it comes. */
  abandoned: boolean;
}

/** The queue. */
export class RequestQueue {
  readonly #queue: VirtQueue<Request>;
  readonly #device: MmioDevice;
  readonly #timeoutMs: number;
  /** Called when a request is with the device. */
  onSent: () => void = () => {};

  /**
   * Sets up the device's next queue.
   *
   * @param name What it is called in errors
   * @param timeoutMs How long a request may take
   */
  constructor(device: MmioDevice<ProgressLayout>, name: string, timeoutMs: number) {
    this.#device = device;
    this.#timeoutMs = timeoutMs;
    this.#queue = device.setUpQueue<Request>(name, (request) => {
      request.answered = true;
      if (request.abandoned) this.#free(request);
    });
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @param what What is to be done, for errors: "PCM_START for stream 0"
   * @param request Its bytes, one segment of the chain
   * @param answer As it is when the device writes none of it
   * @param lengths Bytes of the segments that the answer is cut into; one of all of it unless given
   * @returns a copy of the answer
   * @throws {GuestError} ETIMEDOUT; EINTR; ENOSPC when too many are unanswered
   */
  send(
    what: string,
    request: Uint8Array,
    answer: Uint8Array,
    lengths: readonly number[] = [answer.length],
  ): DataView<ArrayBuffer> {
    const { pages } = this.#device;
    const bytes = request.length + answer.length;
    const address = pages.allocate(bytes);
    const memory = pages.bytes(address, bytes);
    memory.set(request);
    memory.set(answer, request.length);
    const sent: Request = { address, bytes, answered: false, abandoned: false };
    if (!this.#queue.add(segmentsOf(address, request.length, lengths), sent)) {
      this.#free(sent);
      const { size } = this.#queue.queue.ring;
      throw this.error("ENOSPC", what, `the queue of ${size} descriptors is full`);
    }
    this.#queue.kick();
    this.onSent();
    this.#await(what, sent);
    const copy = memory.slice(request.length);
    this.#free(sent);
    return new DataView(copy.buffer as ArrayBuffer);
  }

  #await(what: string, sent: Request): void {
    try {
      if (this.#device.wait(() => sent.answered, this.#timeoutMs)) return;
      throw this.error("ETIMEDOUT", what, `no answer within ${this.#timeoutMs} ms`);
    } catch (error) {
      sent.abandoned = true;
      throw error;
    }
  }

  #free({ address, bytes }: Request): void {
    this.#device.pages.free(address, bytes);
  }

  /** What is wrong with a request. */
  error(code: string, what: string, problem: string): GuestError {
    return new GuestError(code, `get ${what} done by ${this.#device.name}: ${problem}`);
  }
}

/** The request, then the answer's segments, one behind the other. */
function segmentsOf(address: number, requestBytes: number, lengths: readonly number[]): Segment[] {
  const segments = [{ address, length: requestBytes, writable: false }];
  let at = address + requestBytes;
  for (const length of lengths) {
    segments.push({ address: at, length, writable: true });
    at += length;
  }
  return segments;
}
