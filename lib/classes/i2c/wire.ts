// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C adapter device's structures (virtio 1.2, §5.16; Linux's `<linux/virtio_i2c.h>`): the headers of a request, and how an
 * address is written. All fields are little endian.
 *
 * @module
 */

/** The queue of requests. */
export const VQ_REQUEST = 0;

/** Feature bit: transfers of no bytes. Linux's driver demands it. */
export const F_ZERO_LENGTH_REQUEST = 0;

/** Flag of a request: when it fails, the next one must fail too. */
export const FLAGS_FAIL_NEXT = 1;
/** Flag of a request: it reads. */
export const FLAGS_M_RD = 2;

/** Status of a request. */
export const MSG_OK = 0;
/** @see {@linkcode MSG_OK} */
export const MSG_ERR = 1;

/** Before a request's data: u16 address, 2 bytes padding, u32 flags. */
export const OUT_HDR_SIZE = 8;
/** After it: u8 status. */
export const IN_HDR_SIZE = 1;

/** What stands before a request's data. */
export interface OutHeader {
  /** As it is written, see {@linkcode decodeAddress}. */
  readonly addr: number;
  readonly flags: number;
}

/** Reads the header of {@linkcode OUT_HDR_SIZE} bytes; nothing is checked. */
export function decodeOutHeader(view: DataView): OutHeader {
  return { addr: view.getUint16(0, true), flags: view.getUint32(4, true) };
}

/** Writes a header. */
export function encodeOutHeader({ addr, flags }: OutHeader): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(OUT_HDR_SIZE));
  view.setUint16(0, addr, true);
  view.setUint32(4, flags, true);
  return new Uint8Array(view.buffer);
}

/** The address of a chip. */
export interface Address {
  /** 7 bits, or 10. */
  readonly address: number;
  readonly isTenBit: boolean;
}

/** Of an address of 10 bits: what its first byte begins with, 11110; and the bits that say so. */
const TEN_BIT = 0xf0;
const TEN_BIT_MASK = 0xf8;

/**
 * Reads an address (§5.16.6.1): one of 7 bits lies in bits 1 to 7; of one of 10 bits, bits 8 and 9 lie in bits 1 and 2, and bits
 * 0 to 7 in the second byte.
 *
 * @returns null for what no address is
 */
export function decodeAddress(addr: number): Address | null {
  const [first, second] = [addr & 0xff, addr >> 8];
  if ((first & 1) !== 0) return null;
  if ((first & TEN_BIT_MASK) === TEN_BIT) {
    return { address: (first & 6) << 7 | second, isTenBit: true };
  }
  return second === 0 ? { address: first >> 1, isTenBit: false } : null;
}

/** Writes an address. */
export function encodeAddress({ address, isTenBit }: Address): number {
  return isTenBit ? TEN_BIT | address >> 7 & 6 | (address & 0xff) << 8 : address << 1;
}
