// SPDX-License-Identifier: Apache-2.0
/**
 * Which memory a back-end is given.
 *
 * @module
 */
import type { Loopback, MemoryMode } from "../loopback/mod.ts";
import type { FrontEnd, MemorySlot } from "../vhost_user/mod.ts";
import { ACTIVATION_GUEST, type ActivationMemory } from "./activation_memory.ts";

/** Hands out memory, and counts how often the driver's was. */
export class MemoryGrant {
  /** The connection whose back-end has the driver's memory, where it may be given once only. */
  #holder: FrontEnd | null = null;
  #lives = 0;

  /**
   * The memory for a start: the activation's own, if any, and with direct memory the driver's.
   *
   * @returns undefined when there is nothing to give, or the back-end has it already and can be given it once only
   * @throws {Error} when no more back-end can be given the driver's memory
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
      `Cannot give the driver's memory to another back-end: ${port.name} allows ${backEndLives} with direct ` +
        `memory until the machine is restarted (isolated memory has no such limit)`,
    );
  }
}

function activationSlots({ memory }: ActivationMemory): MemorySlot[] {
  if (memory === null) return [];
  const [size, fd] = [memory.mapping.length, memory.fd.number];
  return [{ guest: ACTIVATION_GUEST, user: ACTIVATION_GUEST, size, offset: 0, fd }];
}
