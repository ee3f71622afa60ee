// SPDX-License-Identifier: Apache-2.0
/**
 * The protocol between viola and the store process, over a Unix stream socket: one request, then one reply, each sent and
 * received whole. All numbers are little-endian.
 *
 * | request, 8 bytes and the name | | reply, 8 bytes and the text | |
 * | --- | --- | --- | --- |
 * | u32 | magic, "VDS1" | u32 | magic, "VDS1" |
 * | u8 | what to do, see {@linkcode Verb} | u8 | the result, see {@linkcode Verdict} |
 * | u8 | 0 | u8 | 0 |
 * | u16 | bytes of the name, 1 to 255 | u16 | bytes of the text, 0 to 255 |
 * | … | a loopback device's name, UTF-8 | … | the reason, UTF-8, for log lines |
 *
 * `put` comes with 1 to 16 descriptors, a reply to `take` with as many as were put, every other message with none.
 *
 * @module
 */

/** The most descriptors under one name, and so with one message. */
export const MAX_DESCRIPTORS = 16;
/** The most bytes of a message. */
export const MAX_MESSAGE: number = 8 + 255;

const MAGIC = 0x31534456; // "VDS1"
const HEADER = 8;
const MAX_TEXT = 255;

/**
 * The kinds of requests:
 *
 * - `take`: get copies of the descriptors held under the name, and claim the name
 * - `put`: hold these descriptors under the name in place of earlier ones, and claim the name
 * - `remove`: close the descriptors held under the name
 * - `has`: whether descriptors are held under the name
 *
 * A claim lasts until its connection ends, so that no two processes serve one device. `remove` and `has` need no claim.
 */
export type Verb = "take" | "put" | "remove" | "has";
const VERBS: readonly Verb[] = ["take", "put", "remove", "has"];

/** A request. */
export interface Request {
  readonly verb: Verb;
  /** A loopback device's name. */
  readonly name: string;
}

/**
 * The result of a request:
 *
 * - `done`
 * - `nothing`: nothing is held under the name
 * - `in use`: another connection has claimed the name
 * - `refused`: the text gives the reason
 * - `exhausted`: the store process has no free descriptor
 */
export type Verdict = "done" | "nothing" | "in use" | "refused" | "exhausted";
const VERDICTS: readonly Verdict[] = ["done", "nothing", "in use", "refused", "exhausted"];

/** A reply. */
export interface Reply {
  readonly verdict: Verdict;
  /** The reason, for log lines; may be empty. */
  readonly text: string;
}

/** @throws {RangeError} when the name is empty, or has more than 255 bytes */
export function encodeRequest({ verb, name }: Request): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length >= 1 && bytes.length <= MAX_TEXT) return encode(VERBS.indexOf(verb), bytes);
  throw new RangeError(
    `Cannot use the name "${name}" in a descriptor store: it has ${bytes.length} bytes, expected 1 to ${MAX_TEXT}`,
  );
}

/** @throws {TypeError} naming the field, its value, and what was expected */
export function decodeRequest(bytes: Uint8Array): Request {
  const { kind, text: name } = decode("request", bytes);
  const verb = VERBS[kind];
  if (verb === undefined) throw malformed("request", `verb ${kind}`, `0 to ${VERBS.length - 1}`);
  if (name === "") throw malformed("request", "a name of 0 bytes", "1 to 255");
  return { verb, name };
}

/** Encodes a reply; a text that is too long is truncated. */
export function encodeReply({ verdict, text }: Reply): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MAX_TEXT);
  const { written } = new TextEncoder().encodeInto(text, bytes);
  return encode(VERDICTS.indexOf(verdict), bytes.subarray(0, written));
}

/** @throws {TypeError} naming the field, its value, and what was expected */
export function decodeReply(bytes: Uint8Array): Reply {
  const { kind, text } = decode("reply", bytes);
  const verdict = VERDICTS[kind];
  if (verdict !== undefined) return { verdict, text };
  throw malformed("reply", `verdict ${kind}`, `0 to ${VERDICTS.length - 1}`);
}

function encode(kind: number, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER + text.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, kind);
  view.setUint16(6, text.length, true);
  bytes.set(text, HEADER);
  return bytes;
}

function decode(what: string, bytes: Uint8Array): { kind: number; text: string } {
  if (bytes.length < HEADER) throw malformed(what, `${bytes.length} bytes`, `${HEADER} or more`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const magic = view.getUint32(0, true);
  if (magic !== MAGIC) throw malformed(what, `magic ${hex(magic)}`, hex(MAGIC));
  const reserved = view.getUint8(5);
  if (reserved !== 0) throw malformed(what, `${reserved} in byte 5`, "0");
  const length = view.getUint16(6, true);
  const size = HEADER + length;
  if (bytes.length !== size) {
    throw malformed(what, `${bytes.length} bytes`, `${size} by its length`);
  }
  if (length > MAX_TEXT) throw malformed(what, `a text of ${length} bytes`, `${MAX_TEXT} at most`);
  return { kind: view.getUint8(4), text: textOf(what, bytes.subarray(HEADER)) };
}

function textOf(what: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(what, "a text that is not UTF-8", "UTF-8");
  }
}

function malformed(what: string, found: string, expected: string): TypeError {
  return new TypeError(`Cannot read a descriptor store's ${what}: ${found}, expected ${expected}`);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
