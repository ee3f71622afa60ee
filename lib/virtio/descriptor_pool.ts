// SPDX-License-Identifier: Apache-2.0
/**
 * Which descriptors of a ring are free, and which chain has the others. The driver's private copy: the device may have
 * changed what is in the ring itself.
 *
 * @module
 */

/** Ends the free list. */
const END = 0xffff;

/** Descriptors of a ring, taken as linked lists and returned by the first of each list. */
export class DescriptorPool {
  /** For each descriptor, the next one in its chain or in the free list. */
  readonly #next: Uint16Array<ArrayBuffer>;
  /** For the first descriptor of each chain, how many the chain has. */
  readonly #taken: Uint16Array<ArrayBuffer>;
  #free = 0;
  #freeCount: number;

  /** @param size The ring's, at most 32768 */
  constructor(readonly size: number) {
    this.#next = Uint16Array.from({ length: size }, (_, i) => i + 1 < size ? i + 1 : END);
    this.#taken = new Uint16Array(size);
    this.#freeCount = size;
  }

  /** Descriptors that are free. */
  get freeCount(): number {
    return this.#freeCount;
  }

  /**
   * Takes descriptors, each linked to the one {@linkcode after} it.
   *
   * @param count At least 1, at most {@linkcode freeCount}
   * @returns the first
   */
  take(count: number): number {
    const head = this.#free;
    let next = head;
    for (let left = count; left > 0; left--) next = this.#next[next]!;
    this.#free = next;
    this.#freeCount -= count;
    this.#taken[head] = count;
    return head;
  }

  /** The descriptor after this one, in a chain that is taken and has one more. */
  after(index: number): number {
    return this.#next[index]!;
  }

  /** Gives a chain's descriptors back. @param head What {@linkcode take} returned */
  give(head: number): void {
    const count = this.#taken[head]!;
    let last = head;
    for (let left = count - 1; left > 0; left--) last = this.#next[last]!;
    this.#next[last] = this.#free;
    this.#free = head;
    this.#freeCount += count;
  }
}
