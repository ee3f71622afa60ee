// SPDX-License-Identifier: Apache-2.0
/**
 * The echo device: gives back what it is sent.
 *
 * @module
 */
import {
  type DeviceContract,
  type DeviceHost,
  type DeviceRole,
  SpecError,
  type VirtioDevice,
} from "../../../lib/device/role.ts";
import type { Chain } from "../../../lib/virtio/chain.ts";
import { echo } from "./class.ts";
import {
  BAD_REQUEST,
  CONFIG_SIZE,
  CONTROL_SIZE,
  EVENT_SIZE,
  OK,
  SET_KEY,
  VQ_CONTROL,
  VQ_EVENT,
} from "./wire.ts";

/** How an echo device is to be. */
export interface EchoSpec {
  /** The most bytes that it gives back at once, 1 to 65536. @default {4096} */
  limit?: number;
}

/** What the echo device and its owner agree on. */
export interface EchoDeviceContract extends DeviceContract {
  spec: EchoSpec;
  calls: {
    /** Gives back at most so many bytes at once from now on, and tells the driver. */
    setLimit(limit: number): void;
    /** Tells the driver that somebody knocked. */
    knock(): void;
  };
}

const MAX_LIMIT = 65536;

/** @throws {SpecError} */
function checkLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_LIMIT) return;
  throw new SpecError(`Cannot echo ${limit} bytes at once, expected 1 to ${MAX_LIMIT}`);
}

class EchoDevice implements VirtioDevice<EchoDeviceContract> {
  readonly calls: EchoDeviceContract["calls"];
  readonly #host: DeviceHost;
  readonly #bytes = new Uint8Array(MAX_LIMIT);
  #limit: number;
  #key = 0;
  #knocks = 0;

  constructor({ limit = 4096 }: EchoSpec, host: DeviceHost) {
    this.#limit = limit;
    this.#host = host;
    this.calls = {
      setLimit: (limit) => this.#setLimit(limit),
      knock: () => this.#knock(),
    };
  }

  #setLimit(limit: number): void {
    checkLimit(limit);
    this.#limit = limit;
    this.#host.configChanged();
  }

  /** Without a buffer to put it in, the event is lost. */
  #knock(): void {
    this.#knocks++;
    const chain = this.#host.take(VQ_EVENT);
    if (chain === null) return;
    if (chain.writableBytes < EVENT_SIZE) return this.#host.refuse(VQ_EVENT, chain, EVENT_SIZE);
    const event = new Uint8Array(Uint32Array.of(this.#knocks).buffer);
    this.#host.complete(VQ_EVENT, chain, chain.scatter(0, event));
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    const config = new Uint8Array(CONFIG_SIZE);
    new DataView(config.buffer).setUint32(0, this.#limit, true);
    return config;
  }

  serve(queue: number, chain: Chain): void {
    if (queue === VQ_CONTROL) this.#control(chain);
    else this.#echo(queue, chain);
  }

  #control(chain: Chain): void {
    if (chain.writableBytes < 1) return this.#host.refuse(VQ_CONTROL, chain, 1);
    const length = chain.gather(0, this.#bytes, 0, CONTROL_SIZE);
    const [code, key] = this.#bytes;
    const isOk = length === CONTROL_SIZE && code === SET_KEY;
    if (isOk) this.#key = key!;
    this.#host.complete(
      VQ_CONTROL,
      chain,
      chain.scatter(0, Uint8Array.of(isOk ? OK : BAD_REQUEST)),
    );
  }

  #echo(queue: number, chain: Chain): void {
    const length = chain.gather(0, this.#bytes, 0, Math.min(this.#limit, chain.writableBytes));
    for (let i = 0; i < length; i++) this.#bytes[i]! ^= this.#key;
    this.#host.complete(queue, chain, chain.scatter(0, this.#bytes, 0, length));
  }

  reset(): void {
    this.#key = 0;
  }
}

/** The embedded echo device. */
export const device: DeviceRole<EchoDeviceContract> = {
  deviceClass: echo,
  check: ({ limit = 1 }) => checkLimit(limit),
  create: (spec, host) => new EchoDevice(spec, host),
};
