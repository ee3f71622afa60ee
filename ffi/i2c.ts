// SPDX-License-Identifier: Apache-2.0
/**
 * I2C adapters of the host (`/dev/i2c-N`, `<linux/i2c-dev.h>`). Calls wait for the bus: up to the adapter's own time limit, a
 * second in most drivers.
 *
 * @module
 */
import { unwrap } from "./errno.ts";
import { checkRange, Fd, ioctl, O_RDWR } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Codes of `<linux/i2c.h>` and `<linux/i2c-dev.h>`, by the kernel's names. */
export const I2C_CODES = {
  I2C_FUNCS: 0x0705,
  I2C_FUNC_I2C: 0x0001,
  I2C_FUNC_10BIT_ADDR: 0x0002,
  I2C_M_RD: 0x0001,
  I2C_M_TEN: 0x0010,
  I2C_RDWR_IOCTL_MAX_MSGS: 42,
  I2C_SMBUS_WRITE: 0,
  I2C_SMBUS_READ: 1,
  I2C_SMBUS_QUICK: 0,
  I2C_SMBUS_BYTE: 1,
  I2C_SMBUS_BYTE_DATA: 2,
  I2C_SMBUS_WORD_DATA: 3,
  I2C_SMBUS_I2C_BLOCK_DATA: 8,
  I2C_SMBUS_BLOCK_MAX: 32,
} as const;

/** Bytes of `union i2c_smbus_data`: a length, and up to 32 bytes with room for a checksum. */
export const SMBUS_DATA_SIZE = 34;

/** A message of a transfer. */
export interface I2cAdapterMessage {
  readonly address: number;
  readonly isTenBit: boolean;
  readonly isRead: boolean;
  /** What is written, or where what is read goes: at most 65535 bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** A call of SMBus. */
export interface SmbusCall {
  /** 7 bits. */
  readonly address: number;
  readonly isRead: boolean;
  /** The byte after the address. */
  readonly command: number;
  /** Of `I2C_SMBUS_QUICK` and so on. */
  readonly size: number;
  /** {@linkcode SMBUS_DATA_SIZE} bytes: a byte, a word, or a length and as many bytes. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** An open adapter. */
export class I2cAdapter extends Fd {
  /** Of what it can do, the `I2C_FUNC_…` below 2^32. */
  readonly functions: number;

  private constructor(number: number, readonly path: string) {
    super(number);
    const functions = new Uint8Array(8); // an unsigned long
    const result = ioctl(number, I2C_CODES.I2C_FUNCS, functions);
    unwrap(result, `use ${path} as an I2C adapter`);
    this.functions = new DataView(functions.buffer).getUint32(0, true);
  }

  /** Opens an adapter, such as /dev/i2c-1. @throws {OsError} ENOTTY for what is none */
  static openAdapter(path: string): I2cAdapter {
    const number = Fd.open(path, O_RDWR | O_NONBLOCK).release();
    try {
      return new I2cAdapter(number, path);
    } catch (error) {
      shim.viola_close(number);
      throw error;
    }
  }

  /**
   * Does a transfer, without a stop between its messages.
   *
   * @param messages At most `I2C_RDWR_IOCTL_MAX_MSGS`
   * @returns how many were done, or −errno: ENXIO and EREMOTEIO when a chip does not acknowledge, ETIMEDOUT …
   */
  transfer(messages: readonly I2cAdapterMessage[]): number {
    const headers = new Uint16Array(3 * messages.length);
    const data = new Uint8Array(messages.reduce((sum, { data }) => sum + data.length, 1));
    let at = 0;
    messages.forEach(({ address, isTenBit, isRead, data: bytes }, i) => {
      const { I2C_M_RD, I2C_M_TEN } = I2C_CODES;
      if (bytes.length > 0xffff) throw new RangeError(`Cannot transfer ${bytes.length} bytes`);
      headers.set(
        [address, (isRead ? I2C_M_RD : 0) | (isTenBit ? I2C_M_TEN : 0), bytes.length],
        3 * i,
      );
      if (!isRead) data.set(bytes, at);
      at += bytes.length;
    });
    const done = shim.viola_i2c_transfer(this.number, headers, messages.length, data);
    at = 0;
    for (const { isRead, data: bytes } of messages) {
      if (done > 0 && isRead) bytes.set(data.subarray(at, at + bytes.length));
      at += bytes.length;
    }
    return done;
  }

  /** Makes a call of SMBus. @returns 0, or −errno as of {@linkcode transfer}; EBUSY when a driver of the host has that chip */
  smbus({ address, isRead, command, size, data }: SmbusCall): number {
    checkRange(data, 0, SMBUS_DATA_SIZE);
    const { I2C_SMBUS_READ, I2C_SMBUS_WRITE } = I2C_CODES;
    const direction = isRead ? I2C_SMBUS_READ : I2C_SMBUS_WRITE;
    return shim.viola_i2c_smbus(this.number, address, direction, command, size, data);
  }
}

/** asm-generic; a path may be a FIFO, which would wait for its other end. */
const O_NONBLOCK = 0o4000;
