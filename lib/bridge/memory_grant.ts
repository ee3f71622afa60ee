// SPDX-License-Identifier: Apache-2.0
/**
 * Which memory is shared with a back-end.
 *
 * @module
 */
import type { Loopback, MemoryMode } from "../loopback/mod.ts";
import type { FrontEnd, MemorySlot } from "../vhost_user/mod.ts";
import { ACTIVATION_GUEST, type ActivationMemory } from "./activation_memory.ts";

/** Chooses the memory shared with a back-end, and counts how often the driver's memory was shared. */
export class MemoryGrant {
  /** The connection whose back-end has the driver's memory, where that can be shared once per back-end only. */
  #holder: FrontEnd | null = null;
  #lives = 0;

  /**
   * The memory for a start: the activation's own, if any, and with direct memory the driver's.
   *
   * @returns undefined when there is nothing to share, or the back-end has it already and it cannot be shared again
   * @throws {Error} when the driver's memory cannot be shared with another back-end
   */
  slots(
    frontEnd: FrontEnd,
    activation: ActivationMemory,
    loopback: Loopback,
    mode: MemoryMode,
  ): MemorySlot[] | undefined {
    const own = activationSlots(activation);
    if (mode === "isolated") return own.length === 0 ? undefined : own;
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

function activationSlots({ memory }: ActivationMemory): MemorySlot[] {
  if (memory === null) return [];
  const [size, fd] = [memory.mapping.length, memory.fd.number];
  return [{ guest: ACTIVATION_GUEST, user: ACTIVATION_GUEST, size, offset: 0, fd }];
}
