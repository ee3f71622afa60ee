// SPDX-License-Identifier: Apache-2.0
/**
 * Simulated lines: wires whose other end is a program, through the device's calls or its control socket.
 *
 * @module
 */
import type { Level, Lines, LineUse, OnEdge } from "./lines.ts";
import {
  DIRECTION_NONE,
  DIRECTION_OUT,
  IRQ_TYPE_EDGE_FALLING,
  IRQ_TYPE_EDGE_RISING,
  IRQ_TYPE_NONE,
} from "./wire.ts";

/** A line as it is seen from outside. */
export interface LineState {
  /** Its number. */
  readonly line: number;
  /** Empty if it has none. */
  readonly name: string;
  /** What the driver uses it for. */
  readonly direction: "none" | "in" | "out";
  readonly value: Level;
}

/** Names of the directions, by `DIRECTION_*`. */
const DIRECTIONS = ["none", "out", "in"] as const;

/** What the driver has not touched. */
const UNUSED: LineUse = { direction: DIRECTION_NONE, value: 0, edges: IRQ_TYPE_NONE };

/** One wire. */
interface Wire {
  use: LineUse;
  /** What its other end drives, unless the driver does. */
  outside: Level;
}

/** The lines; low until something drives them. */
export class SimulatedLines implements Lines {
  readonly title = "simulated lines";
  readonly #wires: readonly Wire[];
  /** Called with each line whose level or direction has changed. */
  onChange: (state: LineState) => void = () => {};

  constructor(readonly names: readonly string[], readonly onEdge: OnEdge) {
    this.#wires = names.map(() => ({ use: UNUSED, outside: 0 }));
  }

  use(line: number, use: LineUse): void {
    const wire = this.#wires[line]!;
    const before = this.state(line);
    wire.use = use;
    const { direction, value } = this.state(line);
    if (direction !== before.direction || value !== before.value) this.onChange(this.state(line));
  }

  get(line: number): Level {
    const { use, outside } = this.#wires[line]!;
    return use.direction === DIRECTION_OUT ? use.value : outside;
  }

  /** How a line is now. */
  state(line: number): LineState {
    const { direction } = this.#wires[line]!.use;
    const name = this.names[line]!;
    return { line, name, direction: DIRECTIONS[direction]!, value: this.get(line) };
  }

  /**
   * Drives a line from outside.
   *
   * @throws {Error} when the driver drives it
   */
  drive(line: number, level: Level): void {
    const wire = this.#wires[line]!;
    const { direction, edges } = wire.use;
    if (direction === DIRECTION_OUT) {
      throw new Error(`Cannot drive ${this.label(line)}: it is an output of the driver's`);
    }
    if (wire.outside === level) return;
    wire.outside = level;
    this.onChange(this.state(line));
    const edge = level === 1 ? IRQ_TYPE_EDGE_RISING : IRQ_TYPE_EDGE_FALLING;
    if ((edges & edge) !== 0) this.onEdge(line, level);
  }

  /** A line in messages. */
  label(line: number): string {
    return this.names[line] === "" ? `line ${line}` : `line ${line} (${this.names[line]})`;
  }

  [Symbol.dispose](): void {}
}
