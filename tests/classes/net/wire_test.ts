// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { formatMac, isFrame, parseMac } from "../../../lib/classes/net/wire.ts";
import { frame } from "./bench.ts";

Deno.test("MAC addresses are read and written", () => {
  assertEquals(parseMac("02:00:5e:10:fF:01"), Uint8Array.of(2, 0, 0x5e, 0x10, 0xff, 1));
  for (
    const text of [
      "",
      "2:0:0:0:0:1",
      "02-00-00-00-00-01",
      "02:00:00:00:00:01:02",
      "g2:00:00:00:00:01",
    ]
  ) {
    assertEquals(parseMac(text), null, text);
  }
  assertEquals(formatMac(Uint8Array.of(2, 0, 0x5e, 0x10, 0xff, 1)), "02:00:5e:10:ff:01");
});

Deno.test("a frame is no shorter than its header, and no longer than the MTU allows", () => {
  const tagged = (length: number, type: number) => {
    const bytes = frame(length);
    bytes.set([type >> 8, type & 0xff], 12);
    return bytes;
  };
  const table: [bytes: Uint8Array, is: boolean][] = [
    [frame(13), false],
    [frame(14), true],
    [frame(1514), true],
    [frame(1515), false],
    [tagged(1518, 0x8100), true],
    [tagged(1518, 0x88a8), true],
    [tagged(1519, 0x8100), false],
    [tagged(1518, 0x8101), false],
  ];
  for (const [bytes, is] of table) {
    assertEquals(isFrame(bytes, 0, bytes.length, 1500), is, `${bytes.length}`);
    const behind = new Uint8Array([...new Uint8Array(12), ...bytes]);
    assertEquals(isFrame(behind, 12, bytes.length, 1500), is, `${bytes.length} at 12`);
  }
});
