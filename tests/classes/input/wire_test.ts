// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  decodeAbsInfo,
  decodeBits,
  decodeDeviceIds,
  decodeEvent,
  encodeAbsInfo,
  encodeBits,
  encodeDeviceIds,
  encodeEvent,
} from "../../../lib/classes/input/wire.ts";

Deno.test("input: events are written byte by byte, and read", () => {
  const event = { type: 0x0102, code: 0x0304, value: -2 };
  const bytes = new Uint8Array(8);
  encodeEvent(new DataView(bytes.buffer), event);
  assertEquals(bytes, Uint8Array.of(2, 1, 4, 3, 0xfe, 0xff, 0xff, 0xff));
  assertEquals(decodeEvent(new DataView(bytes.buffer)), event);
  assertEquals(decodeEvent(new DataView(bytes.buffer, 1)), null);
});

Deno.test("input: identifiers, axes and bitmaps are the standard's", () => {
  const ids = { bustype: 0x0102, vendor: 0x0304, product: 0x0506, version: 0x0708 };
  const idBytes = Uint8Array.of(2, 1, 4, 3, 6, 5, 8, 7);
  assertEquals(encodeDeviceIds(ids), idBytes);
  assertEquals(decodeDeviceIds(new DataView(idBytes.buffer)), ids);
  assertEquals(decodeDeviceIds(new DataView(new ArrayBuffer(7))), null);
  const axis = { min: -1, max: 0x01020304, fuzz: 2, flat: 3, res: 4 };
  const axisBytes = encodeAbsInfo(axis);
  assertEquals([...axisBytes.subarray(0, 12)], [255, 255, 255, 255, 4, 3, 2, 1, 2, 0, 0, 0]);
  assertEquals([...axisBytes.subarray(12)], [3, 0, 0, 0, 4, 0, 0, 0]);
  assertEquals(decodeAbsInfo(new DataView(axisBytes.buffer)), axis);
  assertEquals(decodeAbsInfo(new DataView(new ArrayBuffer(19))), null);
  assertEquals(encodeBits([0, 9, 17]), Uint8Array.of(1, 2, 2));
  assertEquals(decodeBits(Uint8Array.of(1, 2, 2)), [0, 9, 17]);
  assertEquals(encodeBits([]), new Uint8Array(0));
});
