// SPDX-License-Identifier: Apache-2.0
/**
 * The control queue of a card: requests are answered in their order, at once but for a START that waits for its stream's file
 * to be opened.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { answerControl, type Card, REQUEST_BYTES } from "./control.ts";
import { OPEN_NS } from "./file_ends.ts";
import {
  HDR_SIZE,
  R_PCM_RELEASE,
  R_PCM_START,
  R_PCM_STOP,
  S_IO_ERR,
  VQ_CONTROL,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";

/** Requests that concern buffers: the buffers that were offered before them are taken first. */
const NEEDS_BUFFERS: ReadonlySet<number> = new Set([R_PCM_START, R_PCM_STOP, R_PCM_RELEASE]);

/** The requests. */
export class ControlRequests {
  readonly #host: Pick<DeviceHost, "complete" | "now" | "pump" | "refuse">;
  readonly #card: Card;
  readonly #request = new Uint8Array(REQUEST_BYTES);
  /** Not answered yet; the first waits for a file. */
  #waiting: Chain[] = [];
  /** When the first has waited for too long. */
  #deadline = Infinity;

  constructor(host: Pick<DeviceHost, "complete" | "now" | "pump" | "refuse">, card: Card) {
    this.#host = host;
    this.#card = card;
  }

  /** The driver offered a request. */
  serve(chain: Chain): void {
    if (chain.writableBytes < HDR_SIZE) return this.#host.refuse(VQ_CONTROL, chain, HDR_SIZE);
    this.#waiting.push(chain);
    if (this.#waiting.length === 1) this.#begin();
  }

  /** A file may have been opened. */
  retry(): void {
    if (this.#waiting.length === 0 || !this.#answer(this.#waiting[0]!)) return;
    this.#waiting.shift();
    this.#begin();
  }

  /** When {@linkcode retry} is due, in nanoseconds. */
  get deadline(): number {
    return this.#deadline;
  }

  #begin(): void {
    this.#deadline = Infinity;
    while (this.#waiting.length > 0) {
      if (!this.#answer(this.#waiting[0]!)) {
        this.#deadline = this.#host.now() + OPEN_NS;
        return;
      }
      this.#waiting.shift();
    }
  }

  #answer(chain: Chain): boolean {
    const length = chain.gather(0, this.#request, 0, REQUEST_BYTES);
    const request = new DataView(this.#request.buffer, 0, length);
    if (length >= HDR_SIZE && NEEDS_BUFFERS.has(request.getUint32(0, true))) {
      this.#host.pump(VQ_TX);
      this.#host.pump(VQ_RX);
    }
    const answer = answerControl(this.#card, request, chain.writableBytes);
    if (answer === null) return false;
    this.#host.complete(VQ_CONTROL, chain, chain.scatter(0, answer));
    return true;
  }

  /** The queue stops. @param abandoned Requests are forgotten, not answered */
  stop(abandoned: boolean): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#deadline = Infinity;
    if (abandoned) return;
    const answer = new Uint8Array(Uint32Array.of(S_IO_ERR).buffer);
    for (const chain of waiting) {
      this.#host.complete(VQ_CONTROL, chain, chain.scatter(0, answer));
    }
  }
}
