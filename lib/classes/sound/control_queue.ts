// SPDX-License-Identifier: Apache-2.0
/**
 * The sound driver's conversation with its device over the control queue (virtio 1.2 §5.14.6), as Linux leads it: one
 * message at a time, each with a time limit.
 *
 * @module
 */
import { HDR_SIZE, S_IO_ERR, S_NOT_SUPP, S_OK, soundCodeName } from "./wire.ts";
import type { Segment } from "../../virtio/driver_queue.ts";
import { GuestError } from "../../guest/error.ts";
import type { VirtQueue } from "../../guest/transport.ts";
import type { SoundMmioDevice } from "./progress.ts";

/** A message in line or on its way. */
interface ControlMessage {
  readonly address: number;
  readonly bytes: number;
  answered: boolean;
  /** Nobody waits for the answer any more; the memory is the device's until it comes. */
  abandoned: boolean;
}

const ERRNO: Record<number, string> = { [S_NOT_SUPP]: "EOPNOTSUPP", [S_IO_ERR]: "EIO" };

/** The control queue. */
export class ControlQueue {
  readonly #queue: VirtQueue<ControlMessage>;

  /**
   * Sets the queue up; it must be the device's first.
   *
   * @param timeoutMs How long a message may take
   */
  constructor(readonly device: SoundMmioDevice, readonly timeoutMs: number) {
    this.#queue = device.setUpQueue<ControlMessage>("control", (message) => {
      message.answered = true;
      if (message.abandoned) this.#free(message);
    });
  }

  /** How many descriptors the queue has. */
  get size(): number {
    return this.#queue.queue.ring.size;
  }

  /**
   * Sends a message and waits for its answer.
   *
   * @param what What it is and for what, for errors: "PCM_START for stream 0"
   * @param requestBytes Bytes of the request
   * @param encode Writes them
   * @param infoBytes Bytes that the device is to write behind its status
   * @returns a copy of those
   * @throws {GuestError} ETIMEDOUT; EINTR; EOPNOTSUPP, EIO, EINVAL by the device's status; ENOSPC when too many are unanswered
   */
  send(
    what: string,
    requestBytes: number,
    encode: (request: DataView) => void,
    infoBytes = 0,
  ): DataView<ArrayBuffer> {
    const { device } = this;
    const bytes = requestBytes + HDR_SIZE + infoBytes;
    const address = device.pages.allocate(bytes);
    const view = device.pages.view(address, bytes);
    encode(view);
    // What it says if the device gives the message back unanswered.
    view.setUint32(requestBytes, S_IO_ERR, true);
    const message: ControlMessage = { address, bytes, answered: false, abandoned: false };
    if (!this.#queue.add(segmentsOf(message, requestBytes, infoBytes), message)) {
      this.#free(message);
      throw this.#error("ENOSPC", what, `the queue of ${this.size} descriptors is full`);
    }
    this.#queue.kick();
    device.progress.count("messages");
    try {
      if (!device.wait(() => message.answered, this.timeoutMs)) {
        throw this.#error("ETIMEDOUT", what, `no answer within ${this.timeoutMs} ms`);
      }
    } catch (error) {
      message.abandoned = true;
      throw error;
    }
    const answer = view.buffer.slice(view.byteOffset + requestBytes, view.byteOffset + bytes);
    this.#free(message);
    return this.#check(what, new DataView(answer as ArrayBuffer));
  }

  #check(what: string, answer: DataView<ArrayBuffer>): DataView<ArrayBuffer> {
    const status = answer.getUint32(0, true);
    if (status === S_OK) return new DataView(answer.buffer, HDR_SIZE);
    const problem = `the device answers ${soundCodeName(status)}, expected OK`;
    throw this.#error(ERRNO[status] ?? "EINVAL", what, problem);
  }

  #free({ address, bytes }: ControlMessage): void {
    this.device.pages.free(address, bytes);
  }

  #error(code: string, what: string, problem: string): GuestError {
    return new GuestError(code, `get ${what} done by ${this.device.name}: ${problem}`);
  }
}

/** The request, the status, and what the device is to tell, each a segment of its own. */
function segmentsOf(
  { address }: ControlMessage,
  requestBytes: number,
  infoBytes: number,
): Segment[] {
  const status = address + requestBytes;
  const segments = [
    { address, length: requestBytes, writable: false },
    { address: status, length: HDR_SIZE, writable: true },
  ];
  if (infoBytes > 0) {
    segments.push({ address: status + HDR_SIZE, length: infoBytes, writable: true });
  }
  return segments;
}
