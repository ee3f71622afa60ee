// SPDX-License-Identifier: Apache-2.0
/**
 * Frames as SocketCAN has them: `struct can_frame` and `struct canfd_frame` of `<linux/can.h>`, in the host's byte order,
 * which is little endian on every machine that Deno runs on.
 *
 * @module
 */
import { type CanFrame, MAX_CLASSIC_DATA, MAX_DLEN } from "./wire.ts";

/** Bytes of a classic frame: u32 identifier and flags, u8 length, 3 bytes, 8 bytes of data. */
export const CLASSIC_SIZE = 16;
/** Bytes of an FD frame: u32 identifier and flags, u8 length, u8 FD flags, 2 bytes, 64 bytes of data. */
export const FD_SIZE = 72;

/** Flag of the identifier: it has 29 bits. */
export const CAN_EFF_FLAG = 0x8000_0000;
/** Flag of the identifier: a remote transmission request. */
export const CAN_RTR_FLAG = 0x4000_0000;
/** Flag of the identifier: an error frame, about the controller's state. */
export const CAN_ERR_FLAG = 0x2000_0000;
/** In an error frame: the controller is bus-off. */
export const CAN_ERR_BUSOFF = 0x40;
/** FD flag: the frame is an FD frame, whatever its size. */
export const CANFD_FDF = 0x04;

const CAN_EFF_MASK = 0x1fff_ffff;
const CAN_SFF_MASK = 0x7ff;
const DATA = 8;
const NO_DATA = new Uint8Array(0);

/** The identifier with its flags, as filters match it: unsigned. */
export function flaggedId({ id, isExtended, isRtr }: CanFrame): number {
  return id + (isExtended ? CAN_EFF_FLAG : 0) + (isRtr ? CAN_RTR_FLAG : 0);
}

/** Writes a frame. */
export function encodeSocketFrame(frame: CanFrame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(frame.isFd ? FD_SIZE : CLASSIC_SIZE);
  new DataView(bytes.buffer).setUint32(0, flaggedId(frame), true);
  bytes[4] = frame.length;
  if (frame.isFd) bytes[5] = CANFD_FDF;
  bytes.set(frame.data, DATA);
  return bytes;
}

/**
 * Reads a frame.
 *
 * @param bytes What was received, by the size of its kind
 * @returns a copy; `"bus-off"` for an error frame of that state; null for other error frames, and malformed ones
 */
export function decodeSocketFrame(bytes: Uint8Array<ArrayBuffer>): CanFrame | "bus-off" | null {
  const isFd = bytes.length === FD_SIZE;
  if (!isFd && bytes.length !== CLASSIC_SIZE) return null;
  const flagged = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  if (flagged & CAN_ERR_FLAG) return flagged & CAN_ERR_BUSOFF ? "bus-off" : null;
  const length = bytes[4]!;
  if (length > (isFd ? MAX_DLEN : MAX_CLASSIC_DATA)) return null;
  const isExtended = (flagged & CAN_EFF_FLAG) !== 0;
  const isRtr = (flagged & CAN_RTR_FLAG) !== 0;
  if (isRtr && isFd) return null;
  const id = flagged & (isExtended ? CAN_EFF_MASK : CAN_SFF_MASK);
  const data = isRtr ? NO_DATA : bytes.slice(DATA, DATA + length);
  return { id, isExtended, isFd, isRtr, length, data };
}
