// SPDX-License-Identifier: Apache-2.0
/**
 * The sound driver's control queue (virtio 1.2 §5.14.6), used as Linux does.
 *
 * @module
 */
import { HDR_SIZE, S_IO_ERR, S_NOT_SUPP, S_OK, soundCodeName } from "./wire.ts";
import { RequestQueue } from "../../guest/request_queue.ts";
import type { SoundMmioDevice } from "./progress.ts";

const ERRNO: Record<number, string> = { [S_NOT_SUPP]: "EOPNOTSUPP", [S_IO_ERR]: "EIO" };

/** The control queue. */
export class ControlQueue {
  readonly #queue: RequestQueue;

  /**
   * Sets the queue up; it must be the device's first.
   *
   * @param timeoutMs How long a message may take
   */
  constructor(device: SoundMmioDevice, readonly timeoutMs: number) {
    this.#queue = new RequestQueue(device, "control", timeoutMs);
    this.#queue.onSent = () => device.progress.count("messages");
  }

  /**
   * Sends a message and waits for its response.
   *
   * @param what The message's name in errors: "PCM_START for stream 0"
   * @param requestBytes Bytes of the request
   * @param encode Writes them
   * @param infoBytes Bytes of information expected after the status
   * @returns a copy of the information
   * @throws {GuestError} ETIMEDOUT; EINTR; EOPNOTSUPP, EIO, EINVAL by the device's status; ENOSPC when the queue is full of unanswered messages
   */
  send(
    what: string,
    requestBytes: number,
    encode: (request: DataView) => void,
    infoBytes = 0,
  ): DataView<ArrayBuffer> {
    const request = new Uint8Array(requestBytes);
    encode(new DataView(request.buffer));
    const answer = new Uint8Array(HDR_SIZE + infoBytes);
    // The status that stands if the device returns the message without writing one.
    new DataView(answer.buffer).setUint32(0, S_IO_ERR, true);
    // Status and information are segments of their own.
    const lengths = [HDR_SIZE, infoBytes].filter((length) => length > 0);
    return this.#check(what, this.#queue.send(what, request, answer, lengths));
  }

  #check(what: string, answer: DataView<ArrayBuffer>): DataView<ArrayBuffer> {
    const status = answer.getUint32(0, true);
    if (status === S_OK) return new DataView(answer.buffer, HDR_SIZE);
    const problem = `the device returned ${soundCodeName(status)}, expected OK`;
    throw this.#queue.error(ERRNO[status] ?? "EINVAL", what, problem);
  }
}
