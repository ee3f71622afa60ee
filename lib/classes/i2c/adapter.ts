// SPDX-License-Identifier: Apache-2.0
/**
 * The bus of an adapter of the host. Some adapters know only the calls of SMBus: transfers are made of those then, as far as
 * there are any for them.
 *
 * @module
 */
import {
  I2C_CODES,
  I2cAdapter,
  OsError,
  SMBUS_DATA_SIZE,
  type SmbusCall,
} from "../../../ffi/mod.ts";
import { SpecError } from "../../device/role.ts";
import type { Bus, Message } from "./bus.ts";

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

/** What is used of an adapter: tests have one of their own. */
export type Adapter = Pick<I2cAdapter, "path" | "functions" | "transfer" | "smbus" | "close">;

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

  transfer(messages: readonly Message[]): number {
    const first = messages.findIndex((message) => !this.#mayUse(message));
    const allowed = first < 0 ? messages : messages.slice(0, first);
    if (allowed.length === 0) return 0;
    if ((this.adapter.functions & I2C_FUNC_I2C) === 0) return this.#bySmbus(allowed);
    const done = this.#checked(this.adapter.transfer(allowed));
    return done === allowed.length ? done : 0; // which of them failed is not known
  }

  #mayUse({ address, isTenBit }: Message): boolean {
    if (isTenBit && (this.adapter.functions & I2C_FUNC_10BIT_ADDR) === 0) return false;
    if (this.allowed.size === 0) return true;
    return isTenBit === address > LAST_OF_7_BITS && this.allowed.has(address);
  }

  #bySmbus(messages: readonly Message[]): number {
    let done = 0;
    while (done < messages.length) {
      const step = smbusStep(messages.slice(done));
      if (step === null || this.#checked(this.adapter.smbus(step.call)) < 0) return done;
      const { call, read } = step;
      const start = startOf(call.size);
      read?.set(call.data.subarray(start, start + read.length));
      done += step.messages;
    }
    return done;
  }

  /** @throws {OsError} for an error that is not of the bus */
  #checked(result: number): number {
    if (result >= 0 || OF_THE_BUS.has(-result)) return result;
    throw new OsError(`transfer by ${this.adapter.path}`, -result);
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
