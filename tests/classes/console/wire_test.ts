// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  decodeControl,
  decodeResize,
  encodeConfig,
  encodeControl,
  encodeResize,
  rxQueueOf,
} from "../../../lib/classes/console/wire.ts";

Deno.test("console: control messages are written byte by byte, and read", () => {
  const message = { id: 0x01020304, event: 0x0506, value: 0x0708 };
  const bytes = Uint8Array.of(4, 3, 2, 1, 6, 5, 8, 7);
  assertEquals(encodeControl(message), bytes);
  assertEquals(encodeControl(message, Uint8Array.of(9, 10)), Uint8Array.of(...bytes, 9, 10));
  assertEquals(decodeControl(new DataView(bytes.buffer)), message);
  assertEquals(decodeControl(new DataView(bytes.buffer, 1)), null);
});

Deno.test("console: sizes are columns, then rows", () => {
  const size = { cols: 0x0102, rows: 0x0304 };
  assertEquals(encodeResize(size), Uint8Array.of(2, 1, 4, 3));
  assertEquals(decodeResize(new DataView(Uint8Array.of(2, 1, 4, 3).buffer)), size);
  assertEquals(decodeResize(new DataView(new ArrayBuffer(3))), null);
  const config = Uint8Array.of(2, 1, 4, 3, 8, 7, 6, 5, 0, 0, 0, 0);
  assertEquals(encodeConfig({ ...size, maxPorts: 0x05060708 }), config);
});

Deno.test("console: the control queues come after those of port 0", () => {
  assertEquals([0, 1, 2, 30].map(rxQueueOf), [0, 4, 6, 62]);
});
