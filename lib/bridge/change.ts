// SPDX-License-Identifier: Apache-2.0
/**
 * Waiting, in an async function, for something that others change.
 *
 * @module
 */

/** Told whenever anything changed; who waits looks for itself what it was. */
export class Change {
  #waiting = new Set<() => void>();

  /** Wakes all that wait. */
  notify(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const wake of waiting) wake();
  }

  /**
   * Waits until `condition` holds, looking after each {@linkcode notify}.
   *
   * @param timeoutMs The longest wait in milliseconds; for ever when absent
   * @returns whether it holds
   */
  async until(condition: () => boolean, timeoutMs?: number): Promise<boolean> {
    const deadline = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs;
    while (!condition()) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await this.#next(left);
    }
    return true;
  }

  async #next(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    const timer = timeoutMs === Infinity ? undefined : setTimeout(resolve, timeoutMs);
    await promise;
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }
}
