// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device (virtio 1.2, §5.18): a controller, between the driver's queues and its lines.
 *
 * @module
 */
import { ControlServer } from "../../device/control_server.ts";
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { gpio } from "./class.ts";
import { LineControl } from "./control.ts";
import { Line } from "./line.ts";
import type { Lines, OnEdge } from "./lines.ts";
import { type LineState, SimulatedLines } from "./simulated.ts";
import { checkGpio, type GpioDeviceContract, linesOf } from "./spec.ts";
import {
  decodeRequest,
  DIRECTION_NONE,
  encodeConfig,
  encodeNames,
  F_IRQ,
  type GpioRequest,
  IRQ_REQUEST_SIZE,
  IRQ_RESPONSE_SIZE,
  IRQ_STATUS_INVALID,
  MSG_GET_DIRECTION,
  MSG_GET_NAMES,
  MSG_GET_VALUE,
  MSG_IRQ_TYPE,
  MSG_SET_DIRECTION,
  MSG_SET_VALUE,
  REQUEST_SIZE,
  RESPONSE_SIZE,
  STATUS_ERR,
  STATUS_OK,
  VQ_EVENT,
  VQ_REQUEST,
} from "./wire.ts";

/** What is answered: a value, or that it was not done. */
type Answer = number | null;

/** A controller. */
class GpioDevice implements VirtioDevice<GpioDeviceContract> {
  readonly features = bit(F_IRQ);
  readonly calls: GpioDeviceContract["calls"];
  readonly #host: DeviceHost;
  readonly #backing: Lines;
  readonly #lines: readonly Line[];
  readonly #names: Uint8Array<ArrayBuffer>;
  readonly #request = new Uint8Array(REQUEST_SIZE);
  #hasIrq = false;
  /** Of simulated lines. */
  #control: { readonly handler: LineControl; readonly server: ControlServer } | null = null;

  constructor(host: DeviceHost, makeLines: (onEdge: OnEdge) => Lines) {
    this.#host = host;
    this.#backing = makeLines((line, level) => this.#lines[line]!.edge(level));
    this.#names = encodeNames(this.#backing.names);
    const giveBack = (chain: Chain, status: number): void =>
      host.complete(VQ_EVENT, chain, chain.scatter(0, Uint8Array.of(status)));
    this.#lines = this.#backing.names.map((_, i) => new Line(i, this.#backing, giveBack));
    this.calls = {
      lines: () => this.#states(),
      drive: (line, level) => this.#simulated(line).drive(line, level === 0 ? 0 : 1),
    };
  }

  /** Opens the control socket, if there may be one. @throws {OsError} */
  openControl(): void {
    const { controlPath } = this.#host;
    if (controlPath === null || !(this.#backing instanceof SimulatedLines)) return;
    const isTaken = (line: number): boolean => this.#lines[line]!.isTaken;
    const handler = new LineControl(this.#backing, isTaken, () => this.#host.now());
    this.#control = { handler, server: new ControlServer(controlPath, this.#host, handler) };
  }

  /** After the queues were served: whoever has set a line is answered. */
  tick(): void {
    this.#control?.handler.tick();
  }

  deadline(): number {
    return this.#control?.handler.deadline ?? Infinity;
  }

  featuresAccepted(features: bigint): void {
    this.#hasIrq = hasFeature(features, F_IRQ);
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    return encodeConfig(this.#lines.length, this.#names.length);
  }

  // ---- simulated lines, from outside ----

  /** @throws {Error} for lines that are not simulated, and one that is not there */
  #simulated(line: number): SimulatedLines {
    const lines = this.#backing;
    if (!(lines instanceof SimulatedLines)) {
      throw new Error(`Cannot drive ${lines.title} from outside: they are not simulated`);
    }
    if (lines.names[line] !== undefined) return lines;
    throw new Error(`Cannot drive line ${line}: there are ${lines.names.length}`);
  }

  #states(): LineState[] {
    const lines = this.#simulated(0);
    return lines.names.map((_, line) => lines.state(line));
  }

  // ---- what the driver says ----

  serve(queue: number, chain: Chain): void {
    if (queue === VQ_EVENT) return this.#unmask(chain);
    if (chain.writableBytes < RESPONSE_SIZE) return this.#host.refuse(queue, chain, RESPONSE_SIZE);
    const length = chain.gather(0, this.#request);
    if (length < REQUEST_SIZE) return this.#answer(chain, null);
    const request = decodeRequest(new DataView(this.#request.buffer));
    if (request.type === MSG_GET_NAMES) return this.#answerNames(chain);
    this.#answer(chain, this.#attempt(request));
  }

  #answer(chain: Chain, answer: Answer): void {
    const response = answer === null
      ? Uint8Array.of(STATUS_ERR, 0)
      : Uint8Array.of(STATUS_OK, answer);
    this.#host.complete(VQ_REQUEST, chain, chain.scatter(0, response));
  }

  #answerNames(chain: Chain): void {
    const { length } = this.#names;
    if (length === 0 || chain.writableBytes < 1 + length) return this.#answer(chain, null);
    const status = chain.scatter(0, Uint8Array.of(STATUS_OK));
    this.#host.complete(VQ_REQUEST, chain, status + chain.scatter(status, this.#names));
  }

  #attempt(request: GpioRequest): Answer {
    const line = this.#lines[request.gpio];
    if (line === undefined) return null;
    try {
      return this.#do(line, request);
    } catch (error) {
      this.#host.report({ kind: "error", text: (error as Error).message });
      return null;
    }
  }

  #do(line: Line, { type, value }: GpioRequest): Answer {
    const done = (isDone: boolean): Answer => isDone ? 0 : null;
    switch (type) {
      case MSG_GET_DIRECTION:
        return line.direction;
      case MSG_SET_DIRECTION:
        return done(line.setDirection(value));
      case MSG_GET_VALUE:
        return this.#backing.get(line.number);
      case MSG_SET_VALUE:
        return done(line.setValue(value));
      case MSG_IRQ_TYPE:
        return done(this.#hasIrq && line.setIrqType(value));
      default:
        return null;
    }
  }

  #unmask(chain: Chain): void {
    if (chain.writableBytes < IRQ_RESPONSE_SIZE) {
      return this.#host.refuse(VQ_EVENT, chain, IRQ_RESPONSE_SIZE);
    }
    const length = chain.gather(0, this.#request, 0, IRQ_REQUEST_SIZE);
    const [low = 0, high = 0] = this.#request;
    const line = length < IRQ_REQUEST_SIZE ? undefined : this.#lines[low | high << 8];
    if (line !== undefined) return this.#unmaskLine(line, chain);
    this.#host.complete(VQ_EVENT, chain, chain.scatter(0, Uint8Array.of(IRQ_STATUS_INVALID)));
  }

  /** A line that cannot be read keeps the buffer: it may interrupt later. */
  #unmaskLine(line: Line, chain: Chain): void {
    try {
      line.unmask(chain);
    } catch (error) {
      this.#host.report({ kind: "error", text: (error as Error).message });
    }
  }

  // ---- the end ----

  stop(queue: number, abandoned: boolean): void {
    if (queue !== VQ_EVENT) return;
    for (const line of this.#lines) {
      if (abandoned) line.forget();
      else line.mask(IRQ_STATUS_INVALID);
    }
  }

  reset(): void {
    this.#hasIrq = false;
    for (const line of this.#lines) {
      if (!this.#isReleased(line)) this.#host.report({ kind: "error", text: releaseFailed(line) });
    }
  }

  #isReleased(line: Line): boolean {
    try {
      return line.setDirection(DIRECTION_NONE);
    } catch {
      return false;
    }
  }

  close(): void {
    this.#control?.server[Symbol.dispose]();
    this.#backing[Symbol.dispose]();
  }
}

function releaseFailed({ number, lines }: Line): string {
  return `Cannot release line ${number} of ${lines.title}`;
}

/** Makes a controller of lines of any kind. */
export function createGpio(
  host: DeviceHost,
  makeLines: (onEdge: OnEdge) => Lines,
): VirtioDevice<GpioDeviceContract> {
  const device = new GpioDevice(host, makeLines);
  try {
    device.openControl();
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

/** The embedded GPIO device. */
export const device: DeviceRole<GpioDeviceContract> = {
  deviceClass: gpio,
  check: checkGpio,
  create: (spec, host) => createGpio(host, (onEdge) => linesOf(spec, host, onEdge)),
};
