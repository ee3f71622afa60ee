// SPDX-License-Identifier: Apache-2.0
/**
 * Requests that are repeated to a new back-end, one after the other.
 *
 * @module
 */
import type { ShadowQueue } from "./shadow_queue.ts";
import type { ReplayRole } from "../virtio/device_class.ts";

/** The requests, and which of them is under way. */
export class ReplayRequests {
  #next = 0;

  constructor(
    readonly queue: ShadowQueue,
    readonly messages: readonly Uint8Array[],
    readonly role: ReplayRole,
  ) {}

  /**
   * Takes the answer to the request under way, if it is there, and sends the next.
   *
   * @param refused Told of a request that was not done
   * @returns whether all are answered
   */
  step(refused: (text: string) => void): boolean {
    const { responseBytes } = this.role;
    if (this.#next > 0) {
      const last = this.messages[this.#next - 1]!;
      const response = this.queue.takeOwn(last.length, responseBytes);
      if (response === null) return false;
      if (!this.role.isOk(response)) {
        refused(
          `the new back-end refused repeated request ${this.#next} of ${this.messages.length}: ` +
            `its answer is ${hexBytes(response)}`,
        );
      }
    }
    const message = this.messages[this.#next];
    if (message === undefined) return true;
    this.queue.sendOwn(message, responseBytes);
    this.#next++;
    return false;
  }
}

/** "01 80 00 00". */
function hexBytes({ buffer, byteOffset, byteLength }: DataView): string {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
