// SPDX-License-Identifier: Apache-2.0
/**
 * Who may touch a driver's memory: the ring Worker says so around each batch, the access Worker waits for the end of one
 * before it answers a reset, after which the driver frees that memory. As in RCU, with one reader: a read-side critical
 * section, and a writer that waits for a grace period.
 *
 * A use lasts one batch, microseconds, and waits for nothing: an interrupt, which waits for the access Worker, is raised
 * outside. So the access Worker may wait for its end.
 *
 * @module
 */

const IN_USE = 0;
const WAITING = 1;
const WORDS = 2;

/** The words of one device, shared by its Workers. */
export type MemoryUse = Int32Array<SharedArrayBuffer>;

/** A device's, not in use. */
export function createMemoryUse(): MemoryUse {
  return new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT));
}

/**
 * The ring Worker begins, and only then looks whether the driver is still in the life (the device's and the queue's
 * epoch) that its rings were taken from.
 *
 * Sequentially consistent order is needed on both sides, each storing its own word before it loads the other's (the
 * access Worker: the epoch, then IN_USE): with less, each could miss the other.
 */
export function beginUse(use: MemoryUse): void {
  Atomics.store(use, IN_USE, 1);
}

/** The ring Worker ends: all it wrote is seen by whoever sees that. */
export function endUse(use: MemoryUse): void {
  Atomics.store(use, IN_USE, 0);
  if (Atomics.load(use, WAITING) === 1) Atomics.notify(use, IN_USE);
}

/** The access Worker, after it moved an epoch: when this returns, nobody touches the memory of the life before. */
export function awaitUnused(use: MemoryUse): void {
  Atomics.store(use, WAITING, 1);
  while (Atomics.load(use, IN_USE) === 1) Atomics.wait(use, IN_USE, 1, 100);
  Atomics.store(use, WAITING, 0);
}
