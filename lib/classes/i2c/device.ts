// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C adapter (virtio 1.2, §5.16), between the driver's queue and a bus. Requests that are grouped by
 * VIRTIO_I2C_FLAGS_FAIL_NEXT are one transfer on the bus.
 *
 * @module
 */
import type { DeviceContract, DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit, hasFeature } from "../../virtio/features.ts";
import { type Bus, MAX_MESSAGE_BYTES, MAX_MESSAGES, type Message } from "./bus.ts";
import { i2c } from "./class.ts";
import { busOf, checkI2c, type I2cSpec } from "./spec.ts";
import {
  decodeAddress,
  decodeOutHeader,
  F_ZERO_LENGTH_REQUEST,
  FLAGS_FAIL_NEXT,
  FLAGS_M_RD,
  IN_HDR_SIZE,
  MSG_ERR,
  MSG_OK,
  OUT_HDR_SIZE,
  VQ_REQUEST,
} from "./wire.ts";

/** What the adapter and its owner agree on. */
export interface I2cDeviceContract extends DeviceContract {
  spec: I2cSpec;
}

/**
 * How long the rest of a group is waited for, in nanoseconds. A driver offers a group as a whole, and waits for all that it
 * could offer: a queue that is full may end in the middle of one.
 */
const GROUP_NS = 1e7;

/** A request; without a message it breaks a rule. */
interface Request {
  readonly chain: Chain;
  readonly message: Message | null;
}

/** The adapter. */
class I2cDevice implements VirtioDevice<I2cDeviceContract> {
  readonly features = bit(F_ZERO_LENGTH_REQUEST);
  readonly #host: DeviceHost;
  readonly #bus: Bus;
  readonly #header = new Uint8Array(OUT_HDR_SIZE);
  /** Requests of a group whose end is to come. */
  #group: Request[] = [];
  /** A request of the present group has failed: the next ones must fail. */
  #hasFailed = false;
  /** When the group is tried as it is, in nanoseconds. */
  #due = Infinity;
  #isAccepted = false;

  constructor(host: DeviceHost, bus: Bus) {
    this.#host = host;
    this.#bus = bus;
  }

  /** A driver without zero-length requests must be rejected (§5.16.6.4): each of its requests fails. */
  featuresAccepted(features: bigint): void {
    this.#isAccepted = hasFeature(features, F_ZERO_LENGTH_REQUEST);
  }

  serve(queue: number, chain: Chain): void {
    if (chain.writableBytes < IN_HDR_SIZE) return this.#host.refuse(queue, chain, IN_HDR_SIZE);
    const length = chain.gather(0, this.#header);
    const { addr, flags } = decodeOutHeader(new DataView(this.#header.buffer));
    const isWhole = length === OUT_HDR_SIZE && this.#isAccepted;
    this.#group.push({ chain, message: isWhole ? messageOf(chain, addr, flags) : null });
    const isEnd = length < OUT_HDR_SIZE || (flags & FLAGS_FAIL_NEXT) === 0;
    if (isEnd || this.#group.length > MAX_MESSAGES) this.#run(isEnd);
    else this.#due = this.#host.now() + GROUP_NS;
  }

  tick(now: number): void {
    if (now >= this.#due) this.#run(false);
  }

  deadline(): number {
    return this.#due;
  }

  /** Does the requests that there are. @param isEnd The last one ends its group */
  #run(isEnd: boolean): void {
    const group = this.#group;
    this.#group = [];
    this.#due = Infinity;
    const done = this.#hasFailed ? 0 : this.#transfer(group);
    group.forEach((request, i) => this.#answer(request, i < done));
    this.#hasFailed = !isEnd && (this.#hasFailed || done < group.length);
  }

  /** @returns how many requests were done, from the first on */
  #transfer(group: readonly Request[]): number {
    const messages: Message[] = [];
    for (const { message } of group) {
      if (message === null) break;
      messages.push(message);
    }
    if (messages.length === 0 || messages.length > MAX_MESSAGES) return 0;
    try {
      return this.#bus.transfer(messages);
    } catch (error) {
      this.#host.report({ kind: "error", text: (error as Error).message });
      return 0;
    }
  }

  /**
   * What could not be read is zeros: the driver gets nothing that lay there before. Of a buffer larger than a message only the
   * beginning is written, and the used length counts that alone (§2.7.8.2).
   */
  #answer({ chain, message }: Request, isDone: boolean): void {
    const room = chain.writableBytes - IN_HDR_SIZE;
    const zeros = new Uint8Array(Math.min(room, MAX_MESSAGE_BYTES));
    chain.scatter(0, isDone && message!.isRead ? message!.data : zeros);
    chain.scatter(room, Uint8Array.of(isDone ? MSG_OK : MSG_ERR));
    const isWhole = zeros.length === room;
    this.#host.complete(VQ_REQUEST, chain, isWhole ? room + IN_HDR_SIZE : zeros.length);
  }

  /** A group whose end never came is done as far as there is of it; one that is abandoned another device is offered. */
  stop(_queue: number, abandoned: boolean): void {
    if (abandoned) this.#group = [];
    else if (this.#group.length > 0) this.#run(false);
    this.#due = Infinity;
    this.#hasFailed = false;
  }

  reset(): void {
    this.#isAccepted = false;
  }

  close(): void {
    this.#bus[Symbol.dispose]();
  }
}

/** The message of a request; null for one that breaks a rule. */
function messageOf(chain: Chain, addr: number, flags: number): Message | null {
  const address = decodeAddress(addr);
  const [readable, writable] = [
    chain.readableBytes - OUT_HDR_SIZE,
    chain.writableBytes - IN_HDR_SIZE,
  ];
  const isRead = (flags & FLAGS_M_RD) !== 0;
  const [length, other] = isRead ? [writable, readable] : [readable, writable];
  const isKnown = (flags & ~(FLAGS_FAIL_NEXT | FLAGS_M_RD)) === 0;
  if (address === null || !isKnown || other > 0 || length > MAX_MESSAGE_BYTES) return null;
  const data = new Uint8Array(length);
  if (!isRead) chain.gather(OUT_HDR_SIZE, data);
  return { ...address, isRead, data };
}

/** Makes an adapter of a bus of any kind. */
export function createI2c(host: DeviceHost, bus: Bus): VirtioDevice<I2cDeviceContract> {
  return new I2cDevice(host, bus);
}

/** The embedded I2C adapter. */
export const device: DeviceRole<I2cDeviceContract> = {
  deviceClass: i2c,
  check: checkI2c,
  create: (spec, host) => createI2c(host, busOf(spec)),
};
