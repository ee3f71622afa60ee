// SPDX-License-Identifier: Apache-2.0
/**
 * A GPIO controller at its queues, without a socket.
 *
 * @module
 */
import { gpio } from "../../../lib/classes/gpio/class.ts";
import { createGpio, device as role } from "../../../lib/classes/gpio/device.ts";
import type { Level, Lines, OnEdge } from "../../../lib/classes/gpio/lines.ts";
import type { LineState } from "../../../lib/classes/gpio/simulated.ts";
import type { GpioDeviceContract, GpioSpec } from "../../../lib/classes/gpio/spec.ts";
import * as wire from "../../../lib/classes/gpio/wire.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

const { VQ_EVENT, VQ_REQUEST } = wire;

/** A controller, and a driver that does what a test says. */
export class GpioBench implements Disposable {
  readonly bench: DeviceBench<GpioDeviceContract>;
  readonly wiring: Wiring;
  /** Where the status of each event buffer lies, and for which line it is. */
  readonly #buffers = new Map<number, { at: number; line: number }>();
  #token = 0;

  /** @param makeLines Lines of a test's own, in place of those of the specification */
  constructor(
    spec: GpioSpec = {},
    features: bigint = bit(wire.F_IRQ),
    makeLines?: (onEdge: OnEdge) => Lines,
  ) {
    this.bench = new DeviceBench<GpioDeviceContract>(
      makeLines === undefined
        ? role
        : { deviceClass: gpio, check: () => {}, create: (_, host) => createGpio(host, makeLines) },
      spec,
    );
    this.bench.device.featuresAccepted(features);
    this.wiring = new Wiring(this.bench.device);
    this.wiring.start();
  }

  /** Sends any bytes as a request. @returns what was written to the response */
  send(request: Uint8Array, room = wire.RESPONSE_SIZE): number[] {
    const [at] = this.wiring.offer(VQ_REQUEST, ++this.#token, [request], [room]);
    const used = this.wiring.queues[VQ_REQUEST]!.take();
    if (used === null) throw new Error("no response");
    return [...this.wiring.bytes.slice(at!, at! + used.length)];
  }

  /** Makes a request. @returns status and value */
  ask(type: number, line: number, value = 0): number[] {
    return this.send(wire.encodeRequest({ type, gpio: line, value }));
  }

  /** Makes a request that must be done. @returns its value */
  do(type: number, line: number, value = 0): number {
    const response = this.ask(type, line, value);
    if (response[0] !== wire.STATUS_OK) throw new Error(`request ${type}: ${response}`);
    return response[1]!;
  }

  /** Offers an event buffer. */
  unmask(line: number): void {
    this.unmaskBytes(Uint8Array.of(line & 0xff, line >> 8), line);
  }

  /** Offers an event buffer with any bytes. */
  unmaskBytes(request: Uint8Array, line = -1, room = 1): void {
    const token = ++this.#token;
    const [at] = this.wiring.offer(VQ_EVENT, token, [request], [room]);
    this.#buffers.set(token, { at: at!, line });
  }

  /** Event buffers that came back since the last call: line and status. */
  events(): [line: number, status: number | "untouched"][] {
    const all: [number, number | "untouched"][] = [];
    const queue = this.wiring.queues[VQ_EVENT]!;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      const { at, line } = this.#buffers.get(used.token)!;
      all.push([line, used.length === 0 ? "untouched" : this.wiring.bytes[at]!]);
    }
    return all;
  }

  /** Drives a simulated line from outside. */
  drive(line: number, level: Level): void {
    this.bench.device.call("drive", [line, level]);
  }

  /** How the lines are from outside. */
  get lines(): LineState[] {
    return this.bench.device.call("lines", []) as LineState[];
  }

  /** Texts of what was reported, of one kind. */
  told(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    for (const ring of this.wiring.rings) this.bench.device.stopRing(ring.index, false);
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
  }
}
