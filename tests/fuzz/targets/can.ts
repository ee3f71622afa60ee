// SPDX-License-Identifier: Apache-2.0
/**
 * CAN frames as a driver, SocketCAN and candump's logs have them: whatever is read as a frame is a possible one, and comes
 * back the same when it is written and read again.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { formatLine, parseLine } from "../../../lib/classes/can/candump.ts";
import { decodeSocketFrame, encodeSocketFrame } from "../../../lib/classes/can/socket_frame.ts";
import {
  type CanFrame,
  decodeFrame,
  encodeFrame,
  encodeFrameHeader,
  MAX_FRAME_SIZE,
  maxId,
  maxLength,
  TX,
} from "../../../lib/classes/can/wire.ts";
import { ANY_U32, anyBytes, mostly, target, type Verdict } from "../target.ts";

/** Judges what was read as a frame: each writer writes it, and its reader reads the same. */
function judge(frame: CanFrame | null): Verdict {
  if (frame === null) return "refused";
  const { id, isExtended, isFd, isRtr, length, data } = frame;
  assert(id <= maxId(isExtended) && length <= maxLength(isFd) && !(isFd && isRtr));
  assertEquals(data.length, isRtr ? 0 : length);
  const bytes = new Uint8Array(MAX_FRAME_SIZE);
  assertEquals(decodeFrame(bytes.slice(0, encodeFrame(bytes, TX, frame)), TX), frame);
  assertEquals(decodeSocketFrame(encodeSocketFrame(frame)), frame);
  assertEquals(parseLine(formatLine({ seconds: 1.5, frame }, "can0")), { seconds: 1.5, frame });
  return "accepted";
}

/** A frame in a queue, and what may stand there in its place. */
const queued = fc.record({
  type: mostly(fc.constant(TX), fc.nat({ max: 0xffff })),
  length: mostly(fc.nat({ max: 8 }), fc.nat({ max: 0xffff })),
  flags: mostly(fc.constantFrom(0, 0x2000, 0x4000, 0x8000, 0xa000, 0xc000), ANY_U32),
  id: mostly(fc.nat({ max: 0x7ff }), ANY_U32),
  rest: anyBytes(80),
});

/** CAN frames in a queue. */
export const CAN_FRAMES = target("CAN frames", queued, ({ rest, ...header }) => {
  const bytes = new Uint8Array(16 + rest.length);
  encodeFrameHeader(new DataView(bytes.buffer), 0, header);
  bytes.set(rest, 16);
  return judge(decodeFrame(bytes, TX));
});

const socketFrames = fc.record({
  isFd: fc.boolean(),
  id: ANY_U32,
  length: mostly(fc.nat({ max: 64 }), fc.nat({ max: 255 })),
  rest: anyBytes(67),
});

/** CAN frames of SocketCAN. */
export const CAN_SOCKET_FRAMES = target(
  "CAN frames of SocketCAN",
  socketFrames,
  ({ isFd, id, length, rest }) => {
    const bytes = new Uint8Array(isFd ? 72 : 16);
    bytes.set(rest.subarray(0, bytes.length - 5), 5);
    new DataView(bytes.buffer).setUint32(0, id, true);
    bytes[4] = length;
    const frame = decodeSocketFrame(bytes);
    return frame === "bus-off" ? "accepted" : judge(frame);
  },
);

/** A line of a log, piece by piece. */
const lines = fc.oneof(
  fc.string(),
  fc.tuple(
    mostly(fc.constantFrom("(1.5)", "(1436509052.249713)"), fc.string()),
    fc.constantFrom(" ", "  ", ""),
    mostly(fc.constant("can0"), fc.string()),
    fc.constant(" "),
    mostly(fc.stringMatching(/^([0-7][0-9A-F]{2}|[01][0-9A-F]{7})$/), fc.string()),
    fc.constantFrom("#", "##", "##0", "#R", ""),
    mostly(fc.stringMatching(/^([0-9a-fA-F]{2}){0,10}$/), fc.string()),
    fc.constantFrom("", "_9", " R", " T", "\n"),
  ).map((pieces) => pieces.join("")),
);

/** Lines of candump's logs. */
export const CANDUMP_LINES = target("lines of candump", lines, (line) => {
  const parsed = parseLine(line);
  return parsed === "error frame" ? "accepted" : judge(parsed?.frame ?? null);
});
