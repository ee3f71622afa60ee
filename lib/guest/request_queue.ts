// SPDX-License-Identifier: Apache-2.0
/**
 * A queue of requests as most Linux drivers use it: one at a time, with the response in the same chain, each with a time
 * limit.
 *
 * @module
 */
import type { Segment } from "../virtio/driver_queue.ts";
import { GuestError } from "./error.ts";
import type { ProgressLayout } from "./progress.ts";
import type { MmioDevice, VirtQueue } from "./transport.ts";

/** A request that is offered or about to be. */
interface Request {
  readonly address: number;
  readonly bytes: number;
  answered: boolean;
  /** The response is no longer waited for; the memory stays in use until the device returns it. */
  abandoned: boolean;
}

/** The queue. */
export class RequestQueue {
  readonly #queue: VirtQueue<Request>;
  readonly #device: MmioDevice;
  readonly #timeoutMs: number;
  /** Called when a request was offered to the device. */
  onSent: () => void = () => {};

  /**
   * Sets up the device's next queue.
   *
   * @param name The queue's name in errors
   * @param timeoutMs How long a request may take, in milliseconds
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
   * Sends a request and waits for its response.
   *
   * @param what The request's name in errors: "PCM_START for stream 0"
   * @param request Its bytes, one segment of the chain
   * @param answer Initial bytes of the response buffer
   * @param lengths Bytes of each segment of the response; one segment unless given
   * @returns a copy of the response
   * @throws {GuestError} ETIMEDOUT; EINTR; ENOSPC when the queue is full of unanswered requests
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

  /** An error that names the request and the device. */
  error(code: string, what: string, problem: string): GuestError {
    return new GuestError(code, `get ${what} done by ${this.#device.name}: ${problem}`);
  }
}

/** The request's segment, then those of the response, without gaps. */
function segmentsOf(address: number, requestBytes: number, lengths: readonly number[]): Segment[] {
  const segments = [{ address, length: requestBytes, writable: false }];
  let at = address + requestBytes;
  for (const length of lengths) {
    segments.push({ address: at, length, writable: true });
    at += length;
  }
  return segments;
}
