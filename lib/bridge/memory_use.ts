// SPDX-License-Identifier: Apache-2.0
/**
 * Guards a driver's memory: the ring Worker marks each batch as a use of it, and the access Worker waits for the end of a
 * use before it answers a reset, after which the driver frees that memory. As in RCU, with one reader: a read-side
 * critical section, and a writer that waits for a grace period.
 *
 * A use lasts one batch, microseconds, and never blocks: an interrupt, which needs the access Worker, is raised outside.
 * So the access Worker may wait for its end.
 *
 * @module
 */

const IN_USE = 0;
const WAITING = 1;
const WORDS = 2;

/** The shared words of one device. */
export type MemoryUse = Int32Array<SharedArrayBuffer>;

/** Creates the words of a device, not in use. */
export function createMemoryUse(): MemoryUse {
  return new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT));
}

/**
 * Called by the ring Worker, which must check afterwards that the device's and the queue's epoch are still those that its
 * rings belong to.
 *
 * Both sides need sequentially consistent order, since each stores its own word before it loads the other's (the access
 * Worker: the epoch, then IN_USE). With a weaker order each could miss the other's store.
 */
export function beginUse(use: MemoryUse): void {
  Atomics.store(use, IN_USE, 1);
}

/** Called by the ring Worker. Release: a thread that sees the end of the use sees everything written during it. */
export function endUse(use: MemoryUse): void {
  Atomics.store(use, IN_USE, 0);
  if (Atomics.load(use, WAITING) === 1) Atomics.notify(use, IN_USE);
}

/** Called by the access Worker after it moved an epoch. On return the memory of the previous epoch is no longer in use. */
export function awaitUnused(use: MemoryUse): void {
  Atomics.store(use, WAITING, 1);
  while (Atomics.load(use, IN_USE) === 1) Atomics.wait(use, IN_USE, 1, 100);
  Atomics.store(use, WAITING, 0);
}
