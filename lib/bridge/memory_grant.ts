// SPDX-License-Identifier: Apache-2.0
/**
 * Sharing the driver's memory with back-ends, with direct memory.
 *
 * @module
 */
import type { Loopback } from "../loopback/mod.ts";
import type { FrontEnd, MemorySlot } from "../vhost_user/mod.ts";

/** Chooses what a back-end is given, and counts how often the driver's memory was shared. */
export class MemoryGrant {
  /** The connection whose back-end has the driver's memory, where that can be shared once per back-end only. */
  #holder: FrontEnd | null = null;
  #lives = 0;

  /**
   * The memory for a start: the activation's own and the driver's.
   *
   * @returns undefined when the back-end has it already and it cannot be shared again
   * @throws {Error} when the driver's memory cannot be shared with another back-end
   */
  slots(
    frontEnd: FrontEnd,
    own: readonly MemorySlot[],
    loopback: Loopback,
  ): MemorySlot[] | undefined {
    if (loopback.backEndLives !== Infinity) {
      if (this.#holder === frontEnd) return undefined;
      this.#spendLife(loopback);
      this.#holder = frontEnd;
    }
    return [...own, ...loopback.shares.map((share) => ({ ...share, user: share.guest }))];
  }

  #spendLife({ port, backEndLives }: Loopback): void {
    if (this.#lives++ < backEndLives) return;
    throw new Error(
      `Cannot share the driver's memory with another back-end: ${port.name} allows ${backEndLives} with direct ` +
        `memory until the machine is restarted (isolated memory has no such limit)`,
    );
  }
}
