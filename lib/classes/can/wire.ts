// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN device's structures (virtio 1.4 draft, "CAN Device"; Linux's `<linux/virtio_can.h>`): frames, control requests and
 * the config space. All fields are little endian.
 *
 * @module
 */

/** Queues, by index. */
export const VQ_TX = 0;
/** @see {@linkcode VQ_TX} */
export const VQ_RX = 1;
/** @see {@linkcode VQ_TX} */
export const VQ_CONTROL = 2;

/** Feature bit: frames of classic CAN. */
export const F_CAN_CLASSIC = 0;
/** Feature bit: frames of CAN FD. */
export const F_CAN_FD = 1;
/** Feature bit: remote transmission requests. */
export const F_RTR_FRAMES = 2;
/** Feature bit: a frame's result is returned when it was sent on the bus, not when it was accepted. */
export const F_LATE_TX_ACK = 3;

/** Config space: u16 status. */
export const CAN_CONFIG_SIZE = 2;
/** Bit of the status: the controller is bus-off. */
export const S_CTRL_BUSOFF = 1;

/** Type of a frame that the driver sends. */
export const TX = 0x0001;
/** Type of a frame that the device received. */
export const RX = 0x0101;
/** Type of the control request that connects the controller to the bus. */
export const SET_CTRL_MODE_START = 0x0201;
/** Type of the control request that takes it from the bus. */
export const SET_CTRL_MODE_STOP = 0x0202;

/** A control request: u16 type. */
export const CONTROL_SIZE = 2;
/** The answer to a control request, and to a frame to send: u8. */
export const RESULT_SIZE = 1;
/** The answers. */
export const RESULT_OK = 0;
/** @see {@linkcode RESULT_OK} */
export const RESULT_NOT_OK = 1;

/**
 * What is before a frame's data: u16 type, u16 length of the data in bytes, u8 DLC of a classic frame (reserved), u8
 * padding, u16 priority of a CAN XL frame (reserved), u32 flags, u32 identifier.
 */
export const FRAME_HEADER_SIZE = 16;
/** Most bytes of data in a classic frame. */
export const MAX_CLASSIC_DATA = 8;
/** Most bytes of data in an FD frame. */
export const MAX_DLEN = 64;
/** The largest frame, with its header. */
export const MAX_FRAME_SIZE: number = FRAME_HEADER_SIZE + MAX_DLEN;

/** Flag of a frame: its identifier has 29 bits instead of 11. */
export const FLAGS_EXTENDED = 0x8000;
/** Flag of a frame: it is an FD frame. */
export const FLAGS_FD = 0x4000;
/** Flag of a frame: it is a remote transmission request. */
export const FLAGS_RTR = 0x2000;

const KNOWN_FLAGS = FLAGS_EXTENDED | FLAGS_FD | FLAGS_RTR;

/** What stands before a frame's data, as it was sent. */
export interface FrameHeader {
  /** {@linkcode TX} or {@linkcode RX}. */
  readonly type: number;
  /** Bytes of data; of a remote transmission request, those it asks for. */
  readonly length: number;
  /** Of the flags, {@linkcode FLAGS_EXTENDED} and so on. */
  readonly flags: number;
  /** The identifier, without flags. */
  readonly id: number;
}

/** Reads what stands before a frame's data; nothing is checked. */
export function decodeFrameHeader(view: DataView, at: number): FrameHeader {
  return {
    type: view.getUint16(at, true),
    length: view.getUint16(at + 2, true),
    flags: view.getUint32(at + 8, true),
    id: view.getUint32(at + 12, true),
  };
}

/** Writes what stands before a frame's data. */
export function encodeFrameHeader(view: DataView, at: number, header: FrameHeader): void {
  view.setUint16(at, header.type, true);
  view.setUint16(at + 2, header.length, true);
  view.setUint32(at + 4, 0, true); // DLC, padding, priority
  view.setUint32(at + 8, header.flags, true);
  view.setUint32(at + 12, header.id, true);
}

/** A frame on a CAN bus. */
export interface CanFrame {
  /** 11 bits, or 29 of an extended frame. */
  readonly id: number;
  readonly isExtended: boolean;
  /** An FD frame, with up to 64 bytes of data. */
  readonly isFd: boolean;
  /** A remote transmission request: it has no data. Never of an FD frame. */
  readonly isRtr: boolean;
  /** Bytes of data; of a remote transmission request, those it asks for. */
  readonly length: number;
  /** `length` bytes; none in a remote transmission request. */
  readonly data: Uint8Array<ArrayBuffer>;
}

const NO_DATA = new Uint8Array(0);

/** The largest identifier of a frame. */
export function maxId(isExtended: boolean): number {
  return isExtended ? 0x1fff_ffff : 0x7ff;
}

/** The most bytes of data in a frame. */
export function maxLength(isFd: boolean): number {
  return isFd ? MAX_DLEN : MAX_CLASSIC_DATA;
}

/**
 * Reads a frame, and checks it.
 *
 * @param bytes The frame as it lies in a queue: the header, then the data. What comes after that is ignored
 * @param type The type that it must have
 * @returns a copy; null for what no frame can be: cut short, of another type, with unknown flags, an identifier or a length
 * beyond its kind's, or a remote transmission request of an FD frame
 */
export function decodeFrame(bytes: Uint8Array<ArrayBuffer>, type: number): CanFrame | null {
  if (bytes.length < FRAME_HEADER_SIZE) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = decodeFrameHeader(view, 0);
  const { id, length, flags } = header;
  const isExtended = (flags & FLAGS_EXTENDED) !== 0;
  const isFd = (flags & FLAGS_FD) !== 0;
  const isRtr = (flags & FLAGS_RTR) !== 0;
  if (header.type !== type || (flags & ~KNOWN_FLAGS) !== 0 || isFd && isRtr) return null;
  if (id > maxId(isExtended) || length > maxLength(isFd)) return null;
  if (isRtr) return { id, isExtended, isFd, isRtr, length, data: NO_DATA };
  if (bytes.length < FRAME_HEADER_SIZE + length) return null;
  const data = bytes.slice(FRAME_HEADER_SIZE, FRAME_HEADER_SIZE + length);
  return { id, isExtended, isFd, isRtr, length, data };
}

/**
 * Writes a frame as it lies in a queue. A remote transmission request has zeros for its data: Linux's driver sends it so, and
 * takes a shorter one for cut short.
 *
 * @param bytes Receives it; at least {@linkcode MAX_FRAME_SIZE} bytes
 * @returns how many bytes it has
 */
export function encodeFrame(
  bytes: Uint8Array<ArrayBuffer>,
  type: number,
  { id, isExtended, isFd, isRtr, length, data }: CanFrame,
): number {
  const flags = (isExtended ? FLAGS_EXTENDED : 0) | (isFd ? FLAGS_FD : 0) | (isRtr ? FLAGS_RTR : 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  encodeFrameHeader(view, 0, { type, length, flags, id });
  if (isRtr) bytes.fill(0, FRAME_HEADER_SIZE, FRAME_HEADER_SIZE + length);
  else bytes.set(data, FRAME_HEADER_SIZE);
  return FRAME_HEADER_SIZE + length;
}
