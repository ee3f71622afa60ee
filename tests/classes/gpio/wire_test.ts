// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  decodeNames,
  decodeRequest,
  encodeConfig,
  encodeNames,
  encodeRequest,
  isLineName,
  MSG_SET_DIRECTION,
} from "../../../lib/classes/gpio/wire.ts";

Deno.test("a request is 8 bytes, little endian", () => {
  const bytes = Uint8Array.of(3, 0, 0x34, 0x12, 0x78, 0x56, 0x34, 0x92);
  const request = { type: MSG_SET_DIRECTION, gpio: 0x1234, value: 0x92345678 };
  assertEquals(encodeRequest(request), bytes);
  assertEquals(decodeRequest(new DataView(bytes.buffer)), request);
});

Deno.test("the config space is 8 bytes, its padding zero", () => {
  assertEquals(
    encodeConfig(0x0102, 0x03040506),
    Uint8Array.of(0x02, 0x01, 0, 0, 0x06, 0x05, 0x04, 0x03),
  );
});

Deno.test("names are zero-terminated, one for each line, as in the standard's example (§5.18.6.1)", () => {
  const names = ["MMC-CD", "", "", "", "", "Red LED Vdd", "", "ethernet reset", "", ""];
  const block = new TextEncoder().encode(
    "MMC-CD\0\0\0\0\0Red LED Vdd\0\0ethernet reset\0\0\0",
  );
  assertEquals(encodeNames(names), block);
  assertEquals(decodeNames(block, 10), names);
});

Deno.test("without names there is no block of names", () => {
  assertEquals(encodeNames(["", "", ""]).length, 0);
});

Deno.test("a block of names that is too short is none; one without an end ends where it does", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assertEquals(decodeNames(bytes("A\0B\0"), 3), null);
  assertEquals(decodeNames(new Uint8Array(0), 1), null);
  assertEquals(decodeNames(bytes("A\0BCD"), 2), ["A", "BC"]);
  assertEquals(decodeNames(bytes("A\0B\0C\0"), 2), ["A", "B"]);
});

Deno.test("names are printable ASCII of up to 31 characters", () => {
  for (const name of ["A", "Red LED Vdd", "~".repeat(31)]) assertEquals(isLineName(name), true);
  for (const name of ["", "ä", "a\0b", "a\n", "~".repeat(32)]) {
    assertEquals(isLineName(name), false);
  }
});
