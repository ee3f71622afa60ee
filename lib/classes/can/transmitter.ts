// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's frames on their way to the bus: each chain is kept until its frame has left, and frames leave in the order in
 * which they were offered.
 *
 * @module
 */
import type { Chain } from "../../virtio/chain.ts";
import type { Bus } from "./bus.ts";
import type { CanFrame } from "./wire.ts";

/** How long to wait for room in a bus, in nanoseconds: at first, and at most. */
const FIRST_RETRY_NS = 1e6;
const LAST_RETRY_NS = 64e6;

/** A frame of the driver's. */
interface Outgoing {
  readonly frame: CanFrame;
  /** Null when its result was returned already, or the chain was abandoned. */
  readonly chain: Chain | null;
}

/** Events of a transmitter. */
export interface TransmitterEvents {
  /** A frame was sent. */
  sent(frame: CanFrame): void;
  /** The result of a frame is known, and returned to the driver. */
  result(chain: Chain, isSent: boolean): void;
}

/** See the module. */
export class Transmitter {
  /** Not given to the bus yet. */
  #waiting: Outgoing[] = [];
  /** Accepted by the bus, but not sent yet. */
  #accepted: Outgoing[] = [];
  /** Results that {@linkcode finish} returns to the driver. */
  #done: { readonly chain: Chain; readonly isSent: boolean }[] = [];
  #retryNs = FIRST_RETRY_NS;
  /** When there may be room, in nanoseconds. */
  #retryAt = Infinity;
  /** VIRTIO_CAN_F_LATE_TX_ACK: a frame's result is returned when it was sent on the bus, not when the bus accepted it. */
  isLate = false;

  constructor(readonly events: TransmitterEvents) {}

  /** Queues a frame. */
  add(chain: Chain, frame: CanFrame): void {
    this.#waiting.push({ chain, frame });
  }

  /** When to call {@linkcode send} again, in nanoseconds. */
  get deadline(): number {
    return this.#waiting.length > 0 ? this.#retryAt : Infinity;
  }

  /** Sends what the bus has room for. @param now Nanoseconds */
  send(bus: Bus, now: number): void {
    if (this.#retryAt !== Infinity && now < this.#retryAt) return;
    this.#retryAt = Infinity;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const sending = bus.send(next.frame);
      if (sending === "full") {
        this.#retryAt = now + this.#retryNs;
        this.#retryNs = Math.min(2 * this.#retryNs, LAST_RETRY_NS);
        return;
      }
      this.#retryNs = FIRST_RETRY_NS;
      if (this.#waiting[0] !== next) return; // the bus was left meanwhile
      this.#waiting.shift();
      if (sending === "accepted") this.#accept(next);
      else this.#end(next, sending === "sent");
    }
  }

  #accept({ chain, frame }: Outgoing): void {
    this.#accepted.push({ chain: this.isLate ? chain : null, frame });
    if (!this.isLate) this.#end({ chain, frame }, true);
  }

  #end({ chain, frame }: Outgoing, isSent: boolean): void {
    if (chain === null) return;
    if (isSent) this.events.sent(frame);
    this.#done.push({ chain, isSent });
  }

  /** The oldest `count` accepted frames were sent. */
  sent(count: number): void {
    for (const one of this.#accepted.splice(0, count)) this.#end(one, true);
  }

  /** The accepted frames will not be sent. */
  failed(): void {
    for (const one of this.#accepted.splice(0)) this.#end(one, false);
  }

  /** Returns the known results to the driver. */
  finish(): void {
    for (const { chain, isSent } of this.#done.splice(0)) this.events.result(chain, isSent);
  }

  /** Stops sending: the driver gets an error for each frame that is not known to be sent. */
  cancel(): void {
    const unsent = [...this.#accepted, ...this.#waiting];
    for (const one of unsent) this.#end(one, false);
    this.finish();
    this.forget();
  }

  /** The chains are abandoned: the next device is offered them again. Frames that the bus accepted are still sent. */
  forget(): void {
    this.#accepted = this.#accepted.map(({ frame }) => ({ frame, chain: null }));
    this.#waiting = [];
    this.#done = [];
    this.#retryAt = Infinity;
  }

  /** The controller disconnects from its bus. */
  leave(): void {
    this.cancel();
    this.#accepted = [];
  }
}
