// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { formatLine, parseLine } from "../../../lib/classes/can/candump.ts";
import { parseFilter, parseFilters } from "../../../lib/classes/can/filter.ts";
import type { CanFrame } from "../../../lib/classes/can/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { frame, rtr } from "./frames.ts";

/** Lines as candump -L writes them, and their frames. */
const LINES: [line: string, frame: CanFrame][] = [
  ["(1436509052.249713) can0 123#1122DEADBEEF", frame(0x123, [0x11, 0x22, 0xde, 0xad, 0xbe, 0xef])],
  ["(0000000000.000001) can0 000#", frame(0)],
  [
    "(1436509052.249713) can0 7FF#0011223344556677",
    frame(0x7ff, [0, 17, 34, 51, 68, 85, 102, 119]),
  ],
  ["(1436509052.249713) can0 1FFFFFFF#01", frame(0x1fffffff, [1], { isExtended: true })],
  ["(1436509052.249713) can0 00000123#01", frame(0x123, [1], { isExtended: true })],
  ["(1436509052.249713) can0 123#R", rtr(0x123, 0)],
  ["(1436509052.249713) can0 123#R8", rtr(0x123, 8)],
  ["(1436509052.249713) can0 123##0", frame(0x123, [], { isFd: true })],
  [
    `(1436509052.249713) can0 123##0${"AB".repeat(64)}`,
    frame(0x123, new Array(64).fill(0xab), { isFd: true }),
  ],
];

for (const [line, one] of LINES) {
  Deno.test(`candump: ${line.slice(20, 60)} is read and written`, () => {
    const seconds = line.startsWith("(0") ? 0.000001 : 1436509052.249713;
    assertEquals(parseLine(line), { seconds, frame: one });
    assertEquals(formatLine({ seconds, frame: one }, "can0"), line);
  });
}

Deno.test("candump: what other programs add is read", () => {
  const table: [string, CanFrame][] = [
    ["(1.5) vcan0 123#11 R", frame(0x123, [0x11])],
    ["(1.5) vcan0 123#11 T", frame(0x123, [0x11])],
    ["(1.5)  vcan0  7ff#aB", frame(0x7ff, [0xab])],
    ["(1.5) vcan0 123##5AB", frame(0x123, [0xab], { isFd: true })],
    ["(1.5) vcan0 123#0011223344556677_F", frame(0x123, [0, 17, 34, 51, 68, 85, 102, 119])],
  ];
  for (const [line, one] of table) {
    assertEquals(parseLine(line), { seconds: 1.5, frame: one }, line);
  }
  assertEquals(parseLine("(1.5) can0 20000040#0000000000000000"), "error frame");
});

Deno.test("candump: other lines are not taken for frames", () => {
  const lines = [
    "",
    "can0 123#11",
    "(1.5) can0 12#11",
    "(1.5) can0 1234#11",
    "(1.5) can0 800#11", // 12 bits
    "(1.5) can0 123#1",
    "(1.5) can0 123#112233445566778899",
    "(1.5) can0 123#R9",
    "(1.5) can0 123##",
    `(1.5) can0 123##0${"AB".repeat(65)}`,
    "(x) can0 123#11",
    "(1.5) can0 123",
  ];
  for (const line of lines) assertEquals(parseLine(line), null, line);
});

Deno.test("filters are candump's", () => {
  const table: [filter: string, frame: CanFrame, isReceived: boolean][] = [
    ["123:7FF", frame(0x123), true],
    ["123:7ff", frame(0x124), false],
    ["123~7FF", frame(0x123), false],
    ["123~7FF", frame(0x124), true],
    ["100:700", frame(0x1ab), true],
    ["0:0", frame(0x7ff), true],
    ["123:7FF", frame(0x123, [], { isExtended: true }), true], // the flag is not in the mask
    ["123:C00007FF", frame(0x123, [], { isExtended: true }), false],
    ["80000123:DFFFFFFF", frame(0x123, [], { isExtended: true }), true],
    ["40000000:40000000", rtr(1, 0), true],
    ["40000000:40000000", frame(1), false],
  ];
  for (const [filter, one, isReceived] of table) {
    assertEquals(parseFilter(filter)(one), isReceived, filter);
  }
  assertEquals(parseFilters([])(frame(1)), true);
  assertEquals(parseFilters(["1:7ff", "2:7ff"])(frame(2)), true);
  assertEquals(parseFilters(["1:7ff", "2:7ff"])(frame(3)), false);
  for (const text of ["", "123", "123:", "xyz:7ff", "123:7ff:1", "123456789:1", "1:7ff,2:7ff"]) {
    assertThrows(
      () => parseFilter(text),
      SpecError,
      `Cannot filter by "${text}": expected ID:MASK`,
    );
  }
});
