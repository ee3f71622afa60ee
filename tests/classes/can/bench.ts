// SPDX-License-Identifier: Apache-2.0
/**
 * A CAN controller at its queues, without a socket, on a bus that a test plays.
 *
 * @module
 */
import { can } from "../../../lib/classes/can/class.ts";
import { createCan } from "../../../lib/classes/can/device.ts";
import type { CanCounters, CanDeviceContract, CanSpec } from "../../../lib/classes/can/spec.ts";
import {
  type CanFrame,
  decodeFrame,
  F_CAN_CLASSIC,
  F_CAN_FD,
  F_LATE_TX_ACK,
  F_RTR_FRAMES,
  MAX_FRAME_SIZE,
  RX,
  SET_CTRL_MODE_START,
  SET_CTRL_MODE_STOP,
  VQ_CONTROL,
  VQ_RX,
  VQ_TX,
} from "../../../lib/classes/can/wire.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";
import { FakeBus, txBytes } from "./frames.ts";

/** Every feature of the class. */
export const ALL = bit(F_CAN_CLASSIC) | bit(F_CAN_FD) | bit(F_RTR_FRAMES) | bit(F_LATE_TX_ACK);

/** A controller, and a driver that does what a test says. */
export class CanBench implements Disposable {
  readonly bench: DeviceBench<CanDeviceContract>;
  readonly wiring: Wiring;
  /** Where the results of frames lie, by their tokens. */
  readonly #results = new Map<number, number>();
  /** Where frames are received, by their tokens. */
  readonly #buffers = new Map<number, number>();
  #token = 0;

  constructor(spec: CanSpec = {}, features = ALL, readonly bus = new FakeBus()) {
    this.bench = new DeviceBench<CanDeviceContract>({
      deviceClass: can,
      check: () => {},
      create: (spec, host) => createCan(spec, host, bus),
    }, spec);
    this.bench.device.featuresAccepted(features);
    this.wiring = new Wiring(this.bench.device);
    this.wiring.start();
  }

  /** Makes a control request. @returns its result */
  control(type: number): number {
    const request = Uint8Array.of(type & 0xff, type >> 8);
    const [at] = this.wiring.offer(VQ_CONTROL, 1, [request], [1]);
    this.wiring.bytes[at!] ??= 0xff;
    if (this.wiring.queues[VQ_CONTROL]!.take() === null) throw new Error("no answer");
    return this.wiring.bytes[at!]!;
  }

  start(): number {
    return this.control(SET_CTRL_MODE_START);
  }

  stop(): number {
    return this.control(SET_CTRL_MODE_STOP);
  }

  /** Offers a frame to send. @returns its token */
  send(frame: CanFrame): number {
    return this.sendBytes(txBytes(frame));
  }

  /** Offers any bytes to send. @returns their token */
  sendBytes(bytes: Uint8Array): number {
    const token = ++this.#token;
    const half = Math.ceil(bytes.length / 2); // in two pieces, as a driver may
    const pieces = [bytes.slice(0, half), bytes.slice(half)].filter(({ length }) => length > 0);
    const [at] = this.wiring.offer(VQ_TX, token, pieces, [1]);
    this.#results.set(token, at!);
    return token;
  }

  /** Frames that came back: tokens and results. */
  results(): [token: number, result: number][] {
    this.bench.device.turn(); // as after each event of a bus
    const all: [number, number][] = [];
    const queue = this.wiring.queues[VQ_TX]!;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      all.push([used.token, this.wiring.bytes[this.#results.get(used.token)!]!]);
    }
    return all;
  }

  /** Offers buffers to receive in. */
  offer(count: number, bytes = MAX_FRAME_SIZE): void {
    for (let i = 0; i < count; i++) {
      const token = ++this.#token;
      const [at] = this.wiring.offer(VQ_RX, token, [], [bytes]);
      this.#buffers.set(token, at!);
    }
  }

  /** Frames that were received. */
  received(): (CanFrame | null)[] {
    const all: (CanFrame | null)[] = [];
    const queue = this.wiring.queues[VQ_RX]!;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      const at = this.#buffers.get(used.token)!;
      all.push(decodeFrame(this.wiring.bytes.slice(at, at + used.length), RX));
    }
    return all;
  }

  /** A frame comes over the bus. */
  arrive(...frames: CanFrame[]): void {
    for (const one of frames) this.bus.events!.received(one);
    this.bench.device.turn();
  }

  get status(): number {
    return this.bench.device.readConfig()[0]!;
  }

  get counters(): CanCounters {
    return this.bench.device.call("counters", []) as CanCounters;
  }

  /** Texts of what was reported, of one kind. */
  told(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
  }
}
