// SPDX-License-Identifier: Apache-2.0
/**
 * What the driver sends by a port, on its way to the host. Where no program is connected it is gone, as in QEMU.
 *
 * @module
 */
import type { DeviceHost } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import type { HostEnd } from "./host_end.ts";

/** Bytes of one write. */
const PIECE_BYTES = 65536;
/** Bytes that one port sends in a turn. */
const TURN_BYTES = 4 * PIECE_BYTES;
/** Bytes that a console keeps for a program that reads slowly. */
export const KEPT_BYTES = 262144;
/** How long a queue that is to stop waits for a program to read, in nanoseconds. */
export const DRAIN_NS = 1e9;

/** What it needs of its device. */
export type TransmitHost = Pick<DeviceHost, "complete">;

/** See the module. */
export interface Transmitter {
  /** The driver sends a chain. */
  add(chain: Chain): void;
  /** Sends what there is room for. @returns whether there is more that can be sent at once */
  send(): boolean;
  /** Whether it has no chain of the driver's. */
  readonly isEmpty: boolean;
  /** Returns the driver's chains, sent or not. @returns bytes that were not */
  cancel(): number;
  /** Forgets the driver's chains. */
  forget(): void;
}

/** Each chain is kept until all of it was written: a program that does not read holds the driver back. */
export class HoldingTransmitter implements Transmitter {
  #chains: Chain[] = [];
  /** Bytes of the first chain that were written. */
  #written = 0;

  /** @param piece Scratch, which several ports may share */
  constructor(
    readonly queue: number,
    readonly end: HostEnd,
    readonly host: TransmitHost,
    readonly piece: Uint8Array<ArrayBuffer> = new Uint8Array(PIECE_BYTES),
  ) {}

  get isEmpty(): boolean {
    return this.#chains.length === 0;
  }

  add(chain: Chain): void {
    this.#chains.push(chain);
  }

  send(): boolean {
    let budget = TURN_BYTES;
    for (let chain = this.#chains[0]; chain !== undefined; chain = this.#chains[0]) {
      if (budget <= 0) return true;
      if (!this.end.isOpen) this.#written = chain.readableBytes;
      const length = chain.gather(this.#written, this.piece);
      if (length > 0) {
        const written = this.end.write(this.piece, 0, length);
        if (written === 0) return false;
        this.#written += written;
        budget -= written;
      }
      if (this.#written >= chain.readableBytes) this.#finish(chain);
    }
    return false;
  }

  #finish(chain: Chain): void {
    this.#chains.shift();
    this.#written = 0;
    this.host.complete(this.queue, chain, 0);
  }

  cancel(): number {
    const lost = this.#chains.reduce((sum, chain) => sum + chain.readableBytes, -this.#written);
    for (const chain of [...this.#chains]) this.#finish(chain);
    return Math.max(lost, 0);
  }

  forget(): void {
    this.#chains = [];
    this.#written = 0;
  }
}

/**
 * Each chain is copied and returned at once, and what there is no room for is dropped. So QEMU does with consoles, too:
 * Linux's driver waits for a console's output in a loop, with interrupts off on that CPU, and held back it would stand still.
 */
export class DroppingTransmitter implements Transmitter {
  readonly #kept = new Uint8Array(KEPT_BYTES);
  #from = 0;
  #to = 0;
  readonly isEmpty = true;

  /** @param onDropped Called with the bytes that are lost each time */
  constructor(
    readonly queue: number,
    readonly end: HostEnd,
    readonly host: TransmitHost,
    readonly onDropped: (bytes: number) => void,
  ) {}

  add(chain: Chain): void {
    for (let at = 0; this.end.isOpen && at < chain.readableBytes;) {
      const room = this.#makeRoom();
      if (room === 0) {
        this.onDropped(chain.readableBytes - at);
        break;
      }
      const length = chain.gather(at, this.#kept, this.#to, room);
      this.#to += length;
      at += length;
    }
    this.host.complete(this.queue, chain, 0);
  }

  /** Bytes that wait for the program to read. */
  get keptBytes(): number {
    return this.#to - this.#from;
  }

  /** A byte that comes without a queue (emergency write). */
  addByte(byte: number): void {
    if (!this.end.isOpen) return;
    if (this.#makeRoom() === 0) return this.onDropped(1);
    this.#kept[this.#to++] = byte;
  }

  /** @returns bytes free at the end; some are written first if there are none */
  #makeRoom(): number {
    if (this.#to === KEPT_BYTES) {
      this.send();
      this.#kept.copyWithin(0, this.#from, this.#to);
      this.#to -= this.#from;
      this.#from = 0;
    }
    return KEPT_BYTES - this.#to;
  }

  send(): boolean {
    let budget = TURN_BYTES;
    while (this.#from < this.#to && budget > 0) {
      if (!this.end.isOpen) this.#from = this.#to;
      else {
        const length = Math.min(this.#to - this.#from, PIECE_BYTES);
        const written = this.end.write(this.#kept, this.#from, length);
        if (written === 0) return false;
        this.#from += written;
        budget -= written;
      }
    }
    if (this.#from === this.#to) this.#from = this.#to = 0;
    return this.#from < this.#to;
  }

  cancel(): number {
    return 0;
  }

  forget(): void {}
}
