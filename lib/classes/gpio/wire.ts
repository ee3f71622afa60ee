// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device's structures (virtio 1.2, §5.18; Linux's `<linux/virtio_gpio.h>`): requests, interrupts and the config space.
 * All fields are little endian.
 *
 * @module
 */

/** Queues, by index. */
export const VQ_REQUEST = 0;
/** @see {@linkcode VQ_REQUEST} */
export const VQ_EVENT = 1;

/** Feature bit: lines can interrupt, and there is an event queue. */
export const F_IRQ = 0;

/** struct virtio_gpio_config: u16 ngpio, 2 bytes padding, u32 gpio_names_size. */
export const GPIO_CONFIG_SIZE = 8;

/** Types of a request. */
export const MSG_GET_NAMES = 0x0001;
/** @see {@linkcode MSG_GET_NAMES} */
export const MSG_GET_DIRECTION = 0x0002;
/** @see {@linkcode MSG_GET_NAMES} */
export const MSG_SET_DIRECTION = 0x0003;
/** @see {@linkcode MSG_GET_NAMES} */
export const MSG_GET_VALUE = 0x0004;
/** @see {@linkcode MSG_GET_NAMES} */
export const MSG_SET_VALUE = 0x0005;
/** @see {@linkcode MSG_GET_NAMES} */
export const MSG_IRQ_TYPE = 0x0006;

/** Status of a response. */
export const STATUS_OK = 0;
/** @see {@linkcode STATUS_OK} */
export const STATUS_ERR = 1;

/** Directions of a line: it is not in use, an output, an input. */
export const DIRECTION_NONE = 0;
/** @see {@linkcode DIRECTION_NONE} */
export const DIRECTION_OUT = 1;
/** @see {@linkcode DIRECTION_NONE} */
export const DIRECTION_IN = 2;

/** When a line interrupts: never, at edges, at a level. */
export const IRQ_TYPE_NONE = 0;
/** @see {@linkcode IRQ_TYPE_NONE} */
export const IRQ_TYPE_EDGE_RISING = 1;
/** @see {@linkcode IRQ_TYPE_NONE} */
export const IRQ_TYPE_EDGE_FALLING = 2;
/** @see {@linkcode IRQ_TYPE_NONE} */
export const IRQ_TYPE_EDGE_BOTH = 3;
/** @see {@linkcode IRQ_TYPE_NONE} */
export const IRQ_TYPE_LEVEL_HIGH = 4;
/** @see {@linkcode IRQ_TYPE_NONE} */
export const IRQ_TYPE_LEVEL_LOW = 8;

/** Why an event buffer comes back: its line's interrupts are disabled, or there was one. */
export const IRQ_STATUS_INVALID = 0;
/** @see {@linkcode IRQ_STATUS_INVALID} */
export const IRQ_STATUS_VALID = 1;

/** A request: u16 type, u16 gpio, u32 value. */
export const REQUEST_SIZE = 8;
/** A response: u8 status, u8 value. That to GET_NAMES has the names in place of the value. */
export const RESPONSE_SIZE = 2;
/** What the driver puts into an event buffer: u16 gpio. */
export const IRQ_REQUEST_SIZE = 2;
/** What the device puts there: u8 status. */
export const IRQ_RESPONSE_SIZE = 1;

/** A request of the driver. */
export interface GpioRequest {
  readonly type: number;
  /** The line's number. */
  readonly gpio: number;
  readonly value: number;
}

/** Reads a request of {@linkcode REQUEST_SIZE} bytes; nothing is checked. */
export function decodeRequest(view: DataView): GpioRequest {
  return {
    type: view.getUint16(0, true),
    gpio: view.getUint16(2, true),
    value: view.getUint32(4, true),
  };
}

/** Writes a request. */
export function encodeRequest({ type, gpio, value }: GpioRequest): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(REQUEST_SIZE));
  view.setUint16(0, type, true);
  view.setUint16(2, gpio, true);
  view.setUint32(4, value, true);
  return new Uint8Array(view.buffer);
}

/** Writes the config space. @param namesSize Bytes of the block of names, 0 without names */
export function encodeConfig(ngpio: number, namesSize: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(GPIO_CONFIG_SIZE));
  view.setUint16(0, ngpio, true);
  view.setUint32(4, namesSize, true);
  return new Uint8Array(view.buffer);
}

/** The most characters of a line's name: what Linux has room for. */
export const MAX_NAME_LENGTH = 31;

/** Whether a line can have this name: printable ASCII. */
export function isLineName(name: string): boolean {
  return /^[ -~]+$/.test(name) && name.length <= MAX_NAME_LENGTH;
}

/**
 * Writes the block of names, each with a zero byte at its end.
 *
 * @param names By line; empty for a line without one
 * @returns no bytes at all when no line has a name
 */
export function encodeNames(names: readonly string[]): Uint8Array<ArrayBuffer> {
  if (names.every((name) => name === "")) return new Uint8Array(0);
  return new TextEncoder().encode(names.map((name) => `${name}\0`).join(""));
}

/**
 * Reads a block of names as Linux does: its last byte counts as a zero.
 *
 * @returns names by line; null when there are too few
 */
export function decodeNames(bytes: Uint8Array, ngpio: number): string[] | null {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, -1));
  const names = bytes.length === 0 ? [] : text.split("\0");
  return names.length < ngpio ? null : names.slice(0, ngpio);
}
