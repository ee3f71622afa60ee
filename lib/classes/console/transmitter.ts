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
/** How long a console's driver is held back by a program that does not read, in nanoseconds. */
export const HOLD_NS = 1e8;
/** And for this long for each byte of a chain that was written: a large one takes its time. */
const HOLD_BYTE_NS = 1e4;
/** Bytes without a queue (emergency writes) that are kept for a program that does not read. */
export const KEPT_BYTES = 4096;
/** How long a queue that is to stop waits for a program to read, in nanoseconds. */
export const DRAIN_NS = 1e9;

/** What it needs of its device. */
export type TransmitHost = Pick<DeviceHost, "complete">;

/**
 * See the module. Each chain is returned when all of it was written, so that a device that is killed loses nothing: the next
 * one is offered what was not returned, and writes the chain that was being written once more, from its beginning. Where the
 * front-end ended instead, and another offers that chain again, it is written on from where it was.
 */
export class Transmitter {
  #chains: Chain[] = [];
  /** Bytes of the first chain that were written. */
  #written = 0;
  /** The first chain's bytes, when it was written in part; null also for a large one. */
  #copy: Uint8Array | null = null;
  /** That of a queue that was abandoned, and how many were written. */
  #begun: { readonly bytes: Uint8Array; readonly written: number } | null = null;

  /** @param piece Scratch, which several ports may share */
  constructor(
    readonly queue: number,
    readonly end: HostEnd,
    readonly host: TransmitHost,
    readonly piece: Uint8Array<ArrayBuffer> = new Uint8Array(PIECE_BYTES),
  ) {}

  /** Whether it has nothing to send. */
  get isEmpty(): boolean {
    return this.#chains.length === 0;
  }

  /** The chain that is being written, and its bytes that were. */
  protected get first(): { readonly chain: Chain | undefined; readonly written: number } {
    return { chain: this.#chains[0], written: this.#written };
  }

  /** Whether output is dropped, as the program does not read. */
  get isDropping(): boolean {
    return false;
  }

  /** When it is to {@linkcode send} again at the latest, in nanoseconds. */
  get deadline(): number {
    return Infinity;
  }

  /** The driver sends a chain. */
  add(chain: Chain): void {
    this.#chains.push(chain);
    if (this.#begun !== null) this.#resume(chain, this.#begun);
    this.#begun = null;
  }

  /** Of a chain that is the one that was begun, byte for byte, the rest is written. */
  #resume(chain: Chain, { bytes, written }: { bytes: Uint8Array; written: number }): void {
    if (chain.readableBytes !== bytes.length || !this.end.isOpen) return;
    chain.gather(0, this.piece);
    if (!bytes.every((byte, i) => byte === this.piece[i])) return;
    this.#written = written;
    this.#copy = bytes;
  }

  /** Sends what there is room for. @returns whether there is more that can be sent at once */
  send(_now: number): boolean {
    let budget = TURN_BYTES;
    if (!this.end.isOpen) this.#begun = null; // the next program gets chains from their beginning
    for (let chain = this.#chains[0]; chain !== undefined; chain = this.#chains[0]) {
      if (budget <= 0) return true;
      if (!this.end.isOpen) this.#written = chain.readableBytes;
      const length = chain.gather(this.#written, this.piece);
      if (length > 0) {
        const written = this.end.write(this.piece, 0, length);
        if (written === 0) return false;
        const isBegun = this.#written === 0 && written < length && length === chain.readableBytes;
        if (isBegun) this.#copy = this.piece.slice(0, length);
        this.#written += written;
        budget -= written;
      }
      if (this.#written >= chain.readableBytes) this.#finish(chain);
    }
    return false;
  }

  /** The program has left: what was being written to it is gone with it. */
  leave(): void {
    const [chain] = this.#chains;
    this.#begun = null;
    if (chain !== undefined && this.#written > 0) this.#finish(chain);
  }

  #finish(chain: Chain): void {
    this.#chains.shift();
    this.#written = 0;
    this.#copy = null;
    this.host.complete(this.queue, chain, 0);
  }

  /** Returns the driver's chains, sent or not. @returns bytes that were not */
  cancel(): number {
    const lost = this.#chains.reduce((sum, chain) => sum + chain.readableBytes, -this.#written);
    for (const chain of [...this.#chains]) this.#finish(chain);
    return Math.max(lost, 0);
  }

  /** Forgets the driver's chains. */
  forget(): void {
    if (this.#copy !== null) this.#begun = { bytes: this.#copy, written: this.#written };
    this.#chains = [];
    this.#written = 0;
    this.#copy = null;
  }
}

/**
 * Of a console: a program that does not read holds the driver back for {@linkcode HOLD_NS} only, then output is dropped until
 * there is room again. Linux's driver waits for a console's output in a loop, with interrupts off on that CPU: held back for
 * long it would stand still.
 */
export class ConsoleTransmitter extends Transmitter {
  /** Bytes that came without a queue. */
  readonly #kept = { bytes: new Uint8Array(KEPT_BYTES), length: 0 };
  /** Since when the first chain, or byte, waits for room, in nanoseconds; Infinity when none does. */
  #heldSince = Infinity;
  #isDropping = false;

  /** @param onDropped Called with the bytes that are lost each time */
  constructor(
    queue: number,
    end: HostEnd,
    host: TransmitHost,
    readonly onDropped: (bytes: number) => void,
  ) {
    super(queue, end, host);
  }

  override get isDropping(): boolean {
    return this.#isDropping;
  }

  override get deadline(): number {
    if (this.#isDropping) return Infinity;
    return this.#heldSince + HOLD_NS + this.first.written * HOLD_BYTE_NS;
  }

  /** A byte that comes without a queue (emergency write). */
  addByte(byte: number): void {
    const kept = this.#kept;
    if (!this.end.isOpen) return;
    if (kept.length === KEPT_BYTES) return this.onDropped(1);
    kept.bytes[kept.length++] = byte;
  }

  override send(now: number): boolean {
    const [{ chain }, { length }] = [this.first, this.#kept];
    const hasMore = this.#sendKept() && super.send(now);
    const isSent = this.first.chain !== chain || this.#kept.length < length;
    if (isSent || !this.end.isOpen) {
      this.#heldSince = Infinity;
      this.#isDropping = false;
    }
    const waits = !hasMore && (this.#kept.length > 0 || !this.isEmpty);
    if (waits) this.#hold(now);
    return hasMore;
  }

  /** There is no room: what waits has its time, unless what came before it has had it. */
  #hold(now: number): void {
    this.#heldSince = Math.min(this.#heldSince, now);
    if (!this.#isDropping && now < this.deadline) return;
    this.#isDropping = true;
    const lost = this.cancel();
    if (lost > 0) this.onDropped(lost);
  }

  /** @returns whether all of it is written, or gone with its program */
  #sendKept(): boolean {
    const { bytes, length } = this.#kept;
    let done = this.end.isOpen ? 0 : length;
    while (done < length) {
      const written = this.end.write(bytes, done, length - done);
      if (written === 0) break;
      done += written;
    }
    bytes.copyWithin(0, done, length);
    this.#kept.length -= done;
    return this.#kept.length === 0;
  }
}
