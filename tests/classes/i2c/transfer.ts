// SPDX-License-Identifier: Apache-2.0
/**
 * A transfer on a bus that answers at once.
 *
 * @module
 */
import type { Bus, Message } from "../../../lib/classes/i2c/bus.ts";

/** Does a transfer. @returns how many messages were done @throws {Error} what failed beside the chips and the wires */
export function transferBy(bus: Bus, messages: readonly Message[]): number {
  let result: number | null = null;
  bus.transfer(messages, (done, fault) => {
    if (fault !== undefined) throw fault;
    result = done;
  });
  if (result === null) throw new Error(`${bus.name} has not answered`);
  return result;
}
