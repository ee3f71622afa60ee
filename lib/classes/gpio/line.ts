// SPDX-License-Identifier: Apache-2.0
/**
 * One line as the driver has set it up, and its interrupt: enabled by a request, unmasked by an event buffer (virtio 1.2,
 * §5.18.6.6 and §5.18.7).
 *
 * @module
 */
import type { Chain } from "../../virtio/chain.ts";
import type { Level, Lines } from "./lines.ts";
import {
  DIRECTION_IN,
  DIRECTION_NONE,
  DIRECTION_OUT,
  IRQ_STATUS_INVALID,
  IRQ_STATUS_VALID,
  IRQ_TYPE_EDGE_BOTH,
  IRQ_TYPE_EDGE_FALLING,
  IRQ_TYPE_EDGE_RISING,
  IRQ_TYPE_LEVEL_HIGH,
  IRQ_TYPE_LEVEL_LOW,
  IRQ_TYPE_NONE,
} from "./wire.ts";

/** Types that there are. */
const IRQ_TYPES: readonly number[] = [
  IRQ_TYPE_NONE,
  IRQ_TYPE_EDGE_RISING,
  IRQ_TYPE_EDGE_FALLING,
  IRQ_TYPE_EDGE_BOTH,
  IRQ_TYPE_LEVEL_HIGH,
  IRQ_TYPE_LEVEL_LOW,
];

/** Whether interrupts of a type come at a level. */
function isLevel(type: number): boolean {
  return type === IRQ_TYPE_LEVEL_HIGH || type === IRQ_TYPE_LEVEL_LOW;
}

/** Gives an event buffer back, with a status. */
export type Return = (chain: Chain, status: number) => void;

/** A line. */
export class Line {
  #direction = DIRECTION_NONE;
  /** What the driver set; used when the line is an output. */
  #value: Level = 0;
  #irqType = IRQ_TYPE_NONE;
  /** There was an edge while the interrupt was masked. */
  #isLatched = false;
  /** The driver's buffer: the interrupt is unmasked. */
  #buffer: Chain | null = null;

  constructor(readonly number: number, readonly lines: Lines, readonly giveBack: Return) {}

  get direction(): number {
    return this.#direction;
  }

  /** @returns whether it could be done @throws {Error} what the lines throw */
  setDirection(direction: number): boolean {
    if (direction === DIRECTION_NONE) return this.#release();
    if (direction !== DIRECTION_IN && direction !== DIRECTION_OUT) return false;
    if (direction === DIRECTION_OUT && this.#irqType !== IRQ_TYPE_NONE) return false;
    this.#use(direction, this.#value, this.#irqType);
    return true;
  }

  /** All that the driver has set is discarded, also where the line itself cannot be released. */
  #release(): true {
    this.#disable();
    this.#direction = DIRECTION_NONE;
    this.#value = 0;
    this.#use(DIRECTION_NONE, 0, IRQ_TYPE_NONE);
    return true;
  }

  /** @returns whether it could be done @throws {Error} what the lines throw */
  setValue(value: number): boolean {
    if (value !== 0 && value !== 1) return false;
    this.#use(this.#direction, value, this.#irqType);
    return true;
  }

  /** @returns whether it could be done @throws {Error} what the lines throw */
  setIrqType(type: number): boolean {
    if (!IRQ_TYPES.includes(type)) return false;
    if (type === this.#irqType) return true;
    // A driver disables an interrupt before it changes its type, and has none on an output.
    if (type !== IRQ_TYPE_NONE && this.#irqType !== IRQ_TYPE_NONE) return false;
    if (type !== IRQ_TYPE_NONE && this.#direction === DIRECTION_OUT) return false;
    if (type === IRQ_TYPE_NONE) this.#disable();
    this.#use(this.#direction, this.#value, type);
    return true;
  }

  #use(direction: number, value: Level, irqType: number): void {
    const edges = isLevel(irqType) ? IRQ_TYPE_EDGE_BOTH : irqType;
    this.lines.use(this.number, { direction, value, edges });
    this.#direction = direction;
    this.#value = value;
    this.#irqType = irqType;
  }

  /** The buffer goes back, and what was latched is discarded. */
  #disable(): void {
    this.#irqType = IRQ_TYPE_NONE;
    this.#isLatched = false;
    this.mask(IRQ_STATUS_INVALID);
  }

  /** Gives the buffer back, if there is one. */
  mask(status: number): void {
    const buffer = this.#buffer;
    this.#buffer = null;
    if (buffer !== null) this.giveBack(buffer, status);
  }

  /** Forgets the buffer: another device is offered it. */
  forget(): void {
    this.#buffer = null;
  }

  /** The driver unmasks the interrupt. @throws {Error} what the lines throw */
  unmask(buffer: Chain): void {
    if (this.#irqType === IRQ_TYPE_NONE || this.#buffer !== null) {
      return this.giveBack(buffer, IRQ_STATUS_INVALID);
    }
    this.#buffer = buffer;
    if (this.#isDue()) this.#interrupt();
  }

  #isDue(): boolean {
    return isLevel(this.#irqType) ? this.#isActive(this.lines.get(this.number)) : this.#isLatched;
  }

  #isActive(level: Level): boolean {
    return level === (this.#irqType === IRQ_TYPE_LEVEL_HIGH ? 1 : 0);
  }

  #interrupt(): void {
    this.#isLatched = false;
    this.mask(IRQ_STATUS_VALID);
  }

  /** Whether the driver has nothing of this line to handle: no edge, and the interrupt is unmasked if it is of edges. */
  get isTaken(): boolean {
    const type = this.#irqType;
    return type === IRQ_TYPE_NONE || isLevel(type) || this.#buffer !== null;
  }

  /** The line's level has changed. An edge is latched while the interrupt is masked, a level is not. */
  edge(level: Level): void {
    const type = this.#irqType;
    if (isLevel(type)) {
      if (this.#buffer !== null && this.#isActive(level)) this.#interrupt();
      return;
    }
    const edge = level === 1 ? IRQ_TYPE_EDGE_RISING : IRQ_TYPE_EDGE_FALLING;
    if ((type & edge) === 0) return;
    if (this.#buffer === null) this.#isLatched = true;
    else this.#interrupt();
  }
}
