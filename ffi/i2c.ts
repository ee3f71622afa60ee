// SPDX-License-Identifier: Apache-2.0
/**
 * I2C adapters of the host (`/dev/i2c-N`, `<linux/i2c-dev.h>`). Calls wait for the bus: up to the adapter's own time limit, a
 * second in most drivers, and longer while others use it. So they are made in a thread of their own.
 *
 * @module
 */
import { I2C_CALL_DATA, I2C_CALL_MESSAGES, i2cAside, type I2cCall } from "./aside.ts";
import { unwrap } from "./errno.ts";
import { checkRange, EventFd, Fd, ioctl, O_RDWR, takeEvent } from "./fd.ts";

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

/** An open adapter. It makes one call at a time, in another thread: {@linkcode done} tells when its result is there. */
export class I2cAdapter extends Fd {
  /** Signalled when a call is done. */
  readonly done = EventFd.create();
  /** The call that was begun last, while its result was not taken. */
  #call: CallMemory | null = null;

  /**
   * @param number An open adapter, which nobody else owns
   * @param path Its path, for errors
   * @param functions Of what it can do, the `I2C_FUNC_…` below 2^32
   */
  constructor(number: number, readonly path: string, readonly functions: number) {
    super(number);
  }

  /** Opens an adapter, such as /dev/i2c-1. @throws {OsError} ENOTTY for what is none */
  static openAdapter(path: string): I2cAdapter {
    using opened = Fd.open(path, O_RDWR | O_NONBLOCK);
    const functions = new Uint8Array(8); // an unsigned long
    unwrap(ioctl(opened.number, I2C_CODES.I2C_FUNCS, functions), `use ${path} as an I2C adapter`);
    const low = new DataView(functions.buffer).getUint32(0, true);
    return new I2cAdapter(opened.release(), path, low);
  }

  /**
   * Begins a transfer, without a stop between its messages. What is read is in their data when {@linkcode takeResult} gives how
   * many were done, or −errno: ENXIO and EREMOTEIO when a chip does not acknowledge, ETIMEDOUT …
   *
   * @param messages At most `I2C_RDWR_IOCTL_MAX_MSGS`
   */
  transfer(messages: readonly I2cAdapterMessage[]): void {
    this.#begin(new CallMemory(messages.map(({ data }) => data)), (memory) => {
      messages.forEach((message, i) => memory.describe(i, message));
      return messages.length;
    });
  }

  /** Begins a call of SMBus: its result is 0, or −errno as of {@linkcode transfer}; EBUSY when a driver of the host has that chip. */
  smbus({ address, isRead, command, size, data }: SmbusCall): void {
    checkRange(data, 0, SMBUS_DATA_SIZE);
    const { I2C_SMBUS_READ, I2C_SMBUS_WRITE } = I2C_CODES;
    const direction = isRead ? I2C_SMBUS_READ : I2C_SMBUS_WRITE;
    this.#begin(new CallMemory([data]), () => [address, direction, command, size]);
  }

  #begin(memory: CallMemory, fill: (memory: CallMemory) => I2cCall["what"]): void {
    if (this.#call !== null) throw new Error(`Cannot use ${this.path}: its last call is not done`);
    const what = fill(memory);
    using opened = new DisposableStack();
    const [adapter, done] = [opened.use(this.duplicate()), opened.use(this.done.duplicate())];
    i2cAside(adapter.number, { memory: memory.shared, what, done: done.number });
    adapter.release();
    done.release();
    this.#call = memory;
  }

  /** The result of the call, null while there is none; what was read is in its data then. */
  takeResult(): number | null {
    if (this.#call === null || takeEvent(this.done.number) === 0) return null;
    const call = this.#call;
    this.#call = null;
    return call.take();
  }

  /** Closes it. A call that is not done keeps the adapter open until it is. */
  override close(): void {
    this.done.close();
    super.close();
  }
}

/** The memory of a call, see {@linkcode I2cCall}. */
class CallMemory {
  readonly shared: SharedArrayBuffer;

  /** @param pieces Of its data, one after the other; what is read is written to them */
  constructor(readonly pieces: readonly Uint8Array<ArrayBuffer>[]) {
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    this.shared = new SharedArrayBuffer(I2C_CALL_DATA + bytes);
    this.#each((mine, piece) => mine.set(piece));
  }

  #each(move: (mine: Uint8Array, piece: Uint8Array) => void): void {
    let at = I2C_CALL_DATA;
    for (const piece of this.pieces) {
      move(new Uint8Array(this.shared, at, piece.length), piece);
      at += piece.length;
    }
  }

  describe(index: number, { address, isTenBit, isRead, data }: I2cAdapterMessage): void {
    const { I2C_M_RD, I2C_M_TEN } = I2C_CODES;
    if (data.length > 0xffff) throw new RangeError(`Cannot transfer ${data.length} bytes`);
    const header = new Uint16Array(this.shared, I2C_CALL_MESSAGES + 6 * index, 3);
    header.set([address, (isRead ? I2C_M_RD : 0) | (isTenBit ? I2C_M_TEN : 0), data.length]);
  }

  /** The result; what was read is in the pieces if there was no error. */
  take(): number {
    const result = Atomics.load(new Int32Array(this.shared, 0, 1), 0);
    if (result >= 0) this.#each((mine, piece) => piece.set(mine));
    return result;
  }
}

/** asm-generic; a path may be a FIFO, which would wait for its other end. */
const O_NONBLOCK = 0o4000;
