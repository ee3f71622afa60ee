// SPDX-License-Identifier: Apache-2.0
/**
 * A back-end's ring in viola's memory, with viola as its driver. Its size, features and descriptors are independent of the
 * driver's ring. A chain is an indirect table in its slot where the back-end supports that, else one descriptor per
 * segment.
 *
 * @module
 */
import { DescriptorPool } from "../virtio/descriptor_pool.ts";
import { copyBytes, type RegionView } from "../virtio/memory.ts";
import {
  DESC_SIZE,
  type DriverRing,
  encodeDescriptor,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../virtio/split_ring.ts";
import type { SlotAllocator, SlotLayout } from "./slots.ts";

/** There is no room until the back-end returns a chain. */
export const NO_ROOM = -1;

/** A shadow ring, for one activation. A chain is identified by its head in this ring. */
export class ShadowRing {
  readonly #pool: DescriptorPool;
  /** By head: the chain's owner, and its slot. */
  readonly #owner: Int32Array<ArrayBuffer>;
  readonly #slot: Int32Array<ArrayBuffer>;
  readonly #slotBytes: Int32Array<ArrayBuffer>;

  /**
   * @param ring Empty, in `memory`
   * @param memory The memory shared with the back-end
   * @param slots Allocator of slots, as offsets into `memory`
   * @param indirect VIRTIO_F_INDIRECT_DESC
   */
  constructor(
    readonly ring: DriverRing,
    readonly memory: RegionView,
    readonly slots: SlotAllocator,
    readonly indirect: boolean,
  ) {
    this.#pool = new DescriptorPool(ring.size);
    this.#owner = new Int32Array(ring.size);
    this.#slot = new Int32Array(ring.size);
    this.#slotBytes = new Int32Array(ring.size);
  }

  /**
   * Allocates a slot and descriptors for a chain, and queues it. The back-end sees it when the ring is published; its bytes
   * must be written before, see {@linkcode write}.
   *
   * @param lengths Of the segments that `layout` was made from
   * @param readableCount How many of them are device-readable
   * @param owner The value that {@linkcode ownerOf} returns
   * @returns its head, or {@linkcode NO_ROOM}
   * @throws {RingError} when there is no room although no chain is out
   */
  place(
    layout: SlotLayout,
    lengths: ArrayLike<number>,
    readableCount: number,
    owner: number,
  ): number {
    const { count, bytes } = layout;
    const hasTable = this.indirect && count > 1;
    const needed = hasTable ? 1 : count;
    const slot = needed > this.#pool.freeCount ? -1 : this.slots.take(bytes);
    if (slot < 0) return this.#noRoom(layout, needed);
    const head = this.#pool.take(needed);
    this.#owner[head] = owner;
    this.#slot[head] = slot;
    this.#slotBytes[head] = bytes;
    if (hasTable) this.#describeInTable(head, layout, lengths, readableCount);
    else this.#describe(head, layout, lengths, readableCount);
    this.ring.offer(head);
    return head;
  }

  #noRoom({ count, bytes }: SlotLayout, needed: number): number {
    if (this.ring.pending > 0) return NO_ROOM;
    const { size } = this.ring;
    const what = needed > size
      ? `${count} segments are more than the ${size} descriptors of a back-end without indirect tables`
      : `${bytes} bytes are more than the memory shared with a back-end`;
    throw this.ring.error("offer a chain in", `its ${what}`);
  }

  #describe(
    head: number,
    layout: SlotLayout,
    lengths: ArrayLike<number>,
    readableCount: number,
  ): void {
    const { count, at } = layout;
    const start = this.memory.guest + this.#slot[head]!;
    let index = head;
    for (let i = 0; i < count; i++) {
      const next = i + 1 < count ? this.#pool.after(index) : 0;
      const flags = flagsOf(i, count, readableCount);
      this.ring.writeDescriptor(index, start + at[i]!, lengths[i]!, flags, next);
      index = next;
    }
  }

  #describeInTable(
    head: number,
    layout: SlotLayout,
    lengths: ArrayLike<number>,
    readableCount: number,
  ): void {
    const { count, at } = layout;
    const slot = this.#slot[head]!;
    const start = this.memory.guest + slot;
    for (let i = 0; i < count; i++) {
      const next = i + 1 < count ? i + 1 : 0;
      const flags = flagsOf(i, count, readableCount);
      encodeDescriptor(
        this.memory.view,
        slot / DESC_SIZE + i,
        start + at[i]!,
        lengths[i]!,
        flags,
        next,
      );
    }
    this.ring.writeDescriptor(head, start, DESC_SIZE * count, VIRTQ_DESC_F_INDIRECT, 0);
  }

  /** The owner passed to {@linkcode place}. */
  ownerOf(head: number): number {
    return this.#owner[head]!;
  }

  /** Bytes of its slot. */
  slotBytesOf(head: number): number {
    return this.#slotBytes[head]!;
  }

  /** Copies bytes into a chain's slot, at an offset in it. */
  write(head: number, offset: number, source: Uint8Array, at: number, length: number): void {
    copyBytes(this.memory.u8, this.#slot[head]! + offset, source, at, length);
  }

  /** Copies bytes out of a chain's slot, from an offset in it. */
  read(head: number, offset: number, target: Uint8Array, at: number, length: number): void {
    copyBytes(target, at, this.memory.u8, this.#slot[head]! + offset, length);
  }

  /** Frees the slot and descriptors of a returned chain. */
  release(head: number): void {
    this.slots.give(this.#slot[head]!, this.#slotBytes[head]!);
    this.#pool.give(head);
  }
}

function flagsOf(i: number, count: number, readableCount: number): number {
  const write = i < readableCount ? 0 : VIRTQ_DESC_F_WRITE;
  return i + 1 < count ? write | VIRTQ_DESC_F_NEXT : write;
}
