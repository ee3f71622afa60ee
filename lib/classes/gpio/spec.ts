// SPDX-License-Identifier: Apache-2.0
/**
 * How an embedded GPIO controller is to be, and what it tells its owner.
 *
 * @module
 */
import { type DeviceContract, type DeviceEvent, SpecError } from "../../device/role.ts";
import type { Level } from "./lines.ts";
import type { LineState } from "./simulated.ts";
import { isLineName, MAX_NAME_LENGTH } from "./wire.ts";

/** How a controller is to be. */
export interface GpioSpec {
  /** Names of simulated lines, from line 0 on. */
  line?: readonly string[];
  /** How many simulated lines there are; those without a name come last. @default as many as have names, or 8 */
  lines?: number;
}

/** What a controller and its owner agree on. */
export interface GpioDeviceContract extends DeviceContract {
  spec: GpioSpec;
  calls: {
    /** All lines. @throws {Error} unless they are simulated */
    lines(): LineState[];
    /** Drives a simulated line from outside. @throws {Error} for an output of the driver's */
    drive(line: number, level: Level): void;
  };
  event: DeviceEvent;
}

/** Simulated lines, when nothing is said of them. */
const DEFAULT_LINES = 8;
/** The most lines of a controller: what a replay remembers. */
export const MAX_LINES = 1024;

/** The names of the simulated lines of a specification, by line. @throws {SpecError} */
export function lineNames({ line = [], lines }: GpioSpec): string[] {
  const count = lines ?? (line.length === 0 ? DEFAULT_LINES : line.length);
  if (!Number.isInteger(count) || count < 1 || count > MAX_LINES) {
    throw new SpecError(`Cannot simulate ${count} lines, expected 1 to ${MAX_LINES}`);
  }
  if (line.length > count) {
    throw new SpecError(`Cannot simulate ${count} lines with ${line.length} names`);
  }
  line.forEach((name, i) => {
    if (!isLineName(name)) {
      throw new SpecError(
        `Cannot call a line "${name}": expected 1 to ${MAX_NAME_LENGTH} printable ASCII characters`,
      );
    }
    if (line.indexOf(name) !== i) throw new SpecError(`Cannot call two lines "${name}"`);
  });
  return [...line, ...new Array<string>(count - line.length).fill("")];
}

/** @throws {SpecError} */
export function checkGpio(spec: GpioSpec): void {
  lineNames(spec);
}
