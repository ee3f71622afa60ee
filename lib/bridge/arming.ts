// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a device's watchdog is armed: one word, shared by the main isolate, which checks an armed device periodically, and
 * the access Worker, which arms the watchdog when the driver kicks a queue. An idle device is not armed, so that nothing wakes
 * up for it.
 *
 * All work of an idle device begins with a kick. So the main isolate disarms first, and asks the ring Worker afterwards
 * whether anything is left; the access Worker passes a kick on first, and looks at the word afterwards. Both sides need
 * sequentially consistent order: either the ring Worker finds the kick before it answers, or the access Worker finds the
 * watchdog disarmed.
 *
 * @module
 */

/** The shared word of one device. */
export type Arming = Int32Array<SharedArrayBuffer>;

/** Creates the word of a device, not armed. */
export function createArming(): Arming {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** Arms the watchdog. The access Worker calls it after it passed a kick on. @returns whether it was not armed before */
export function arm(arming: Arming): boolean {
  // A load alone is the usual case, and does not take the cache line from the other thread.
  return Atomics.load(arming, 0) === 0 && Atomics.exchange(arming, 0, 1) === 0;
}

/** Disarms it. Called by the main isolate, before it asks the ring Worker. */
export function disarm(arming: Arming): void {
  Atomics.store(arming, 0, 0);
}
