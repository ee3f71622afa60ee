// SPDX-License-Identifier: Apache-2.0
/**
 * A GPIO chip that a test plays: it does what the kernel does, and an eventfd of its own is where its edges are waited for.
 *
 * @module
 */
import { EventFd, GPIO_LINE_FLAGS, osError, signalEvent, takeEvent } from "../../../ffi/mod.ts";
import type { Chip, ChipLine } from "../../../lib/classes/gpio/chip.ts";
import type { Level } from "../../../lib/classes/gpio/lines.ts";

const { GPIO_V2_LINE_FLAG_OUTPUT: OUTPUT } = GPIO_LINE_FLAGS;
const { GPIO_V2_LINE_FLAG_EDGE_RISING: RISING } = GPIO_LINE_FLAGS;
const { GPIO_V2_LINE_FLAG_EDGE_FALLING: FALLING } = GPIO_LINE_FLAGS;

/** A wire of the chip. */
export interface Wire {
  readonly name: string;
  level: Level;
  /** Who uses it: its flags; null for nobody. */
  flags: number | null;
  user: FakeLine | null;
}

class FakeLine implements ChipLine {
  readonly #fd = EventFd.create();
  edges: Level[] = [];
  /** The chip was unplugged. */
  isGone = false;

  constructor(readonly title: string, readonly wire: Wire, readonly log: string[]) {}

  get number(): number {
    return this.#fd.number;
  }

  configure(flags: number, value: Level): void {
    this.log.push(`configure ${this.title} 0x${flags.toString(16)} ${value}`);
    this.wire.flags = flags;
    if ((flags & OUTPUT) !== 0) this.wire.level = value;
  }

  get(): Level {
    return this.wire.level;
  }

  set(value: Level): void {
    if ((this.wire.flags! & OUTPUT) === 0) throw osError(`set ${this.title}`, "EPERM");
    this.wire.level = value;
  }

  happen(level: Level): void {
    this.edges.push(level);
    signalEvent(this.#fd.number);
  }

  takeEdges(): Level[] {
    if (this.isGone) throw osError(`read the edges of ${this.title}`, "ENODEV");
    takeEvent(this.#fd.number);
    return this.edges.splice(0);
  }

  close(): void {
    this.wire.flags = null;
    this.wire.user = null;
    this.#fd.close();
  }
}

/** The chip. */
export class FakeChip implements Chip {
  readonly path = "/dev/gpiochip7";
  readonly wires: readonly Wire[];
  /** What was done with its lines. */
  readonly log: string[] = [];
  isClosed = false;

  constructor(names: readonly string[]) {
    this.wires = names.map((name) => ({ name, level: 0, flags: null, user: null }));
  }

  lineCount(): number {
    return this.wires.length;
  }

  lineName(offset: number): string {
    return this.wires[offset]!.name;
  }

  use(offset: number, flags: number, value: Level): ChipLine {
    const title = `line ${offset} of ${this.path}`;
    const wire = this.wires[offset]!;
    this.log.push(`use ${title} 0x${flags.toString(16)} ${value}`);
    if (wire.flags !== null) throw osError(`use ${title}`, "EBUSY");
    wire.flags = flags;
    wire.user = new FakeLine(title, wire, this.log);
    if ((flags & OUTPUT) !== 0) wire.level = value;
    return wire.user;
  }

  /** Something drives a line from outside. */
  drive(offset: number, level: Level): void {
    const wire = this.wires[offset]!;
    if (wire.level === level) return;
    wire.level = level;
    const edge = level === 1 ? RISING : FALLING;
    if (((wire.flags ?? 0) & edge) !== 0) wire.user!.happen(level);
  }

  close(): void {
    this.isClosed = true;
  }
}
