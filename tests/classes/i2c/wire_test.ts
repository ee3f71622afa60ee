// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  decodeAddress,
  decodeOutHeader,
  encodeAddress,
  encodeOutHeader,
} from "../../../lib/classes/i2c/wire.ts";

Deno.test("i2c: a request's header is 8 bytes, little endian, its padding zero", () => {
  const bytes = Uint8Array.of(0xa0, 0x12, 0, 0, 0x03, 0x04, 0x05, 0x86);
  const header = { addr: 0x12a0, flags: 0x86050403 };
  assertEquals(encodeOutHeader(header), bytes);
  bytes[2] = bytes[3] = 0xff; // padding is not looked at
  assertEquals(decodeOutHeader(new DataView(bytes.buffer)), header);
});

Deno.test("i2c: addresses are written as in the table of §5.16.6.1", () => {
  const rows: [addr: number, address: number, isTenBit: boolean][] = [
    [0x0000, 0x00, false],
    [0x00a0, 0x50, false],
    [0x00ee, 0x77, false],
    [0x00f0, 0x000, true],
    [0x34f2, 0x134, true],
    [0xfff6, 0x3ff, true],
  ];
  for (const [addr, address, isTenBit] of rows) {
    assertEquals(decodeAddress(addr), { address, isTenBit });
    assertEquals(encodeAddress({ address, isTenBit }), addr);
  }
});

Deno.test("i2c: what no address is", () => {
  for (const addr of [0x00a1, 0x01a0, 0xff00, 0x00f1, 0x34f3, 0x00f8 | 0x100]) {
    assertEquals(decodeAddress(addr), null, addr.toString(16));
  }
});
