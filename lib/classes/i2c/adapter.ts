// SPDX-License-Identifier: Apache-2.0
/**
 * The bus of an adapter of the host. Some adapters know only the calls of SMBus: transfers are made of those then, as far as
 * there are any for them.
 *
 * @module
 */
import {
  EPOLLIN,
  I2C_CODES,
  I2cAdapter,
  OsError,
  SMBUS_DATA_SIZE,
  type SmbusCall,
  type Watch,
} from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import type { Bus, Message, OnTransferred } from "./bus.ts";

const {
  I2C_FUNC_I2C,
  I2C_FUNC_10BIT_ADDR,
  I2C_SMBUS_BLOCK_MAX,
  I2C_SMBUS_BYTE,
  I2C_SMBUS_BYTE_DATA,
  I2C_SMBUS_I2C_BLOCK_DATA,
  I2C_SMBUS_QUICK,
  I2C_SMBUS_WORD_DATA,
} = I2C_CODES;

/** An adapter, which makes one call at a time: `onDone` gets its result, see {@linkcode I2cAdapter.transfer}. */
export interface Adapter {
  readonly path: string;
  /** Of what it can do, the `I2C_FUNC_…`. */
  readonly functions: number;
  transfer(messages: readonly Message[], onDone: (result: number) => void): void;
  smbus(call: SmbusCall, onDone: (result: number) => void): void;
  /** Closes it; a call that is not done has no result. */
  close(): void;
}

/** An adapter of the host, whose calls are made in another thread. */
export class HostAdapter implements Adapter {
  readonly #adapter: I2cAdapter;
  readonly #watch: Watch;
  #onDone: (result: number) => void = () => {};

  /** @param adapter It is closed with this one @throws {OsError} */
  constructor(adapter: I2cAdapter, watch: DeviceHost["watch"]) {
    this.#adapter = adapter;
    this.#watch = watch(adapter.done.number, EPOLLIN, () => {
      const result = adapter.takeResult();
      if (result !== null) this.#onDone(result);
    });
  }

  get path(): string {
    return this.#adapter.path;
  }

  get functions(): number {
    return this.#adapter.functions;
  }

  transfer(messages: readonly Message[], onDone: (result: number) => void): void {
    this.#begin(() => this.#adapter.transfer(messages), onDone);
  }

  smbus(call: SmbusCall, onDone: (result: number) => void): void {
    this.#begin(() => this.#adapter.smbus(call), onDone);
  }

  /** A call that cannot be begun, for want of descriptors, has failed. */
  #begin(call: () => void, onDone: (result: number) => void): void {
    try {
      call();
      this.#onDone = onDone;
    } catch (error) {
      if (!OsError.is(error)) throw error;
      onDone(-error.errno);
    }
  }

  close(): void {
    this.#watch.close();
    this.#adapter.close();
  }
}

/** Of the addresses that are allowed, those after this one are of 10 bits. */
const LAST_OF_7_BITS = 0x7f;

/** Errors that a chip or the wires cause, which the driver learns by the status: EIO, ENXIO, EAGAIN, EBUSY, EOPNOTSUPP, ETIMEDOUT, EREMOTEIO. */
const OF_THE_BUS: ReadonlySet<number> = new Set([5, 6, 11, 16, 95, 110, 121]);

/** A call of SMBus that does the work of messages. */
export interface SmbusStep {
  readonly call: SmbusCall;
  /** How many messages it does. */
  readonly messages: number;
  /** Where what is read goes; null for a write. */
  readonly read: Uint8Array<ArrayBuffer> | null;
}

/** The call for so many bytes after a command; null for more than there is one for. */
function sizeOf(length: number): number | null {
  if (length === 1) return I2C_SMBUS_BYTE_DATA;
  if (length === 2) return I2C_SMBUS_WORD_DATA;
  return length > 2 && length <= I2C_SMBUS_BLOCK_MAX ? I2C_SMBUS_I2C_BLOCK_DATA : null;
}

/** Where the bytes of a call begin in its data: after the length, if it has one. */
function startOf(size: number): number {
  return size === I2C_SMBUS_I2C_BLOCK_DATA ? 1 : 0;
}

/**
 * What does the first message, or the first two.
 *
 * @returns null when SMBus has nothing for them
 */
export function smbusStep([first, second]: readonly Message[]): SmbusStep | null {
  const { address, isTenBit, isRead, data: bytes } = first!;
  if (isTenBit) return null;
  const data = new Uint8Array(SMBUS_DATA_SIZE);
  const [command = 0] = bytes;
  const step = (size: number, messages = 1, read: Message | null = null): SmbusStep => ({
    call: { address, isRead: isRead || read !== null, command: isRead ? 0 : command, size, data },
    messages,
    read: isRead ? bytes : read?.data ?? null,
  });
  if (bytes.length === 0) return step(I2C_SMBUS_QUICK);
  const isAnswered = !isRead && second?.isRead === true && second.address === address;
  if (isAnswered) {
    const size = bytes.length === 1 ? sizeOf(second.data.length) : null;
    if (size === I2C_SMBUS_I2C_BLOCK_DATA) data[0] = second.data.length;
    return size === null ? null : step(size, 2, second);
  }
  if (bytes.length === 1) return step(I2C_SMBUS_BYTE);
  const size = isRead ? null : sizeOf(bytes.length - 1);
  if (size === null) return null;
  if (size === I2C_SMBUS_I2C_BLOCK_DATA) data[0] = bytes.length - 1;
  data.set(bytes.subarray(1), startOf(size));
  return step(size);
}

/** The bus. */
export class AdapterBus implements Bus {
  /**
   * @param adapter It is closed with the bus
   * @param allowed Addresses that the driver may use, above 0x7f those of 10 bits; empty for all
   */
  constructor(readonly adapter: Adapter, readonly allowed: ReadonlySet<number>) {}

  get name(): string {
    return this.adapter.path;
  }

  transfer(messages: readonly Message[], onTransferred: OnTransferred): void {
    const first = messages.findIndex((message) => !this.#mayUse(message));
    const allowed = first < 0 ? messages : messages.slice(0, first);
    if (allowed.length === 0) return onTransferred(0);
    if ((this.adapter.functions & I2C_FUNC_I2C) === 0) {
      return this.#bySmbus(allowed, 0, onTransferred);
    }
    this.adapter.transfer(allowed, (result) => {
      onTransferred(result === allowed.length ? result : 0, this.#faultOf(result)); // which of them failed is not known
    });
  }

  #mayUse({ address, isTenBit }: Message): boolean {
    if (isTenBit && (this.adapter.functions & I2C_FUNC_10BIT_ADDR) === 0) return false;
    if (this.allowed.size === 0) return true;
    return isTenBit === address > LAST_OF_7_BITS && this.allowed.has(address);
  }

  /** @param done So many are done */
  #bySmbus(messages: readonly Message[], done: number, onTransferred: OnTransferred): void {
    const step = done < messages.length ? smbusStep(messages.slice(done)) : null;
    if (step === null) return onTransferred(done);
    const { call, read } = step;
    this.adapter.smbus(call, (result) => {
      if (result < 0) return onTransferred(done, this.#faultOf(result));
      const start = startOf(call.size);
      read?.set(call.data.subarray(start, start + read.length));
      this.#bySmbus(messages, done + step.messages, onTransferred);
    });
  }

  /** The error of a result that is not of the bus. */
  #faultOf(result: number): OsError | undefined {
    if (result >= 0 || OF_THE_BUS.has(-result)) return undefined;
    return new OsError(`transfer by ${this.adapter.path}`, -result);
  }

  [Symbol.dispose](): void {
    this.adapter.close();
  }
}

/** Opens an adapter. @throws {SpecError} */
export function openAdapter(path: string): I2cAdapter {
  try {
    return I2cAdapter.openAdapter(path);
  } catch (error) {
    const { message, code } = error as OsError;
    const hint = code === "ENOENT" || code === "ENOTTY"
      ? "i2cdetect -l lists the adapters there are; modprobe i2c-dev makes their nodes"
      : "its user may open it: see ls -l";
    throw new SpecError(`${message} (${hint})`, { cause: error });
  }
}

/** Addresses as they are written on a command line, hexadecimal or not; those above 0x7f are of 10 bits. @throws {SpecError} */
export function addressesOf(texts: readonly string[]): ReadonlySet<number> {
  return new Set(texts.map((text) => {
    const address = /^(0x[0-9a-fA-F]+|\d+)$/.test(text) ? Number(text) : -1;
    if (address >= 0 && address <= 0x3ff) return address;
    throw new SpecError(`Cannot use address "${text}": expected one such as 0x50`);
  }));
}
