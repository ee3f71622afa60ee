// SPDX-License-Identifier: Apache-2.0
/**
 * Simulated chips, and a bus of them.
 *
 * @module
 */
import type { Bus, Message, OnTransferred } from "./bus.ts";

/** A chip at its address. */
export interface Chip extends Disposable {
  /** It is addressed to be written to; `bytes` may be empty. */
  write(bytes: Uint8Array): void;
  /** It is addressed to be read. */
  read(bytes: Uint8Array): void;
}

/** Called when contents change, with where and how many bytes. */
export type OnWrite = (at: number, length: number) => void;

/**
 * An EEPROM, such as a 24C02: the first bytes that are written are where to go on; what is written after that stays within its
 * page, as in the real ones; what is read goes on to the end, then from the beginning.
 */
export class Eeprom implements Chip {
  #pointer = 0;

  /**
   * @param contents All of it; a power of 2
   * @param page Bytes of a page; a power of 2
   * @param addressBytes How many bytes of an address are written, 1 or 2
   */
  constructor(
    readonly contents: Uint8Array<ArrayBuffer>,
    readonly page: number,
    readonly addressBytes: number,
    readonly onWrite: OnWrite = () => {},
    readonly onEnd: () => void = () => {},
  ) {}

  write(bytes: Uint8Array): void {
    if (bytes.length < this.addressBytes) return; // it goes on where it was
    let at = 0;
    for (let i = 0; i < this.addressBytes; i++) at = at << 8 | bytes[i]!;
    this.#pointer = at & this.contents.length - 1;
    const data = bytes.subarray(this.addressBytes);
    const page = this.#pointer & ~(this.page - 1);
    for (const byte of data) {
      this.contents[this.#pointer] = byte;
      this.#pointer = page | (this.#pointer + 1) & this.page - 1;
    }
    if (data.length > 0) this.onWrite(page, this.page);
  }

  read(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = this.contents[this.#pointer]!;
      this.#pointer = this.#pointer + 1 & this.contents.length - 1;
    }
  }

  [Symbol.dispose](): void {
    this.onEnd();
  }
}

/** A chip of 256 registers: the first byte that is written says which; each further byte, written or read, is the next one's. */
export class Registers implements Chip {
  #pointer = 0;

  /** @param values 256 bytes */
  constructor(readonly values: Uint8Array<ArrayBuffer>) {}

  write(bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      if (i === 0) this.#pointer = byte;
      else this.values[this.#next()] = byte;
    });
  }

  read(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.values[this.#next()]!;
  }

  #next(): number {
    const register = this.#pointer;
    this.#pointer = register + 1 & 0xff;
    return register;
  }

  [Symbol.dispose](): void {}
}

/** Registers of a DS1307: seconds to year in BCD, control, and memory. */
const RTC_REGISTERS = 64;
const CONTROL = 7;
/** Of the register of seconds: the clock is halted. */
const CLOCK_HALT = 0x80;
/** Of the register of hours: they count from 1 to 12, and are in the afternoon. */
const TWELVE_HOURS = 0x40;
const PM = 0x20;

function toBcd(value: number): number {
  return Math.floor(value / 10) << 4 | value % 10;
}

/** @param mask The bits that are the number's */
function fromBcd(bcd: number, mask: number): number {
  return (bcd & mask & 0x0f) + 10 * (bcd >> 4 & mask >> 4);
}

/** The register of hours of a DS1307. @param hours 0 to 23 */
function encodeHours(hours: number, isTwelve: boolean): number {
  if (!isTwelve) return toBcd(hours);
  return TWELVE_HOURS | (hours < 12 ? 0 : PM) | toBcd(hours % 12 || 12);
}

function decodeHours(register: number): number {
  if ((register & TWELVE_HOURS) === 0) return fromBcd(register, 0x3f);
  return fromBcd(register, 0x1f) % 12 + ((register & PM) === 0 ? 0 : 12);
}

/** A clock, as DS1307: what it tells is the host's time in UTC, from which it differs as it was set. */
export class Rtc implements Chip {
  /** Control and memory; the rest is made when it is read. */
  readonly #memory = new Uint8Array(RTC_REGISTERS);
  #pointer = 0;
  /** Milliseconds that it is ahead of the host. */
  #ahead = 0;
  /** When it was halted, in its own milliseconds; null while it goes. */
  #halted: number | null = null;
  /** Its hours are those of a clock of 12 hours. */
  #isTwelve = false;

  /** @param now The host's time in milliseconds since 1970 */
  constructor(readonly now: () => number = Date.now) {}

  get #time(): number {
    return this.#halted ?? this.now() + this.#ahead;
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const time = this.#registers();
    this.#pointer = bytes[0]! % RTC_REGISTERS;
    let isSet = false;
    for (const byte of bytes.subarray(1)) {
      if (this.#pointer < CONTROL) {
        time[this.#pointer] = byte;
        isSet = true;
      } else this.#memory[this.#pointer] = byte;
      this.#pointer = (this.#pointer + 1) % RTC_REGISTERS;
    }
    if (isSet) this.#set(time);
  }

  #set(time: Uint8Array): void {
    const [seconds, minutes, hours, , date, month, year] = time as unknown as number[];
    const ms = Date.UTC(
      2000 + fromBcd(year!, 0xff),
      fromBcd(month!, 0x1f) - 1,
      fromBcd(date!, 0x3f),
      decodeHours(hours!),
      fromBcd(minutes!, 0x7f),
      fromBcd(seconds!, 0x7f),
    );
    this.#isTwelve = (hours! & TWELVE_HOURS) !== 0;
    this.#ahead = ms - this.now();
    this.#halted = (seconds! & CLOCK_HALT) === 0 ? null : ms;
  }

  /** All of them at one moment. */
  #registers(): Uint8Array<ArrayBuffer> {
    const bytes = this.#memory.slice();
    const time = new Date(this.#time);
    bytes.set([
      toBcd(time.getUTCSeconds()) | (this.#halted === null ? 0 : CLOCK_HALT),
      toBcd(time.getUTCMinutes()),
      encodeHours(time.getUTCHours(), this.#isTwelve),
      time.getUTCDay() + 1,
      toBcd(time.getUTCDate()),
      toBcd(time.getUTCMonth() + 1),
      toBcd(time.getUTCFullYear() % 100),
    ]);
    return bytes;
  }

  read(bytes: Uint8Array): void {
    const registers = this.#registers();
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = registers[this.#pointer]!;
      this.#pointer = (this.#pointer + 1) % RTC_REGISTERS;
    }
  }

  [Symbol.dispose](): void {}
}

/** A bus of simulated chips. */
export class SimulatedBus implements Bus {
  readonly name = "the simulated chips";

  /** @param chips By their addresses of 7 bits */
  constructor(readonly chips: ReadonlyMap<number, Chip>) {}

  transfer(messages: readonly Message[], onTransferred: OnTransferred): void {
    let done = 0;
    let fault: Error | undefined;
    try {
      for (const message of messages) {
        if (!this.#do(message)) break;
        done++;
      }
    } catch (error) {
      fault = error as Error;
    }
    onTransferred(done, fault);
  }

  /** @returns false when nobody acknowledges the address @throws {Error} when what the chip keeps cannot be written */
  #do({ address, isTenBit, isRead, data }: Message): boolean {
    const chip = isTenBit ? undefined : this.chips.get(address);
    if (isRead) chip?.read(data);
    else chip?.write(data);
    return chip !== undefined;
  }

  [Symbol.dispose](): void {
    for (const chip of this.chips.values()) chip[Symbol.dispose]();
  }
}
