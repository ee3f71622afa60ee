// SPDX-License-Identifier: Apache-2.0
/**
 * Structures and codes of the input device (virtio 1.2, §5.8), little endian.
 *
 * @module
 */

/**
 * struct virtio_input_config: u8 select, subsel, size; 5 bytes reserved; 128 bytes that are what the driver selected. The
 * driver writes select and subsel, then reads size and the rest.
 */
export const INPUT_CONFIG_SIZE = 136;
/** Offset of what was selected. */
export const PAYLOAD_AT = 8;
/** The most bytes of what is selected. */
export const MOST_PAYLOAD = INPUT_CONFIG_SIZE - PAYLOAD_AT;

/** Queue of events to the driver. */
export const VQ_EVENT = 0;
/** Queue of the driver's events: LEDs, repeat, force feedback. */
export const VQ_STATUS = 1;

/** Select: nothing. */
export const CFG_UNSET = 0x00;
/** Select: the device's name. */
export const CFG_ID_NAME = 0x01;
/** Select: its serial number. */
export const CFG_ID_SERIAL = 0x02;
/** Select: {@linkcode DeviceIds}. */
export const CFG_ID_DEVIDS = 0x03;
/** Select: a bitmap of INPUT_PROP_*. */
export const CFG_PROP_BITS = 0x10;
/** Select: a bitmap of the codes of the event type in subsel. */
export const CFG_EV_BITS = 0x11;
/** Select: {@linkcode AbsInfo} of the axis in subsel. */
export const CFG_ABS_INFO = 0x12;

/** Event types of `<linux/input-event-codes.h>`, and the numbers of codes that each has; of switches, that it may have. */
export const EVENT_TYPES = {
  EV_SYN: [0x00, 0x10],
  EV_KEY: [0x01, 0x300],
  EV_REL: [0x02, 0x10],
  EV_ABS: [0x03, 0x40],
  EV_MSC: [0x04, 0x08],
  EV_SW: [0x05, 0x20],
  EV_LED: [0x11, 0x10],
  EV_SND: [0x12, 0x08],
  EV_REP: [0x14, 0x02],
  EV_FF: [0x15, 0x80],
} as const;

/** The event that ends a packet: type EV_SYN, code SYN_REPORT. */
export const SYN_REPORT = 0;

/** struct virtio_input_event: u16 type, u16 code, s32 value (a u32 in the standard). */
export const EVENT_SIZE = 8;

/** An event. */
export interface InputEvent {
  readonly type: number;
  readonly code: number;
  /** Signed, 32 bits. */
  readonly value: number;
}

/** Whether an event ends a packet. */
export function endsPacket({ type, code }: InputEvent): boolean {
  return type === 0 && code === SYN_REPORT;
}

/** Writes an event to the beginning of a buffer. */
export function encodeEvent(view: DataView, { type, code, value }: InputEvent): void {
  view.setUint16(0, type, true);
  view.setUint16(2, code, true);
  view.setInt32(4, value, true);
}

/** Reads an event. @returns null when it is too short to be one */
export function decodeEvent(view: DataView): InputEvent | null {
  if (view.byteLength < EVENT_SIZE) return null;
  const [type, code] = [view.getUint16(0, true), view.getUint16(2, true)];
  return { type, code, value: view.getInt32(4, true) };
}

/** struct virtio_input_devids. */
export interface DeviceIds {
  readonly bustype: number;
  readonly vendor: number;
  readonly product: number;
  readonly version: number;
}

/** Bytes of {@linkcode DeviceIds}. */
export const DEVIDS_SIZE = 8;

/** Writes what CFG_ID_DEVIDS selects. */
export function encodeDeviceIds(
  { bustype, vendor, product, version }: DeviceIds,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint16Array.of(bustype, vendor, product, version).buffer);
}

/** Reads what CFG_ID_DEVIDS selects. @returns null when it is too short */
export function decodeDeviceIds(view: DataView): DeviceIds | null {
  if (view.byteLength < DEVIDS_SIZE) return null;
  const word = (at: number): number => view.getUint16(at, true);
  return { bustype: word(0), vendor: word(2), product: word(4), version: word(6) };
}

/** struct virtio_input_absinfo: five words, the standard's order. */
export interface AbsInfo {
  readonly min: number;
  readonly max: number;
  readonly fuzz: number;
  readonly flat: number;
  readonly res: number;
}

/** Bytes of {@linkcode AbsInfo}. */
export const ABSINFO_SIZE = 20;

/** Writes what CFG_ABS_INFO selects. */
export function encodeAbsInfo(info: AbsInfo): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(ABSINFO_SIZE);
  const view = new DataView(bytes.buffer);
  const { min, max, fuzz, flat, res } = info;
  [min, max, fuzz, flat, res].forEach((value, i) => view.setInt32(4 * i, value, true));
  return bytes;
}

/** Reads what CFG_ABS_INFO selects. @returns null when it is too short */
export function decodeAbsInfo(view: DataView): AbsInfo | null {
  if (view.byteLength < ABSINFO_SIZE) return null;
  const word = (at: number): number => view.getInt32(at, true);
  return { min: word(0), max: word(4), fuzz: word(8), flat: word(12), res: word(16) };
}

/** A bitmap of numbers, no longer than it must be. */
export function encodeBits(numbers: Iterable<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MOST_PAYLOAD);
  let length = 0;
  for (const n of numbers) {
    bytes[n >> 3]! |= 1 << (n & 7);
    length = Math.max(length, (n >> 3) + 1);
  }
  return bytes.slice(0, length);
}

/** The numbers in a bitmap. */
export function decodeBits(bytes: Uint8Array): number[] {
  return [...bytes].flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit & 1) !== 0).map((bit) => 8 * i + bit)
  );
}
