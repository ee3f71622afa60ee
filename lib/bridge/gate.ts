// SPDX-License-Identifier: Apache-2.0
/**
 * Who may touch a driver's memory: the ring Worker asks before each batch, the access Worker waits for it to be out
 * before it answers a reset, after which the driver frees that memory.
 *
 * The ring Worker is inside for the length of one batch, microseconds, and never waits for anything in there: an
 * interrupt, which waits for the access Worker, is raised outside. So the access Worker may wait for it.
 *
 * @module
 */

const INSIDE = 0;
const WAITING = 1;
const WORDS = 2;

/** The words of one device, shared by its Workers. */
export type Gate = Int32Array<SharedArrayBuffer>;

/** A device's gate, nobody inside. */
export function createGate(): Gate {
  return new Int32Array(new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT));
}

/**
 * The ring Worker goes in, and only then looks whether the driver is still in the life (the device's and the queue's
 * epoch) that its rings were taken from.
 *
 * Sequentially consistent order is needed on both sides, each storing its own word before it loads the other's (the
 * access Worker: the epoch, then INSIDE): with less, each could miss the other.
 */
export function enter(gate: Gate): void {
  Atomics.store(gate, INSIDE, 1);
}

/** The ring Worker goes out: all it wrote is seen by whoever finds it out. */
export function leave(gate: Gate): void {
  Atomics.store(gate, INSIDE, 0);
  if (Atomics.load(gate, WAITING) === 1) Atomics.notify(gate, INSIDE);
}

/** The access Worker, after it moved an epoch: when this returns, nobody touches the memory of the life before. */
export function settle(gate: Gate): void {
  Atomics.store(gate, WAITING, 1);
  while (Atomics.load(gate, INSIDE) === 1) Atomics.wait(gate, INSIDE, 1, 100);
  Atomics.store(gate, WAITING, 0);
}
