// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's memory as a Worker looks at it: in views made where they are needed. The engine counts a view's bytes as
 * if they were its own heap's, and collects garbage each time they have grown by 64 MiB: a view of all memory, or of
 * each window, would cost a start more than everything else that the Worker does.
 *
 * @module
 */
import { viewMemory } from "../../ffi/mod.ts";
import type { Grow } from "../virtio/memory.ts";
import type { MappedMemory } from "./port.ts";

/** Views begin and end at multiples of this from their memory's start: what a ring and its buffers touch is in few of them. */
export const VIEW_BYTES = 2 ** 20;

/**
 * Finds memory by guest address among what is mapped. Bytes that lie across the border of two views are in a third that
 * spans both, one for each border; what is longer than a view is looked for in one of the whole memory. So a driver that
 * lies about lengths has no more than these made.
 */
export function viewsOf(memory: readonly MappedMemory[]): Grow {
  return (address, length) => {
    const mapped = memory.find((one) =>
      address >= one.guest && address + length <= one.guest + one.length
    );
    if (mapped === undefined) return null;
    const offset = address - mapped.guest;
    const isLong = length > VIEW_BYTES;
    const start = isLong ? 0 : offset - offset % VIEW_BYTES;
    const end = isLong ? mapped.length : Math.min(roundUp(offset + length), mapped.length);
    const range = { address: mapped.address + BigInt(start), length: end - start };
    return { guest: mapped.guest + start, buffer: viewMemory(range) };
  };
}

function roundUp(offset: number): number {
  return Math.ceil(offset / VIEW_BYTES) * VIEW_BYTES;
}
