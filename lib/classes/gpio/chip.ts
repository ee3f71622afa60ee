// SPDX-License-Identifier: Apache-2.0
/**
 * Lines of a GPIO chip of the host. Each is used only while the driver uses it: then it is the host's for nobody else.
 *
 * @module
 */
import {
  EPOLLIN,
  GPIO_LINE_FLAGS,
  GpioChip,
  type GpioLine,
  type OsError,
  type Watch,
} from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import type { Level, Lines, LineUse, OnEdge } from "./lines.ts";
import {
  DIRECTION_NONE,
  DIRECTION_OUT,
  IRQ_TYPE_EDGE_FALLING,
  IRQ_TYPE_EDGE_RISING,
  IRQ_TYPE_NONE,
  isLineName,
} from "./wire.ts";

const {
  GPIO_V2_LINE_FLAG_INPUT: INPUT,
  GPIO_V2_LINE_FLAG_OUTPUT: OUTPUT,
  GPIO_V2_LINE_FLAG_EDGE_RISING: RISING,
  GPIO_V2_LINE_FLAG_EDGE_FALLING: FALLING,
} = GPIO_LINE_FLAGS;

/** A line leaves its direction as it is. */
const AS_IS = 0;

/** What inputs are pulled to, as flags of the chip's. */
const BIAS_FLAGS = {
  "pull-up": GPIO_LINE_FLAGS.GPIO_V2_LINE_FLAG_BIAS_PULL_UP,
  "pull-down": GPIO_LINE_FLAGS.GPIO_V2_LINE_FLAG_BIAS_PULL_DOWN,
  "disabled": GPIO_LINE_FLAGS.GPIO_V2_LINE_FLAG_BIAS_DISABLED,
} as const;

/** What inputs are pulled to. */
export type Bias = keyof typeof BIAS_FLAGS;

/** Names of what inputs can be pulled to. */
export const BIASES = Object.keys(BIAS_FLAGS) as readonly Bias[];

/** What is used of a chip: tests have one of their own. */
export type Chip =
  & Pick<GpioChip, "path" | "lineCount" | "lineName" | "close">
  & { use(...args: Parameters<GpioChip["use"]>): ChipLine };
/** What is used of its lines. */
export type ChipLine = Pick<
  GpioLine,
  "number" | "title" | "configure" | "get" | "set" | "takeEdges" | "close"
>;

/** A line that is in use. */
interface Used {
  readonly line: ChipLine;
  readonly flags: number;
  /** Null unless it reports edges. */
  watch: Watch | null;
}

/** What lines of a chip need of their device. */
export type ChipHost = Pick<DeviceHost, "watch" | "report">;

/** The lines. */
export class ChipLines implements Lines {
  readonly title: string;
  readonly names: readonly string[];
  /** By line; undefined for one that is not in use. */
  readonly #used: (Used | undefined)[] = [];

  /**
   * @param chip It is closed with the lines
   * @param offsets Of each line in the chip
   */
  constructor(
    readonly chip: Chip,
    readonly offsets: readonly number[],
    readonly bias: Bias | null,
    readonly host: ChipHost,
    readonly onEdge: OnEdge,
  ) {
    this.title = chip.path;
    this.names = uniqueNames(offsets.map((offset) => chip.lineName(offset)));
  }

  use(line: number, { direction, value, edges }: LineUse): void {
    if (direction === DIRECTION_NONE && edges === IRQ_TYPE_NONE) return this.#release(line);
    const flags = this.#flags(direction, edges);
    const used = this.#used[line];
    if (used === undefined) this.#take(line, flags, value);
    else if (used.flags !== flags) this.#configure(line, used, flags, value);
    else if (direction === DIRECTION_OUT) used.line.set(value);
  }

  #flags(direction: number, edges: number): number {
    if (direction === DIRECTION_OUT) return OUTPUT;
    const bias = this.bias === null ? 0 : BIAS_FLAGS[this.bias];
    const rising = (edges & IRQ_TYPE_EDGE_RISING) === 0 ? 0 : RISING;
    const falling = (edges & IRQ_TYPE_EDGE_FALLING) === 0 ? 0 : FALLING;
    return INPUT | bias | rising | falling;
  }

  #take(line: number, flags: number, value: Level): void {
    const taken = this.chip.use(this.offsets[line]!, flags, value);
    const used: Used = { line: taken, flags, watch: null };
    this.#used[line] = used;
    this.#watch(line, used);
  }

  #configure(line: number, used: Used, flags: number, value: Level): void {
    used.line.configure(flags, value);
    used.watch?.close();
    if (used.watch !== null) discardEdges(used.line);
    const configured: Used = { line: used.line, flags, watch: null };
    this.#used[line] = configured;
    this.#watch(line, configured);
  }

  #watch(line: number, used: Used): void {
    if ((used.flags & (RISING | FALLING)) === 0) return;
    used.watch = this.host.watch(used.line.number, EPOLLIN, () => this.#takeEdges(line, used));
  }

  /** A line whose edges cannot be read, of a chip that was unplugged, is not looked at again. */
  #takeEdges(line: number, used: Used): void {
    try {
      for (const level of used.line.takeEdges()) this.onEdge(line, level);
    } catch (error) {
      used.watch?.close();
      used.watch = null;
      const text = `${(error as Error).message}; it does not interrupt any more`;
      this.host.report({ kind: "error", text });
    }
  }

  #release(line: number): void {
    const used = this.#used[line];
    this.#used[line] = undefined;
    used?.watch?.close();
    used?.line.close();
  }

  /** A line that is not in use is read as it is. */
  get(line: number): Level {
    const used = this.#used[line];
    if (used !== undefined) return used.line.get();
    const taken = this.chip.use(this.offsets[line]!, AS_IS, 0);
    try {
      return taken.get();
    } finally {
      taken.close();
    }
  }

  [Symbol.dispose](): void {
    for (let line = 0; line < this.offsets.length; line++) this.#release(line);
    this.chip.close();
  }
}

/** The most calls that take all edges that the kernel keeps: one each would do. */
const MOST_TAKES = 1024;

/** Forgets edges that came before the interrupt was disabled: with it what was latched is discarded (§5.18.6.9). */
function discardEdges(line: ChipLine): void {
  for (let i = 0; i < MOST_TAKES && line.takeEdges().length > 0; i++);
}

/** Names that the standard allows: others, and those that an earlier line has, are left out. */
function uniqueNames(names: readonly string[]): string[] {
  return names.map((name, i) => isLineName(name) && names.indexOf(name) === i ? name : "");
}

/** Opens a chip. @throws {SpecError} */
export function openChip(path: string): GpioChip {
  try {
    return GpioChip.openChip(path);
  } catch (error) {
    const { message, code } = error as OsError;
    const hint = code === "ENOENT" || code === "ENOTTY"
      ? "gpiodetect lists the chips there are"
      : "its user may open it: see ls -l";
    throw new SpecError(`${message} (${hint})`, { cause: error });
  }
}

/**
 * Offsets of the lines of a chip that a controller has.
 *
 * @param wanted Names or offsets; all lines when it is empty
 * @param most How many there may be
 * @throws {SpecError} when there is no such line, two have that name, or there are too many
 */
export function offsetsOf(chip: Chip, wanted: readonly string[], most: number): number[] {
  const all = Array.from({ length: chip.lineCount() }, (_, offset) => offset);
  const names = wanted.length === 0 ? [] : all.map((offset) => chip.lineName(offset));
  const offsets = wanted.length === 0 ? all : wanted.map((one) => offsetOf(chip.path, names, one));
  const twice = wanted.find((_, i) => offsets.indexOf(offsets[i]!) !== i);
  if (twice !== undefined) {
    throw new SpecError(`Cannot use line "${twice}" of ${chip.path} twice`);
  }
  if (offsets.length > 0 && offsets.length <= most) return offsets;
  throw new SpecError(
    `Cannot use ${offsets.length} lines of ${chip.path}, expected 1 to ${most}: --line names those to use`,
  );
}

function offsetOf(path: string, names: readonly string[], wanted: string): number {
  const offset = names.indexOf(wanted);
  if (offset >= 0 && offset === names.lastIndexOf(wanted)) return offset;
  if (offset < 0 && /^\d+$/.test(wanted) && Number(wanted) < names.length) return Number(wanted);
  const problem = offset < 0 ? "has no such line" : "has several lines of that name";
  throw new SpecError(
    `Cannot use line "${wanted}" of ${path}: the chip ${problem}, ` +
      `expected a name or a number from 0 to ${names.length - 1} (gpioinfo lists them)`,
  );
}
