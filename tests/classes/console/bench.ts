// SPDX-License-Identifier: Apache-2.0
/**
 * A console at its queues, without a vhost-user socket, with ends that a test plays or real ones.
 *
 * @module
 */
import { console } from "../../../lib/classes/console/class.ts";
import { createConsole, type OpenEnd } from "../../../lib/classes/console/device.ts";
import type { HostEnd } from "../../../lib/classes/console/host_end.ts";
import {
  type ConsoleDeviceContract,
  type ConsoleSpec,
  openEnd,
} from "../../../lib/classes/console/spec.ts";
import {
  CONSOLE_PORT,
  decodeControl,
  DEVICE_READY,
  encodeControl,
  F_EMERG_WRITE,
  F_MULTIPORT,
  F_SIZE,
  PORT_ADD,
  PORT_NAME,
  PORT_OPEN,
  PORT_READY,
  RESIZE,
  rxQueueOf,
  type TerminalSize,
  VQ_CONTROL_RX,
  VQ_CONTROL_TX,
} from "../../../lib/classes/console/wire.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

/** Every feature of the class. */
export const ALL = bit(F_SIZE) | bit(F_MULTIPORT) | bit(F_EMERG_WRITE);

const NAMES = new Map<number, string>([
  [PORT_ADD, "add"],
  [CONSOLE_PORT, "console"],
  [PORT_NAME, "name"],
  [PORT_OPEN, "open"],
  [RESIZE, "resize"],
]);

/** An end with a program that does what a test says. */
export class FakeEnd implements HostEnd {
  readonly place = "at the test";
  isOpen = false;
  /** A program wants to connect. */
  isWaiting = false;
  /** What the program wrote and the device has not read. */
  typed: number[] = [];
  /** What the program has read. */
  shown: number[] = [];
  /** Bytes that the program has room for. */
  room = Infinity;
  /** The program has left. */
  isLeaving = false;
  terminal: TerminalSize | null = null;
  isClosed = false;

  admit(): void {
    if (!this.isWaiting) return;
    this.isWaiting = this.isLeaving = false;
    this.isOpen = true;
  }

  /** The program leaves; what it wrote can still be read. */
  leave(): void {
    this.isLeaving = true;
    if (this.typed.length === 0) this.isOpen = false;
  }

  forgetLeft(): void {
    if (!this.isLeaving) return;
    this.typed = [];
    this.isOpen = false;
  }

  read(buffer: Uint8Array): number {
    const bytes = this.typed.splice(0, buffer.length);
    buffer.set(bytes);
    if (this.isLeaving && this.typed.length === 0) this.isOpen = false;
    return bytes.length;
  }

  write(buffer: Uint8Array, at: number, length: number): number {
    const count = Math.min(length, this.room);
    this.shown.push(...buffer.subarray(at, at + count));
    this.room -= count;
    return count;
  }

  size(): TerminalSize | null {
    return this.terminal;
  }

  [Symbol.dispose](): void {
    this.isClosed = true;
  }
}

/** A console, and a driver that does what a test says. */
export class ConsoleBench implements Disposable {
  readonly bench: DeviceBench<ConsoleDeviceContract>;
  readonly wiring: Wiring;
  /** By what the specification says of them, such as "a" for the port `NAME=a`. */
  readonly ends = new Map<string, FakeEnd>();
  /** Where buffers for the device lie, by queue and token. */
  readonly #buffers = new Map<string, number>();
  #token = 0;

  /** @param isReal The ends are the host's */
  constructor(spec: ConsoleSpec = {}, features = ALL, isReal = false) {
    const open: OpenEnd = (end) => {
      const made = new FakeEnd();
      this.ends.set(end, made);
      return made;
    };
    this.bench = new DeviceBench<ConsoleDeviceContract>({
      deviceClass: console,
      check: () => {},
      create: (spec, host) => createConsole(spec, host, isReal ? openEnd : open),
    }, spec);
    this.bench.device.featuresAccepted(features & this.bench.device.features);
    this.wiring = new Wiring(this.bench.device);
    this.wiring.start();
  }

  turn(): void {
    this.bench.device.turn();
  }

  /** Offers buffers that the device may write. */
  offer(queue: number, count = 1, size = 64): void {
    for (let i = 0; i < count; i++) {
      const token = ++this.#token;
      const [at] = this.wiring.offer(queue, token, [], [size]);
      this.#buffers.set(`${queue} ${token}`, at!);
    }
  }

  /** What the device has written to buffers of a queue since the last call. */
  taken(queue: number): Uint8Array[] {
    const all: Uint8Array[] = [];
    const driver = this.wiring.queues[queue]!;
    for (let used = driver.take(); used !== null; used = driver.take()) {
      const at = this.#buffers.get(`${queue} ${used.token}`)!;
      all.push(this.wiring.bytes.slice(at, at + used.length));
    }
    return all;
  }

  /** Bytes that port `id` has received since the last call. */
  received(id: number): number[] {
    return this.taken(rxQueueOf(id)).flatMap((bytes) => [...bytes]);
  }

  /** Sends bytes by port `id`. @returns their token */
  send(id: number, ...pieces: number[][]): number {
    const token = ++this.#token;
    this.wiring.offer(rxQueueOf(id) + 1, token, pieces.map((piece) => Uint8Array.from(piece)), []);
    return token;
  }

  /** Tokens of what port `id` has sent since the last call. */
  sent(id: number): number[] {
    const tokens: number[] = [];
    const driver = this.wiring.queues[rxQueueOf(id) + 1]!;
    for (let used = driver.take(); used !== null; used = driver.take()) tokens.push(used.token);
    return tokens;
  }

  /** Sends a control message. */
  control(id: number, event: number, value = 1): void {
    this.controlBytes(encodeControl({ id, event, value }));
  }

  controlBytes(bytes: Uint8Array): void {
    this.wiring.offer(VQ_CONTROL_TX, ++this.#token, [bytes], []);
    while (this.wiring.queues[VQ_CONTROL_TX]!.take() !== null);
  }

  /** The control messages since the last call, such as "1 open 1" or "1 name gps". */
  told(): string[] {
    this.turn();
    return this.taken(VQ_CONTROL_RX).map((bytes) => {
      const view = new DataView(bytes.buffer);
      const { id, event, value } = decodeControl(view)!;
      const rest = bytes.subarray(8);
      const what = event === PORT_NAME
        ? new TextDecoder().decode(rest)
        : event === RESIZE
        ? `${view.getUint16(8, true)}x${view.getUint16(10, true)}`
        : `${value}`;
      return `${id} ${NAMES.get(event)} ${what}`;
    });
  }

  /** Does what Linux's driver does until all ports are set up. @returns what it was told */
  shakeHands(): string[] {
    this.offer(VQ_CONTROL_RX, 30);
    this.control(0, DEVICE_READY);
    const added = this.told();
    for (const text of added) this.control(Number(text.split(" ")[0]), PORT_READY);
    return [...added, ...this.told()];
  }

  /** Texts of a kind that the device has reported. */
  reported(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench[Symbol.dispose]();
  }
}

/** A console and two ports. */
export const TWO = { console: "c", ports: ["gps=a", "bt=b"] };

/** A console and two ports, all set up. */
export function ready(features = ALL): ConsoleBench & { end(name: string): FakeEnd } {
  const bench = new ConsoleBench(TWO, features);
  bench.shakeHands();
  return Object.assign(bench, { end: (name: string) => bench.ends.get(name)! });
}
