// SPDX-License-Identifier: Apache-2.0
/**
 * A ring as its other side would write it: byte by byte, by none of the code under test.
 *
 * @module
 */
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  type Chain,
  DeviceRing,
  type DeviceRingStart,
  DriverRing,
  type RingLayout,
  type RingOptions,
} from "../../lib/virtio/split_ring.ts";

/** Where the fixture's memory begins, and its size. */
export const GUEST = 0x1_4000_0000;
export const MEMORY_BYTES = 0x10000;
/** Buffers may lie here. */
export const DATA = GUEST + 0x8000;

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

/** A ring of `size` with table, available and used ring at 0, 0x1000 and 0x2000 of the memory. */
export class RawRing {
  readonly buffer = new ArrayBuffer(MEMORY_BYTES);
  readonly bytes = new Uint8Array(this.buffer);
  readonly view = new DataView(this.buffer);
  readonly memory = new GuestMemory([{ guest: GUEST, buffer: this.buffer }]);
  readonly layout: RingLayout;

  constructor(readonly size: number) {
    this.layout = { index: 3, size, desc: GUEST, avail: GUEST + 0x1000, used: GUEST + 0x2000 };
  }

  options(eventIdx = false, indirect = true): RingOptions {
    return { indirect, eventIdx, deviceName: "card0" };
  }

  device(
    { eventIdx = false, indirect = true, ...start }:
      & { eventIdx?: boolean; indirect?: boolean }
      & Partial<DeviceRingStart> = {},
  ): DeviceRing {
    const options = this.options(eventIdx, indirect);
    return new DeviceRing(this.memory, this.layout, options, { nextAvail: 0, ...start });
  }

  driver({ eventIdx = false, start = 0 } = {}): DriverRing {
    return new DriverRing(this.memory, this.layout, this.options(eventIdx), start);
  }

  /** Writes descriptor `i` of the table at `table` of the memory. */
  desc(
    i: number,
    address: number | bigint,
    length: number,
    flags = 0,
    next = 0,
    table = 0,
  ): void {
    const at = table + 16 * i;
    this.view.setBigUint64(at, BigInt(address), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  #u16(at: number, value: number | undefined): number {
    if (value !== undefined) this.view.setUint16(at, value, true);
    return this.view.getUint16(at, true);
  }

  // ---- each reads a field, and sets it first when given a value ----

  availFlags(value?: number): number {
    return this.#u16(0x1000, value);
  }

  availIdx(value?: number): number {
    return this.#u16(0x1002, value);
  }

  availRing(i: number, value?: number): number {
    return this.#u16(0x1004 + 2 * i, value);
  }

  usedEvent(value?: number): number {
    return this.#u16(0x1004 + 2 * this.size, value);
  }

  usedFlags(value?: number): number {
    return this.#u16(0x2000, value);
  }

  usedIdx(value?: number): number {
    return this.#u16(0x2002, value);
  }

  availEvent(value?: number): number {
    return this.#u16(0x2004 + 8 * this.size, value);
  }

  usedRing(i: number, element?: [id: number, length: number]): [number, number] {
    const at = 0x2004 + 8 * i;
    if (element !== undefined) {
      this.view.setUint32(at, element[0], true);
      this.view.setUint32(at + 4, element[1], true);
    }
    return [this.view.getUint32(at, true), this.view.getUint32(at + 4, true)];
  }

  /** Offers chains as a driver would, from available entry `idx` on. */
  offer(idx: number, ...heads: number[]): void {
    heads.forEach((head, i) => this.availRing((idx + i) % this.size, head));
    this.availIdx((idx + heads.length) & 0xffff);
  }

  hex(at: number, length: number): string {
    return this.bytes.subarray(at, at + length).toHex();
  }
}

/** Numbers in [0, below) that are the same in every run with the same seed (a xorshift generator). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** A chain's segments. */
export function segments(chain: Chain): [index: number, address: number, length: number][] {
  return Array.from({ length: chain.count }, (_, i) => [
    chain.index[i]!,
    chain.address[i]!,
    chain.length[i]!,
  ]);
}
