// SPDX-License-Identifier: Apache-2.0
/**
 * Which frames a controller receives: filters as candump takes them.
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";
import { flaggedId } from "./socket_frame.ts";
import type { CanFrame } from "./wire.ts";

const FILTER = /^([0-9a-f]{1,8})([:~])([0-9a-f]{1,8})$/i;

/** Whether a frame is received. */
export type Filter = (frame: CanFrame) => boolean;

/**
 * Reads a filter: `ID:MASK` for frames whose identifier is ID in the bits of MASK, `ID~MASK` for all others; hexadecimal, with
 * SocketCAN's flags (80000000 for 29 bits, 40000000 for remote transmission requests) as bits of both.
 *
 * @throws {SpecError}
 */
export function parseFilter(text: string): Filter {
  const [, id, relation, mask] = FILTER.exec(text) ?? refuse(text);
  const bits = parseInt(mask!, 16);
  const wanted = parseInt(id!, 16) & bits;
  const isEqual = relation === ":";
  return (frame) => ((flaggedId(frame) & bits) === wanted) === isEqual;
}

function refuse(text: string): never {
  throw new SpecError(
    `Cannot filter by "${text}": expected ID:MASK or ID~MASK, hexadecimal, such as 100:700`,
  );
}

/** Frames that one filter lets through are received; without filters, all are. @throws {SpecError} */
export function parseFilters(texts: readonly string[]): Filter {
  const filters = texts.map(parseFilter);
  return (frame) => filters.length === 0 || filters.some((filter) => filter(frame));
}
