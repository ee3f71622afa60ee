// SPDX-License-Identifier: Apache-2.0
/**
 * Requests that are repeated to a new back-end, one after the other.
 *
 * @module
 */
import type { ShadowQueue } from "./shadow_queue.ts";
import { RESPONSE_BYTES } from "../classes/sound/replay.ts";

/** The requests, and which of them is under way. */
export class ReplayRequests {
  #next = 0;

  constructor(readonly queue: ShadowQueue, readonly messages: readonly Uint8Array[]) {}

  /**
   * Takes the answer to the request under way, if it is there, and sends the next.
   *
   * @param refused Told of a request that was answered, but with the words of a refusal
   * @returns whether all are answered
   */
  step(refused: (text: string) => void): boolean {
    if (this.#next > 0) {
      const last = this.messages[this.#next - 1]!;
      const status = this.queue.takeOwn(last.length);
      if (status === null) return false;
      if (status !== 0x8000) {
        refused(
          `the new back-end answered request ${this.#next} of ${this.messages.length} with 0x${
            status.toString(16)
          }, expected 0x8000`,
        );
      }
    }
    const message = this.messages[this.#next];
    if (message === undefined) return true;
    this.queue.sendOwn(message, RESPONSE_BYTES);
    this.#next++;
    return false;
  }
}
