// SPDX-License-Identifier: Apache-2.0
/**
 * Sends the requests to replay to a new back-end, one after the other.
 *
 * @module
 */
import type { ShadowQueue } from "./shadow_queue.ts";
import type { ReplayRole } from "../virtio/device_class.ts";

/** The requests, and which of them was sent last. */
export class ReplayRequests {
  readonly #response: Uint8Array<ArrayBuffer>;
  #next = 0;

  /** @param queue Where they are sent; null when there are none */
  constructor(
    readonly queue: ShadowQueue | null,
    readonly messages: readonly Uint8Array[],
    readonly role: ReplayRole,
  ) {
    this.#response = new Uint8Array(role.responseBytes);
  }

  get count(): number {
    return this.messages.length;
  }

  /**
   * Takes the response to the last request, if it is there, and sends the next.
   *
   * @param refused Called for a request that the back-end refused
   * @returns whether all are answered
   * @throws {RingError} when the back-end's ring is malformed, or has no room for a request
   */
  step(refused: (text: string) => void): boolean {
    const response = this.#response;
    if (this.#next > 0) {
      const last = this.messages[this.#next - 1]!;
      if (!this.queue!.takeOwn(last.length, response)) return false;
      if (!this.role.isOk(new DataView(response.buffer))) {
        refused(
          `the back-end refused replayed control request ${this.#next} of ${this.messages.length}: ` +
            `its response is ${hexBytes(response)}`,
        );
      }
    }
    const message = this.messages[this.#next];
    if (message === undefined) return true;
    this.queue!.sendOwn(message, response.length);
    this.#next++;
    return false;
  }
}

/** "01 80 00 00". */
function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
