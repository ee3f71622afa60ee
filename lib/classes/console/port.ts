// SPDX-License-Identifier: Apache-2.0
/**
 * One port: bytes between two queues of the driver's and a program of the host.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";
import type { HostEnd } from "./host_end.ts";
import type { ConsoleEvent } from "./spec.ts";
import { ConsoleTransmitter, DRAIN_NS, Transmitter } from "./transmitter.ts";
import { rxQueueOf } from "./wire.ts";

/** Bytes that were read of the host and not given to the driver, at most. */
const READ_BYTES = 65536;
/** Bytes that one port receives in a turn. */
const TURN_BYTES = 4 * READ_BYTES;

/** Which port it is. */
export interface PortIdentity {
  readonly id: number;
  /** Empty for a port without one. */
  readonly name: string;
  readonly isConsole: boolean;
}

/** Bytes that a port has moved, since it was made. */
export interface PortCounts {
  received: number;
  sent: number;
  dropped: number;
}

/** See the module. */
export class Port implements Disposable {
  readonly tx: Transmitter;
  /** What was read, from `from` to `to`. */
  readonly #read = { bytes: new Uint8Array(READ_BYTES), from: 0, to: 0 };
  /** Whether the driver has the port open. One that has no such thing (no F_MULTIPORT) has it open always. */
  isGuestOpen = false;
  /** Whether a program is connected, as the driver is told: until all that the program wrote was given to the driver. */
  isHostOpen = false;
  /** There is more to do at once. */
  #isBusy = false;
  /** When the queue that is to stop does. */
  #drainBy = Infinity;
  dropped = 0;
  #isDropping = false;

  constructor(
    readonly identity: PortIdentity,
    readonly end: HostEnd,
    readonly host: DeviceHost<ConsoleEvent>,
  ) {
    const queue = this.rxQueue + 1;
    this.tx = identity.isConsole
      ? new ConsoleTransmitter(queue, end, host, (bytes) => this.#drop(bytes))
      : new Transmitter(queue, end, host);
  }

  get rxQueue(): number {
    return rxQueueOf(this.identity.id);
  }

  /** How it is called in reports. */
  get title(): string {
    const { id, name } = this.identity;
    return name === "" ? `Port ${id}` : `Port ${id} (${name})`;
  }

  /** Moves bytes both ways. */
  move(now: number): void {
    const receivesMore = this.#receive();
    const sendsMore = this.tx.send(now);
    this.#isBusy = receivesMore || sendsMore;
    if (this.#isDropping && !this.tx.isDropping) this.#sendsAgain();
  }

  /** @returns whether there is more to be received at once */
  #receive(): boolean {
    if (!this.isGuestOpen) return false;
    const read = this.#read;
    for (let budget = TURN_BYTES; budget > 0;) {
      if (read.from === read.to) {
        read.from = 0;
        read.to = this.end.read(read.bytes);
        if (read.to === 0) return false;
      }
      const chain = this.host.take(this.rxQueue);
      if (chain === null) return false;
      const length = Math.min(chain.writableBytes, read.to - read.from);
      if (length === 0) this.host.refuse(this.rxQueue, chain, 1);
      else this.host.complete(this.rxQueue, chain, chain.scatter(0, read.bytes, read.from, length));
      read.from += length;
      budget -= Math.max(length, 1);
    }
    return true;
  }

  /**
   * Notices programs that leave and come. One that has left is told before the next is taken.
   *
   * @param isTold Whether the driver knows what the port was last
   * @returns whether it is another thing now
   */
  follow(isTold: boolean): boolean {
    const before = this.isHostOpen;
    if (!this.isGuestOpen) this.#forgetLeft();
    const isLeft = !this.end.isOpen && this.#read.from === this.#read.to;
    if (before && isLeft) {
      this.isHostOpen = false;
      this.tx.leave();
    } else if (!before && isTold) {
      this.end.admit();
      this.isHostOpen = this.end.isOpen;
    }
    return this.isHostOpen !== before;
  }

  /** What a program wrote to a port that the driver has closed is of no use when it has left. */
  #forgetLeft(): void {
    if (!this.isHostOpen) return;
    this.end.forgetLeft();
    if (!this.end.isOpen) this.#read.from = this.#read.to = 0;
  }

  #drop(bytes: number): void {
    this.dropped += bytes;
    if (this.#isDropping) return;
    this.#isDropping = true;
    this.#tellDropped(`${this.title} drops output: the program at the other end does not read`);
  }

  #sendsAgain(): void {
    this.#isDropping = false;
    this.#tellDropped(`${this.title}: ${this.dropped} bytes of output dropped until now`);
  }

  #tellDropped(text: string): void {
    this.host.report({ kind: "dropped", text, port: this.identity.id, bytes: this.dropped });
  }

  /** When it is to be moved again, in nanoseconds. */
  get deadline(): number {
    const retryAt = this.end.retryAt ?? Infinity;
    return this.#isBusy ? 0 : Math.min(this.#drainBy, retryAt, this.tx.deadline);
  }

  /** The transmit queue is to stop. @returns whether what it brought was sent, or waited for long enough */
  drain(now: number): boolean {
    if (this.#drainBy === Infinity) this.#drainBy = now + DRAIN_NS;
    if (now >= this.#drainBy) this.#lose();
    if (!this.tx.isEmpty) return false;
    this.#drainBy = Infinity;
    return true;
  }

  /** The transmit queue stops. */
  stop(abandoned: boolean): void {
    this.#drainBy = Infinity;
    if (abandoned) this.tx.forget();
    else this.#lose();
  }

  /** Returns what was not sent. */
  #lose(): void {
    const lost = this.tx.cancel();
    if (lost === 0) return;
    this.dropped += lost;
    this.#tellDropped(`${this.title}: ${lost} bytes of output lost as its queue stops`);
  }

  [Symbol.dispose](): void {
    this.end[Symbol.dispose]();
  }
}
