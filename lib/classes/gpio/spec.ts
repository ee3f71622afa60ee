// SPDX-License-Identifier: Apache-2.0
/**
 * How an embedded GPIO controller is to be, and what it tells its owner.
 *
 * @module
 */
import { type DeviceContract, type DeviceEvent, SpecError } from "../../device/role.ts";
import { type Bias, BIASES, type ChipHost, ChipLines, offsetsOf, openChip } from "./chip.ts";
import type { Level, Lines, OnEdge } from "./lines.ts";
import { type LineState, SimulatedLines } from "./simulated.ts";
import { isLineName, MAX_NAME_LENGTH } from "./wire.ts";

/** How a controller is to be. */
export interface GpioSpec {
  /** A GPIO chip of the host, such as /dev/gpiochip0. Absent: the lines are simulated. */
  chip?: string;
  /** Of a chip: names or numbers of the lines to use. @default all. Else names of simulated lines, from line 0 on. */
  line?: readonly string[];
  /** How many simulated lines there are; those without a name come last. @default as many as have names, or 8 */
  lines?: number;
  /** What a chip's inputs are pulled to. @default as they are */
  bias?: Bias;
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
  const { chip: path, line = [], lines, bias } = spec;
  if (bias !== undefined && !BIASES.includes(bias)) {
    throw new SpecError(`Cannot use bias "${bias}": expected ${BIASES.join(", ")}`);
  }
  if (path === undefined) {
    if (bias === undefined) return void lineNames(spec);
    throw new SpecError("Cannot use a bias without a chip: simulated lines have none");
  }
  if (lines !== undefined) {
    throw new SpecError(`Cannot simulate ${lines} lines beside those of ${path}`);
  }
  using chip = openChip(path);
  offsetsOf(chip, line, MAX_LINES);
}

/** The lines of a specification. @throws {Error} when the chip cannot be used */
export function linesOf(spec: GpioSpec, host: ChipHost, onEdge: OnEdge): Lines {
  const { chip: path, line = [], bias = null } = spec;
  if (path === undefined) return new SimulatedLines(lineNames(spec), onEdge);
  using opened = new DisposableStack();
  const chip = opened.use(openChip(path));
  const lines = new ChipLines(chip, offsetsOf(chip, line, MAX_LINES), bias, host, onEdge);
  opened.move();
  return lines;
}
