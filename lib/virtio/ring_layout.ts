// SPDX-License-Identifier: Apache-2.0
/**
 * The split virtqueue's layout: virtio 1.2 §2.7, as in <linux/virtio_ring.h>. All fields are little-endian, as is every
 * machine that Deno runs on.
 *
 * @module
 */
import { RingError } from "./error.ts";
import type { GuestMemory } from "./memory.ts";

/** Descriptor flag: the chain continues at `next`. */
export const VIRTQ_DESC_F_NEXT = 1;
/** Descriptor flag: for the device to write; otherwise for it to read. */
export const VIRTQ_DESC_F_WRITE = 2;
/** Descriptor flag: the buffer is a table of descriptors. */
export const VIRTQ_DESC_F_INDIRECT = 4;
/** Flag of the available ring: the driver wants no interrupts. */
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
/** Flag of the used ring: the device wants no notifications. */
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** The largest queue size that the standard allows, in descriptors. */
export const MAX_QUEUE_SIZE = 32768;
/** Bytes of a descriptor: u64 address, u32 length, u16 flags, u16 next. */
export const DESC_SIZE = 16;
const DESC_ALIGN = 16;
const AVAIL_ALIGN = 2;
const USED_ALIGN = 4;

/** Bytes of a descriptor table. */
export function descBytes(size: number): number {
  return DESC_SIZE * size;
}

/** Bytes of an available ring: u16 flags, u16 idx, u16 ring[size], u16 used_event. */
export function availBytes(size: number): number {
  return 6 + 2 * size;
}

/** Bytes of a used ring: u16 flags, u16 idx, { u32 id, u32 len } ring[size], u16 avail_event. */
export function usedBytes(size: number): number {
  return 6 + 8 * size;
}

/** Where a queue lies; addresses are the guest's. */
export interface RingLayout {
  /** The queue's index in its device. */
  readonly index: number;
  /** Descriptors: a power of 2, at most 32768. */
  readonly size: number;
  /** Address of the descriptor table, a multiple of 16. */
  readonly desc: number;
  /** Address of the available ring, a multiple of 2. */
  readonly avail: number;
  /** Address of the used ring, a multiple of 4. */
  readonly used: number;
}

/**
 * Addresses of a ring in one block: table, available ring, and the used ring at the next multiple of `align`, as a
 * virtio-mmio version 1 driver lays it out (virtio 1.2 §2.7.2).
 *
 * @param base A multiple of 16
 * @param align A power of 2, at least 4; version 1 drivers say 4096
 * @returns the addresses, and how many bytes the block takes
 */
export function splitRingLayout(
  base: number,
  size: number,
  align: number = USED_ALIGN,
): { desc: number; avail: number; used: number; bytes: number } {
  const avail = base + descBytes(size);
  const used = Math.ceil((avail + availBytes(size)) / align) * align;
  return { desc: base, avail, used, bytes: used + usedBytes(size) - base };
}

/**
 * Whether the index of an event lies among the last `count` steps up to `now` (virtio 1.2 §2.7.7.2, §2.7.10); all
 * arithmetic modulo 2^16.
 *
 * @param event The `used_event` or `avail_event` that the other side wrote
 * @param now The index just published
 * @param count Steps since the other side was last notified
 */
export function eventPassed(event: number, now: number, count: number): boolean {
  return ((now - event - 1) & 0xffff) < count;
}

/** The index of `flags` in either ring, as u16. */
export const FLAGS = 0;
/** The index of `idx` in either ring, as u16. */
export const IDX = 1;
/** The index of `ring[0]` in the available ring, as u16. */
export const AVAIL_RING = 2;
/** The index of `ring[0].id` in the used ring, as u32; its `len` follows. */
export const USED_RING = 1;

/** The three areas of a ring in memory. Each view spans its area only, so no access can leave it. */
export class RingAreas {
  /** The queue's index in its device. */
  readonly index: number;
  readonly desc: DataView<ArrayBuffer>;
  readonly avail: Uint16Array<ArrayBuffer>;
  /** The used ring, for its flags, idx and avail_event. */
  readonly used: Uint16Array<ArrayBuffer>;
  /** The used ring, for its elements. */
  readonly usedElements: Uint32Array<ArrayBuffer>;
  /** The index of `used_event` in {@linkcode avail}. */
  readonly usedEvent: number;
  /** The index of `avail_event` in {@linkcode used}. */
  readonly availEvent: number;

  /** @throws {RingError} for a size or an address that no queue can have, or that lies outside the memory */
  constructor(memory: GuestMemory, layout: RingLayout, device: string) {
    const { index, size } = layout;
    this.index = index;
    if (!Number.isInteger(size) || size < 1 || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) {
      const wanted = `expected a power of 2 of at most ${MAX_QUEUE_SIZE}`;
      throw new RingError(device, index, "set up", `its size is ${size}, ${wanted}`);
    }
    const place = (area: "desc" | "avail" | "used", bytes: number, align: number) => {
      const address = layout[area];
      const region = memory.find(address, bytes);
      if (region !== null && address % align === 0) {
        return [region.buffer, address - region.guest] as const;
      }
      const wanted = region === null ? `${bytes} bytes inside memory` : `a multiple of ${align}`;
      const problem = `${area} is at 0x${address.toString(16)}, expected ${wanted}`;
      throw new RingError(device, index, "set up", problem);
    };
    this.desc = new DataView(...place("desc", descBytes(size), DESC_ALIGN), descBytes(size));
    this.avail = new Uint16Array(...place("avail", availBytes(size), AVAIL_ALIGN), 3 + size);
    const used = place("used", usedBytes(size), USED_ALIGN);
    this.used = new Uint16Array(...used, 3 + 4 * size);
    this.usedElements = new Uint32Array(...used, 1 + 2 * size);
    this.usedEvent = AVAIL_RING + size;
    this.availEvent = 2 + 4 * size;
  }
}
