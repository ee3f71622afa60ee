// SPDX-License-Identifier: Apache-2.0
/**
 * Views of the driver's memory, created where they are needed. V8 counts a view's bytes as its own heap, and collects
 * garbage each time they have grown by 64 MiB: a view of all memory, or of each window, would cost more at start than
 * everything else that the Worker does.
 *
 * @module
 */
import { viewMemory } from "../../ffi/mod.ts";
import type { Grow } from "../virtio/memory.ts";
import type { MappedMemory } from "./port.ts";

/** Views begin and end at multiples of this from their memory's start, so that a ring and its buffers need few of them. */
export const VIEW_BYTES = 2 ** 20;

/**
 * Finds mapped memory by guest address. Bytes that cross the border of two views get a third view that spans both, one for
 * each border; a range longer than a view gets one view of the whole memory. So wrong lengths from a driver cannot create
 * more views than these.
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
