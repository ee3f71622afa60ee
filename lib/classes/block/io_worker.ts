// SPDX-License-Identifier: Apache-2.0
/**
 * An io thread of a block device: does one operation after the other, and waits for the medium so that the device need not.
 *
 * @module
 */
import { signalEvent } from "../../../ffi/mod.ts";
import type { IoThread } from "./io_pool.ts";
import { IoSlots, SLOT_BYTES } from "./io_slots.ts";
import { EIO, perform } from "./operations.ts";

// The Worker global scope's own names, which the window's types lack.
const scope = globalThis as unknown as {
  onmessage: ((message: MessageEvent<IoThread>) => void) | null;
  close(): void;
};

scope.onmessage = ({ data: { shared, file, done } }) => {
  const slots = new IoSlots(shared);
  slots.start();
  for (let slot; (slot = slots.next()) >= 0;) {
    slots.finish(slot, run(slots, file, slot));
    signalEvent(done);
  }
  slots.leave();
  scope.close();
};

/** An operation that throws has failed, like any other: its request must be answered. */
function run(slots: IoSlots, file: number, slot: number): number {
  try {
    const [op, position, length] = [slots.op(slot), slots.position(slot), slots.length(slot)];
    return perform(file, op, position, length, slots.bytes, slot * SLOT_BYTES);
  } catch {
    return EIO;
  }
}
