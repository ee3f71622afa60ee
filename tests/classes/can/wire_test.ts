// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as can from "../../../lib/classes/can/wire.ts";

const bytesOf = (...numbers: number[]): Uint8Array<ArrayBuffer> => Uint8Array.from(numbers);

/** Frames, and the bytes they are in a queue. */
const FRAMES: [name: string, frame: can.CanFrame, bytes: number[]][] = [
  [
    "a classic frame",
    { ...kind({}), id: 0x123, length: 3, data: bytesOf(0xaa, 0xbb, 0xcc) },
    [1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x23, 1, 0, 0, 0xaa, 0xbb, 0xcc],
  ],
  [
    "an empty frame",
    { ...kind({}), id: 0, length: 0, data: bytesOf() },
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ],
  [
    "an extended frame",
    { ...kind({ isExtended: true }), id: 0x1fffffff, length: 1, data: bytesOf(7) },
    [1, 0, 1, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0xff, 0xff, 0xff, 0x1f, 7],
  ],
  [
    "an FD frame",
    { ...kind({ isFd: true }), id: 0x7ff, length: 64, data: new Uint8Array(64).fill(9) },
    [1, 0, 64, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0xff, 7, 0, 0, ...new Array(64).fill(9)],
  ],
  [
    "a remote transmission request",
    { ...kind({ isRtr: true }), id: 5, length: 2, data: bytesOf() },
    [1, 0, 2, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 5, 0, 0, 0, 0, 0],
  ],
];

function kind(of: Partial<can.CanFrame>) {
  return { isExtended: false, isFd: false, isRtr: false, ...of };
}

for (const [name, frame, bytes] of FRAMES) {
  Deno.test(`${name} is written and read`, () => {
    const room = new Uint8Array(can.MAX_FRAME_SIZE).fill(0xee);
    const length = can.encodeFrame(room, can.TX, frame);
    assertEquals([...room.subarray(0, length)], bytes);
    assertEquals(can.decodeFrame(room.slice(0, length), can.TX), frame);
    assertEquals(can.decodeFrame(room, can.TX), frame, "what follows is ignored");
    assertEquals(can.decodeFrame(room, can.RX), null, "of another type");
    for (let cut = 0; cut < length; cut++) {
      const isHeader = cut < can.FRAME_HEADER_SIZE;
      const read = can.decodeFrame(room.slice(0, cut), can.TX);
      assertEquals(read, frame.isRtr && !isHeader ? frame : null, `${cut} bytes`);
    }
  });
}

Deno.test("malformed frames are refused", () => {
  const make = (header: Partial<can.FrameHeader>): can.CanFrame | null => {
    const bytes = new Uint8Array(200);
    const whole = { type: can.RX, length: 0, flags: 0, id: 0, ...header };
    can.encodeFrameHeader(new DataView(bytes.buffer), 0, whole);
    return can.decodeFrame(bytes, can.RX);
  };
  const { FLAGS_EXTENDED, FLAGS_FD, FLAGS_RTR } = can;
  for (const valid of [{}, { length: 8 }, { length: 64, flags: FLAGS_FD }, { id: 0x7ff }]) {
    assert(make(valid) !== null, JSON.stringify(valid));
  }
  const refused: Partial<can.FrameHeader>[] = [
    { length: 9 },
    { length: 65, flags: FLAGS_FD },
    { length: 0xffff, flags: FLAGS_FD },
    { length: 9, flags: FLAGS_RTR },
    { id: 0x800 },
    { id: 0x20000000, flags: FLAGS_EXTENDED },
    { id: 0xffffffff, flags: FLAGS_EXTENDED },
    { flags: FLAGS_FD | FLAGS_RTR },
    { flags: 0x1000 },
    { flags: 0x80000000 },
    { type: 0 },
  ];
  for (const header of refused) assertEquals(make(header), null, JSON.stringify(header));
});
