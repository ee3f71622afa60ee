// SPDX-License-Identifier: Apache-2.0
/**
 * Received frames: they wait for the driver's buffers, up to a limit; further ones are dropped, counted and
 * reported.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";
import type { CanEvent } from "./spec.ts";
import { type CanFrame, encodeFrame, MAX_FRAME_SIZE, RX, VQ_RX } from "./wire.ts";

/** Most frames that wait for a buffer: a full bus of 1 Mbit/s has some 8000 in a second. */
export const MOST_WAITING = 1024;

/** From so many waiting frames on, a bus that can hold frames back does so. */
const FULL = MOST_WAITING / 2;

/** See the module. */
export class Receiver {
  #waiting: CanFrame[] = [];
  readonly #bytes = new Uint8Array(MAX_FRAME_SIZE);
  /** Frames given to the driver. */
  received = 0;
  /** Frames that were lost. */
  dropped = 0;
  /** Of these, those that were reported. */
  #reported = 0;
  /** Whether frames are being dropped, which is reported when it begins and ends. */
  #isDropping = false;

  constructor(readonly host: DeviceHost<CanEvent>) {}

  /** Whether no frame waits for a buffer. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Whether the bus should hold frames back. */
  get isFull(): boolean {
    return this.#waiting.length >= FULL;
  }

  /** Queues a frame for the driver. */
  add(frame: CanFrame): void {
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push(frame);
    else this.lost(1);
  }

  /** `count` frames were lost, here or by the bus. */
  lost(count: number): void {
    this.dropped += count;
    if (this.#isDropping) return;
    this.#isDropping = true;
    this.#tell("Received frames are dropped: the driver offers no buffers for them in time");
  }

  /** Puts frames into the driver's buffers, as far as there are any. */
  deliver(): void {
    let count = 0;
    for (; count < this.#waiting.length; count++) {
      const chain = this.host.take(VQ_RX);
      if (chain === null) break;
      const length = encodeFrame(this.#bytes, RX, this.#waiting[count]!);
      if (chain.writableBytes < length) {
        this.host.refuse(VQ_RX, chain, length);
        this.dropped++;
      } else {
        this.host.complete(VQ_RX, chain, chain.scatter(0, this.#bytes, 0, length));
        this.received++;
      }
    }
    this.#waiting.splice(0, count);
    if (this.#isDropping && this.isEmpty) this.#endDropping();
  }

  #endDropping(): void {
    this.#isDropping = false;
    const count = this.dropped - this.#reported;
    this.#reported = this.dropped;
    this.#tell(`${count} received frames were dropped`);
  }

  #tell(text: string): void {
    this.host.report({ kind: "dropped", text, frames: this.dropped });
  }

  /** Forgets the waiting frames. */
  clear(): void {
    this.#waiting = [];
    if (this.#isDropping) this.#endDropping();
  }
}
