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

/** How long a transfer may take, in nanoseconds: this, and more for each byte, so that a bus of 10 kHz has the time. */
const TRANSFER_NS = 10e9;
const BYTE_NS = 1e6;
/** How long a queue that is to stop waits for its transfers, in nanoseconds; then its requests have failed. */
const DRAIN_NS = 20e9;

/** Requests of one group, as far as they came together. */
interface Group {
  readonly requests: readonly Request[];
  /** The last one ends the group. */
  readonly isEnd: boolean;
}

/** The adapter. */
class I2cDevice implements VirtioDevice<I2cDeviceContract> {
  readonly features = bit(F_ZERO_LENGTH_REQUEST);
  readonly #host: DeviceHost;
  readonly #bus: Bus;
  readonly #header = new Uint8Array(OUT_HDR_SIZE);
  /** Requests of a group whose end is to come. */
  #group: Request[] = [];
  /** When the group is tried as it is, in nanoseconds. */
  #due = Infinity;
  /** Groups that wait for the bus: no more than the queue has room for. */
  #waiting: Group[] = [];
  /**
   * The transfer that the bus does, and when it takes too long: Infinity when it does already. Without a group where nobody waits
   * for it: it takes too long, or its queue was stopped.
   */
  #running: { group: Group | null; due: number } | null = null;
  /** A request of the present group has failed: the next ones must fail. */
  #hasFailed = false;
  #drainDue = Infinity;
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
    if (isEnd || this.#group.length > MAX_MESSAGES) this.#close(isEnd);
    else this.#due = this.#host.now() + GROUP_NS;
    this.#next();
  }

  tick(now: number): void {
    if (now >= this.#due) this.#close(false);
    if (now >= (this.#running?.due ?? Infinity)) this.#giveUp();
    this.#next();
  }

  deadline(): number {
    return Math.min(this.#due, this.#running?.due ?? Infinity, this.#drainDue);
  }

  /** No more requests come to the present group. @param isEnd The last one ends it */
  #close(isEnd: boolean): void {
    if (this.#group.length > 0) this.#waiting.push({ requests: this.#group, isEnd });
    this.#group = [];
    this.#due = Infinity;
  }

  /** Begins the transfers that wait, as far as the bus is free; on a bus that takes too long they fail. */
  #next(): void {
    if (this.#running?.due === Infinity) this.#failAll();
    while (this.#running === null && this.#waiting.length > 0) this.#begin(this.#waiting.shift()!);
  }

  #begin(group: Group): void {
    const messages = this.#hasFailed ? [] : messagesOf(group.requests);
    if (messages.length === 0) return this.#finish(group, 0);
    const bytes = messages.reduce((sum, { data }) => sum + data.length, 0);
    this.#running = { group, due: this.#host.now() + TRANSFER_NS + bytes * BYTE_NS };
    this.#bus.transfer(messages, (done, fault) => {
      if (fault !== undefined) this.#host.report({ kind: "error", text: fault.message });
      const waitedFor = this.#running!.group;
      this.#running = null;
      if (waitedFor !== null) this.#finish(waitedFor, done);
    });
  }

  #finish({ requests, isEnd }: Group, done: number): void {
    requests.forEach((request, i) => this.#answer(request, i < done));
    this.#hasFailed = !isEnd && (this.#hasFailed || done < requests.length);
  }

  /** The bus takes too long: what waits for it has failed, and so has what comes until it is free. */
  #giveUp(): void {
    const text =
      `Cannot finish a transfer by ${this.#bus.name}: no answer in time, and what follows ` +
      "fails until there is one (does a chip hold the bus?)";
    this.#host.report({ kind: "error", text });
    this.#running!.due = Infinity;
    this.#failAll();
  }

  /** What waits for the bus has failed. */
  #failAll(): void {
    const group = this.#running?.group ?? null;
    const groups = [...(group === null ? [] : [group]), ...this.#waiting];
    if (this.#running !== null) this.#running.group = null;
    this.#waiting = [];
    for (const one of groups) this.#finish(one, 0);
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

  /** A group whose end never came is done as far as there is of it. */
  drain(): boolean {
    this.#close(false);
    this.#next();
    const now = this.#host.now();
    if (this.#drainDue === Infinity) this.#drainDue = now + DRAIN_NS;
    const isBusy = this.#waiting.length > 0 || (this.#running?.group ?? null) !== null;
    if (isBusy && now < this.#drainDue) return false;
    if (isBusy) this.#giveUp();
    this.#drainDue = Infinity;
    return true;
  }

  /** What is abandoned another device is offered. */
  stop(_queue: number, abandoned: boolean): void {
    if (!abandoned) {
      this.#close(false);
      this.#next();
      this.#failAll();
    }
    this.#forget();
  }

  #forget(): void {
    this.#group = [];
    this.#waiting = [];
    if (this.#running !== null) this.#running.group = null;
    this.#due = this.#drainDue = Infinity;
    this.#hasFailed = false;
  }

  reset(): void {
    this.#isAccepted = false;
  }

  close(): void {
    this.#bus[Symbol.dispose]();
  }
}

/** The messages of requests, up to the first that has none; none where they are more than a transfer has. */
function messagesOf(requests: readonly Request[]): Message[] {
  const first = requests.findIndex(({ message }) => message === null);
  const whole = first < 0 ? requests : requests.slice(0, first);
  return whole.length > MAX_MESSAGES ? [] : whole.map(({ message }) => message!);
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
  create: (spec, host) => createI2c(host, busOf(spec, host.watch)),
};
