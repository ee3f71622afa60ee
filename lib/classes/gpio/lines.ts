// SPDX-License-Identifier: Apache-2.0
/**
 * The lines of a GPIO controller as its device uses them, of whatever kind they are.
 *
 * @module
 */

/** A level: low or high. */
export type Level = 0 | 1;

/** How a line is to be. */
export interface LineUse {
  /** Of `DIRECTION_*`; a line of direction NONE that reports edges is sensed like an input. */
  readonly direction: number;
  /** What an output drives. */
  readonly value: Level;
  /** Edges to be told of: of `IRQ_TYPE_EDGE_*`, NONE or BOTH among them. */
  readonly edges: number;
}

/**
 * Told of an edge, on the device's thread, after which the device takes a turn.
 *
 * @param level What the line is after it
 */
export type OnEdge = (line: number, level: Level) => void;

/** The lines. */
export interface Lines extends Disposable {
  /** What they are called, in errors: the chip's path, or "simulated lines". */
  readonly title: string;
  /** By line; empty for a line without a name. As many as there are lines. */
  readonly names: readonly string[];
  /** Brings a line from one use to another. @throws {Error} when it cannot be: then it is as it was */
  use(line: number, use: LineUse): void;
  /** The level that is sensed. @throws {Error} */
  get(line: number): Level;
}
