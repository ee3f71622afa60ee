// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's side of a split ring: virtio 1.2 §2.7. Its user chooses the descriptors of a chain: a queue with
 * a free list (`DriverQueue`), or a copy of another ring. The device is not trusted either.
 *
 * Memory order is that of the device's side, with the roles changed: `idx` of the available ring is released after the
 * entries and descriptors that it covers, `idx` of the used ring is acquired before its elements, and the store that
 * enables interrupts stays ahead of the load that checks for used elements once more.
 *
 * @module
 */
import type { RingOptions } from "./device_ring.ts";
import { RingError } from "./error.ts";
import type { GuestMemory } from "./memory.ts";
import {
  AVAIL_RING,
  DESC_SIZE,
  eventPassed,
  FLAGS,
  IDX,
  RingAreas,
  type RingLayout,
  USED_RING,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
} from "./ring_layout.ts";

/** A chain that the device gave back. */
export interface UsedElement {
  /** The chain's first descriptor. */
  head: number;
  /** Bytes that the device claims to have written; not checked against the chain's writable bytes. */
  length: number;
}

/** Writes a descriptor to a table, either the ring's or an indirect one. */
export function encodeDescriptor(
  table: DataView,
  index: number,
  address: number,
  length: number,
  flags: number,
  next: number,
): void {
  const at = DESC_SIZE * index;
  table.setUint32(at, address, true); // Its low 32 bits.
  table.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
  table.setUint32(at + 8, length, true);
  table.setUint16(at + 12, flags, true);
  table.setUint16(at + 14, next, true);
}

/** A queue as its driver sees it, without a policy for which descriptors to use. */
export class DriverRing {
  readonly index: number;
  readonly size: number;
  readonly #options: RingOptions;
  readonly #areas: RingAreas;
  readonly #inFlight: Uint8Array<ArrayBuffer>;
  #nextAvail: number;
  #published: number;
  #nextUsed: number;
  // The device's idx at its last load; loaded again only when every element up to it is taken.
  #usedIdx: number;
  // Entries published since the last needsKick.
  #unannounced = 0;

  /**
   * Initialises a ring: empty, all its indices `start`, interrupts enabled. The device must not use it yet.
   *
   * @param start Index of the first available entry and of the first used element, 0 to 65535
   * @throws {RingError} for a layout no queue can have
   */
  constructor(memory: GuestMemory, layout: RingLayout, options: RingOptions, start = 0) {
    this.index = layout.index;
    this.size = layout.size;
    this.#options = options;
    this.#areas = new RingAreas(memory, layout, options.deviceName);
    this.#inFlight = new Uint8Array(layout.size);
    this.#nextAvail =
      this.#published =
      this.#nextUsed =
      this.#usedIdx =
        start & 0xffff;
    const { avail, used, usedEvent, availEvent } = this.#areas;
    avail[usedEvent] = used[availEvent] = this.#nextAvail;
    Atomics.store(avail, FLAGS, 0);
    Atomics.store(used, FLAGS, 0);
    Atomics.store(avail, IDX, this.#nextAvail);
    Atomics.store(used, IDX, this.#nextAvail);
  }

  /** Index of the available entry to write next, 0 to 65535. */
  get nextAvail(): number {
    return this.#nextAvail;
  }

  /** Index of the used element to take next, 0 to 65535. */
  get nextUsed(): number {
    return this.#nextUsed;
  }

  /** How many chains are offered and not returned. */
  get pending(): number {
    return (this.#nextAvail - this.#nextUsed) & 0xffff;
  }

  /**
   * Writes a descriptor. Those of a chain in flight belong to the device.
   *
   * @param index Which, below the ring's size
   * @param flags VIRTQ_DESC_F_…
   * @param next The descriptor after it, with VIRTQ_DESC_F_NEXT
   * @throws {RangeError} when there is no such descriptor
   */
  writeDescriptor(
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    encodeDescriptor(this.#areas.desc, index, address, length, flags, next);
  }

  /**
   * Writes the next available entry; the device sees it after {@linkcode publish}.
   *
   * @throws {RingError} when a chain with that head is in flight, or there is no such descriptor
   */
  offer(head: number): void {
    if (this.#inFlight[head] !== 0) {
      throw this.error(
        "offer a chain in",
        `its head is ${head}, expected one below ${this.size} not in flight`,
      );
    }
    this.#inFlight[head] = 1;
    this.#areas.avail[AVAIL_RING + (this.#nextAvail & (this.size - 1))] = head;
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
  }

  /** Makes every chain that was offered visible to the device. */
  publish(): void {
    this.#unannounced += (this.#nextAvail - this.#published) & 0xffff;
    this.#published = this.#nextAvail;
    Atomics.store(this.#areas.avail, IDX, this.#nextAvail); // Release: entries and descriptors come first.
  }

  /** Whether the device wants a notification for what was published since the last call. */
  needsKick(): boolean {
    const count = this.#unannounced;
    if (count === 0) return false;
    this.#unannounced = 0;
    const { used, availEvent } = this.#areas;
    // Must stay behind the store of idx in publish, or a device that enables notifications between the two is never woken.
    if (this.#options.eventIdx) {
      return eventPassed(Atomics.load(used, availEvent), this.#published, count);
    }
    return (Atomics.load(used, FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0;
  }

  /**
   * Looks how many chains the device has returned that were not taken yet.
   *
   * @throws {RingError} when the device's index is malformed
   */
  countUsed(): number {
    this.#lookForMore();
    return (this.#usedIdx - this.#nextUsed) & 0xffff;
  }

  /**
   * Takes the next used element.
   *
   * @param out Filled when there is one
   * @returns whether there was one
   * @throws {RingError} when the device returned a chain that is not in flight
   */
  takeUsed(out: UsedElement): boolean {
    if (this.#nextUsed === this.#usedIdx && !this.#lookForMore()) return false;
    const { usedElements } = this.#areas;
    const element = USED_RING + 2 * (this.#nextUsed & (this.size - 1));
    const head = usedElements[element]!;
    if (this.#inFlight[head] !== 1) {
      throw this.#refusal(
        `used element ${this.#nextUsed} has id ${head}, expected one of the ${this.pending} in flight`,
      );
    }
    out.head = head;
    out.length = usedElements[element + 1]!;
    this.#inFlight[head] = 0;
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
    return true;
  }

  /**
   * Asks the device to interrupt for the next chain it returns.
   *
   * @returns whether there are used chains already, for which it may send no interrupt: look again
   * @throws {RingError} when the device's index is malformed
   */
  enableInterrupts(): boolean {
    const { avail, usedEvent } = this.#areas;
    if (this.#options.eventIdx) Atomics.store(avail, usedEvent, this.#nextUsed);
    else Atomics.store(avail, FLAGS, 0);
    // Must stay behind that store, or a chain that is returned between the two is never seen.
    return this.#lookForMore();
  }

  /** Tells the device that it need not interrupt. With event indices it does so once at most anyway: nothing to do. */
  disableInterrupts(): void {
    if (!this.#options.eventIdx) {
      Atomics.store(this.#areas.avail, FLAGS, VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
  }

  #lookForMore(): boolean {
    const idx = Atomics.load(this.#areas.used, IDX); // Acquire: what it covers is read after it.
    const published = (this.#published - this.#nextUsed) & 0xffff;
    if (((idx - this.#nextUsed) & 0xffff) > published) {
      throw this.#refusal(
        `the used idx is ${idx}, expected at most ${published} ahead of ${this.#nextUsed}`,
      );
    }
    this.#usedIdx = idx;
    return idx !== this.#nextUsed;
  }

  #refusal(problem: string): RingError {
    return this.error("take a used chain from", problem);
  }

  /** An error that names this ring. @param action What was attempted, as in "offer a chain in" */
  error(action: string, problem: string): RingError {
    return new RingError(this.#options.deviceName, this.index, action, problem);
  }
}
