// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO driver, as Linux's gpio-virtio: the probe reads the names and each line's direction; a value is set before a line
 * becomes an output; an interrupt is enabled by a request, then unmasked by an event buffer, which is offered again as soon as
 * the interrupt was handled.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import { RequestQueue } from "../../guest/request_queue.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { gpio } from "./class.ts";
import {
  decodeNames,
  DIRECTION_IN,
  DIRECTION_NONE,
  DIRECTION_OUT,
  encodeRequest,
  F_IRQ,
  IRQ_REQUEST_SIZE,
  IRQ_RESPONSE_SIZE,
  IRQ_STATUS_INVALID,
  IRQ_STATUS_VALID,
  IRQ_TYPE_EDGE_RISING,
  IRQ_TYPE_NONE,
  MAX_NAME_LENGTH,
  MSG_GET_DIRECTION,
  MSG_GET_NAMES,
  MSG_GET_VALUE,
  MSG_IRQ_TYPE,
  MSG_SET_DIRECTION,
  MSG_SET_VALUE,
  RESPONSE_SIZE,
  STATUS_OK,
} from "./wire.ts";

/** What the driver shows: interrupts of all lines, buffers that came back without one, and malformed ones. */
const PROGRESS = {
  states: [],
  totals: ["lineInterrupts", "invalid", "malformed"],
  words: [],
  numbers: [],
} as const;

/** What the GPIO driver and its guest's owner agree on. */
export interface GpioDriverContract extends DriverContract {
  found: {
    /** By line; empty for a line without a name. */
    names: string[];
    /** Whether lines can interrupt. */
    hasIrq: boolean;
  };
  calls: {
    /** A line's direction, of `DIRECTION_*`. */
    direction(line: number): number;
    /** Makes a line an input. */
    input(line: number): void;
    /** Makes a line an output, which drives a level from the beginning. */
    output(line: number, level: number): void;
    /** The level of a line. */
    get(line: number): number;
    /** Sets the level of an output. */
    set(line: number, level: number): void;
    /** Gives a line up. */
    free(line: number): void;
    /** Enables a line's interrupt, of `IRQ_TYPE_*`, and unmasks it; NONE disables it. */
    irq(line: number, type: number): void;
    /**
     * Waits for interrupts of a line.
     *
     * @param count How many there must have been since the driver was bound
     * @returns how many there were; fewer when the owner wants it to end
     */
    interrupts(line: number, count: number): number;
  };
  progress: typeof PROGRESS;
}

/** A line's interrupt. */
interface IrqLine {
  readonly line: number;
  /** Of its event buffer: the request, then the response. */
  readonly address: number;
  type: number;
  isQueued: boolean;
  interrupts: number;
}

/** A bound GPIO device. */
class GpioDriver {
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #patience: Patience;
  readonly #requests: RequestQueue;
  /** Null without interrupts. */
  readonly #events: VirtQueue<IrqLine> | null;
  readonly #irqLines: readonly IrqLine[];
  readonly names: string[];
  /** The level that the last exercise left on line 0; null before there was one. */
  #exercised: number | null = null;

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#patience = patience;
    const ngpio = device.readConfig(0, 2);
    const namesSize = device.readConfig(4);
    if (ngpio === 0) throw this.#error("EINVAL", "drive", "it has no lines");
    this.#requests = new RequestQueue(device, "request", patience.controlTimeoutMs);
    this.#events = this.hasIrq
      ? device.setUpQueue<IrqLine>("event", (line, written) => this.#onEvent(line, written))
      : null;
    this.#irqLines = this.#events === null ? [] : this.#allocate(ngpio);
    device.ready();
    this.names = this.#readNames(ngpio, namesSize);
    for (let line = 0; line < ngpio; line++) this.direction(line);
  }

  get hasIrq(): boolean {
    return hasFeature(this.#device.features, F_IRQ);
  }

  #allocate(ngpio: number): IrqLine[] {
    const bytes = IRQ_REQUEST_SIZE + IRQ_RESPONSE_SIZE;
    const start = this.#device.pages.allocate(ngpio * bytes);
    return Array.from({ length: ngpio }, (_, line) => ({
      line,
      address: start + line * bytes,
      type: IRQ_TYPE_NONE,
      isQueued: false,
      interrupts: 0,
    }));
  }

  // ---- requests ----

  #readNames(ngpio: number, size: number): string[] {
    if (size === 0) return new Array<string>(ngpio).fill("");
    if (size > ngpio * (MAX_NAME_LENGTH + 1)) {
      throw this.#error("EINVAL", "get the names of", `they take ${size} bytes`);
    }
    const request = encodeRequest({ type: MSG_GET_NAMES, gpio: 0, value: 0 });
    const response = this.#requests.send("GET_NAMES", request, new Uint8Array(1 + size).fill(0xff));
    this.#check("GET_NAMES", response);
    const names = decodeNames(new Uint8Array(response.buffer, 1), ngpio);
    if (names !== null) return names;
    throw this.#error("EINVAL", "get the names of", `there are fewer than ${ngpio}`);
  }

  #request(what: string, type: number, line: number, value = 0): number {
    const text = `${what} for line ${line}`;
    if (!(line < this.names.length)) throw this.#requests.error("EINVAL", text, "it has none");
    const answer = new Uint8Array(RESPONSE_SIZE).fill(0xff);
    const response = this.#requests.send(text, encodeRequest({ type, gpio: line, value }), answer);
    this.#check(text, response);
    return response.getUint8(1);
  }

  #check(what: string, response: DataView): void {
    const status = response.getUint8(0);
    if (status === STATUS_OK) return;
    throw this.#requests.error(
      "EINVAL",
      what,
      `the device answers ${status}, expected ${STATUS_OK}`,
    );
  }

  direction(line: number): number {
    return this.#request("GET_DIRECTION", MSG_GET_DIRECTION, line);
  }

  input(line: number): void {
    this.#request("SET_DIRECTION", MSG_SET_DIRECTION, line, DIRECTION_IN);
  }

  output(line: number, level: number): void {
    this.set(line, level);
    this.#request("SET_DIRECTION", MSG_SET_DIRECTION, line, DIRECTION_OUT);
  }

  get(line: number): number {
    return this.#request("GET_VALUE", MSG_GET_VALUE, line);
  }

  set(line: number, level: number): void {
    this.#request("SET_VALUE", MSG_SET_VALUE, line, level);
  }

  free(line: number): void {
    this.irq(line, IRQ_TYPE_NONE);
    this.#request("SET_DIRECTION", MSG_SET_DIRECTION, line, DIRECTION_NONE);
  }

  // ---- interrupts ----

  /** An enabled interrupt is disabled before its type changes. */
  irq(line: number, type: number): void {
    const irqLine = this.#irqLines[line];
    if (irqLine === undefined) {
      if (type === IRQ_TYPE_NONE) return;
      throw this.#error("ENXIO", `enable the interrupt of line ${line} of`, "it has none");
    }
    if (irqLine.type === type) return;
    if (irqLine.type !== IRQ_TYPE_NONE) this.#enable(irqLine, IRQ_TYPE_NONE);
    if (type === IRQ_TYPE_NONE) return;
    this.#enable(irqLine, type);
    this.#unmask(irqLine);
  }

  #enable(irqLine: IrqLine, type: number): void {
    // Before the request: a buffer that comes back with the response is not offered again.
    if (type === IRQ_TYPE_NONE) irqLine.type = type;
    this.#request("IRQ_TYPE", MSG_IRQ_TYPE, irqLine.line, type);
    irqLine.type = type;
  }

  /** One buffer for a line, never a second. */
  #unmask(irqLine: IrqLine): void {
    if (irqLine.isQueued) return;
    const { address, line } = irqLine;
    const view = this.#device.pages.view(address, IRQ_REQUEST_SIZE + IRQ_RESPONSE_SIZE);
    view.setUint16(0, line, true);
    view.setUint8(IRQ_REQUEST_SIZE, 0xff);
    irqLine.isQueued = this.#events!.add([
      { address, length: IRQ_REQUEST_SIZE, writable: false },
      { address: address + IRQ_REQUEST_SIZE, length: IRQ_RESPONSE_SIZE, writable: true },
    ], irqLine);
    if (!irqLine.isQueued) {
      throw this.#error("ENOSPC", `unmask line ${line} of`, "the event queue is full");
    }
    this.#events!.kick();
  }

  #onEvent(irqLine: IrqLine, written: number): void {
    const { pages, progress } = this.#device;
    irqLine.isQueued = false;
    if (written !== IRQ_RESPONSE_SIZE) return progress.count("malformed");
    if (irqLine.type === IRQ_TYPE_NONE) return;
    const status = pages.view(irqLine.address + IRQ_REQUEST_SIZE, 1).getUint8(0);
    if (status === IRQ_STATUS_VALID) {
      irqLine.interrupts++;
      progress.count("lineInterrupts");
    } else if (status === IRQ_STATUS_INVALID) progress.count("invalid");
    else return progress.count("malformed");
    this.#unmask(irqLine);
  }

  interrupts(line: number, count: number): number {
    const irqLine = this.#irqLines[line];
    if (irqLine === undefined) {
      throw this.#error("ENXIO", `wait for line ${line} of`, "it has none");
    }
    const { stallTimeoutMs } = this.#patience;
    const isSo = (): boolean => irqLine.interrupts >= count || this.#device.isToEnd();
    if (this.#device.wait(isSo, stallTimeoutMs)) return irqLine.interrupts;
    throw this.#error(
      "ETIMEDOUT",
      `wait for interrupt ${count} of line ${line} of`,
      `there were ${irqLine.interrupts} after ${stallTimeoutMs} ms`,
    );
  }

  #error(code: string, doing: string, problem: string): GuestError {
    return new GuestError(code, `${doing} ${this.#device.name}: ${problem}`);
  }

  // ---- a small use ----

  /**
   * The first line drives what it drove before, then the other level; the last one's interrupt stays enabled and unmasked,
   * and its buffer does not come back.
   */
  exercise(): void {
    const level = this.#exercised;
    if (level === null) this.output(0, 0);
    else this.#expect("the level that was set", level);
    this.#exercised = level === 1 ? 0 : 1;
    this.set(0, this.#exercised);
    this.#expect("the level that is set", this.#exercised);
    this.#exerciseIrq(this.names.length - 1);
  }

  #expect(what: string, level: number): void {
    const [direction, value] = [this.direction(0), this.get(0)];
    if (direction === DIRECTION_OUT && value === level) return;
    const is = `direction ${direction} and level ${value}`;
    throw this.#error("EIO", `use line 0 of`, `it has ${is}, expected ${what}, ${level}`);
  }

  #exerciseIrq(line: number): void {
    if (line === 0 || !this.hasIrq) return;
    if (this.#irqLines[line]!.type === IRQ_TYPE_NONE) {
      this.input(line);
      this.irq(line, IRQ_TYPE_EDGE_RISING);
    }
    this.get(line); // whatever comes back by itself comes before this is answered
    if (this.#device.progress.get("invalid") === 0) return;
    throw this.#error("EIO", `use line ${line} of`, "its interrupt is not enabled any more");
  }
}

/** The software GPIO driver. */
export const driver: DriverRole<GpioDriverContract> = {
  deviceClass: gpio,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(gpio.id, bit(F_IRQ), () => new GpioDriver(device, patience));
    return {
      found: { names: bound.names, hasIrq: bound.hasIrq },
      calls: {
        direction: (line) => bound.direction(line),
        input: (line) => bound.input(line),
        output: (line, level) => bound.output(line, level),
        get: (line) => bound.get(line),
        set: (line, level) => bound.set(line, level),
        free: (line) => bound.free(line),
        irq: (line, type) => bound.irq(line, type),
        interrupts: (line, count) => bound.interrupts(line, count),
      },
      exercise: () => bound.exercise(),
    };
  },
};
