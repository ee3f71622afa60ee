// SPDX-License-Identifier: Apache-2.0
/**
 * Frames as `candump -L` writes them, a line each: `(1436509052.249713) can0 123#1122`.
 *
 * After the `#` come the data in hexadecimal; of a remote transmission request, `R` and the number of bytes that it asks for,
 * 0 if it is left out; of an FD frame, another `#`, a digit of flags and the data. Identifiers of 29 bits have 8 digits.
 *
 * @module
 */
import { type CanFrame, maxId, maxLength } from "./wire.ts";

/** A line of a log. */
export interface LoggedFrame {
  /** Seconds, since 1970 or since anything else. */
  readonly seconds: number;
  readonly frame: CanFrame;
}

const LINE = /^\((\d+\.\d+)\)\s+\S+\s+([0-9A-F]{3}|[0-9A-F]{8})#(\S*)(\s+[RT])?$/i;
const RTR = /^R([0-8]?)(_[9A-F])?$/i;
const FD = /^#([0-9A-F])((?:[0-9A-F]{2}){0,64})$/i;
const CLASSIC = /^((?:[0-9A-F]{2}){0,8})(_[9A-F])?$/i;
/** Of an identifier with 8 digits: the frame is an error frame. */
const ERROR_FLAG = 0x2000_0000;

/**
 * Reads a line.
 *
 * @returns `"error frame"` for one, which is about a controller's state; null for a line without a frame
 */
export function parseLine(line: string): LoggedFrame | "error frame" | null {
  const [, seconds, idText, rest] = LINE.exec(line) ?? [];
  if (idText === undefined || rest === undefined) return null;
  const isExtended = idText.length === 8;
  const id = parseInt(idText, 16);
  if (isExtended && (id & ERROR_FLAG) !== 0) return "error frame";
  const body = parseBody(rest);
  if (body === null || id > maxId(isExtended)) return null;
  return { seconds: Number(seconds), frame: { id, isExtended, ...body } };
}

type Body = Omit<CanFrame, "id" | "isExtended">;

function parseBody(text: string): Body | null {
  const rtr = RTR.exec(text);
  if (rtr !== null) {
    const length = Number(rtr[1] || 0);
    return { isFd: false, isRtr: true, length, data: new Uint8Array(0) };
  }
  const fd = FD.exec(text);
  const hex = fd?.[2] ?? CLASSIC.exec(text)?.[1];
  if (hex === undefined) return null;
  const data = Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  const isFd = fd !== null;
  return data.length > maxLength(isFd) ? null : { isFd, isRtr: false, length: data.length, data };
}

/**
 * Writes a line, without its end.
 *
 * @param seconds Since 1970
 * @param name Of the interface
 */
export function formatLine({ seconds, frame }: LoggedFrame, name: string): string {
  const { id, isExtended, isFd, isRtr, length, data } = frame;
  const idText = hex(id, isExtended ? 8 : 3);
  const dataText = Array.from(data, (byte) => hex(byte, 2)).join("");
  // Of the flags of FD frames nothing is known: neither bit rate nor error state are told by virtio.
  const body = isRtr ? `R${length === 0 ? "" : length}` : isFd ? `#0${dataText}` : dataText;
  return `(${seconds.toFixed(6).padStart(17, "0")}) ${name} ${idText}#${body}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}
