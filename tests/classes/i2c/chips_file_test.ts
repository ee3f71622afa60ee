// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { parseChips } from "../../../lib/classes/i2c/chips_file.ts";
import { busOf, checkI2c } from "../../../lib/classes/i2c/spec.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { transferBy } from "./transfer.ts";

/** Simulated chips have nothing to watch. */
const noWatch = () => {
  throw new Error("a watch");
};

const parse = (text: string) => parseChips(text, "chips.toml");

Deno.test("i2c: a file of chips is read, with what is not said", () => {
  const [small, large, registers, rtc] = parse(`
    [[chip]]
    address = 0x50
    kind = "eeprom"
    contents = "00 1f"
    [[chip]]
    address = 0x51
    kind = "eeprom"
    size = 4096
    file = "e.bin"
    [[chip]]
    address = 32
    kind = "registers"
    values = { "0x0f" = 0x33, 16 = 1 }
    [[chip]]
    address = 0x68
    kind = "rtc"`);
  assertEquals(small, {
    kind: "eeprom",
    address: 0x50,
    size: 256,
    page: 8,
    addressBytes: 1,
    contents: Uint8Array.of(0, 0x1f),
    file: null,
  });
  assertEquals(large, {
    kind: "eeprom",
    address: 0x51,
    size: 4096,
    page: 32,
    addressBytes: 2,
    contents: new Uint8Array(0),
    file: "e.bin",
  });
  const values = new Uint8Array(256);
  [values[15], values[16]] = [0x33, 1];
  assertEquals(registers, { kind: "registers", address: 32, values });
  assertEquals(rtc, { kind: "rtc", address: 0x68 });
});

Deno.test("i2c: a mistake in a file of chips is told with its place and what is allowed", () => {
  const chip = '[[chip]]\naddress = 0x50\nkind = "eeprom"\n';
  const rows: [text: string, message: string][] = [
    ["x = ", "Cannot use chips.toml, line 1: it is no TOML: "],
    ["", "it has no [[chip]] table"],
    ["chip = 3", "it has no [[chip]] table"],
    ["chips = 3", "there is no chips, expected [[chip]] tables only"],
    [
      "[[chip]]\nkind = 'rtc'",
      "[[chip]] 1: address is missing, expected a whole number from 8 to 119",
    ],
    ["[[chip]]\naddress = 0x78\nkind = 'rtc'", "address is 120, expected"],
    ["[[chip]]\naddress = 8.5\nkind = 'rtc'", "address is 8.5, expected"],
    ["[[chip]]\naddress = 8", 'kind is missing, expected "eeprom", "registers", "rtc"'],
    ["[[chip]]\naddress = 8\nkind = 'toString'", 'kind is "toString", expected'],
    [`${chip}frob = 1`, 'there is no frob for "eeprom", expected address, kind, size, page,'],
    [`${chip}size = 100`, "size is 100, expected a power of 2 from 16 to 65536"],
    [`${chip}size = 131072`, "size is 131072"],
    [`${chip}page = 512`, "page is 512, expected a whole number from 1 to 256"],
    [
      `${chip}size = 512\naddress-bytes = 1`,
      "address-bytes is 1, expected a whole number from 2 to 2",
    ],
    [`${chip}contents = "0"`, 'contents is "0", expected up to 256 bytes in hexadecimal'],
    [`${chip}contents = 12`, "contents is 12"],
    [`${chip}size = 16\ncontents = "${"00".repeat(17)}"`, "expected up to 16 bytes"],
    [`${chip}file = ""`, 'file is "", expected the path of a file'],
    [`${chip}${chip}`, "[[chip]] 2: there is a chip at 0x50 already"],
    ["[[chip]]\naddress = 8\nkind = 'registers'\nvalues = 3", "expected a table of registers"],
    ["[[chip]]\naddress = 8\nkind = 'registers'\nvalues = { 256 = 3 }", "not 256 = 3"],
    ["[[chip]]\naddress = 8\nkind = 'registers'\nvalues = { x = 256 }", "not x = 256"],
  ];
  for (const [text, message] of rows) assertThrows(() => parse(text), SpecError, message);
});

Deno.test("i2c: an EEPROM's contents are kept in its file", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const [chips, file] = [`${folder}/chips.toml`, `${folder}/e.bin`];
    const text =
      `[[chip]]\naddress = 0x50\nkind = "eeprom"\nsize = 16\ncontents = "01"\nfile = "${file}"`;
    Deno.writeTextFileSync(chips, text);
    const message = (isRead: boolean, bytes: number[]) => ({
      ...{ address: 0x50, isTenBit: false, isRead, data: Uint8Array.from(bytes) },
    });
    checkI2c({ chips });
    using bus = busOf({ chips }, noWatch);
    transferBy(bus, [message(false, [15, 7])]);
    assertEquals([...Deno.readFileSync(file)], [1, ...new Array(14).fill(255), 7]);
    using next = busOf({ chips }, noWatch);
    const read = message(true, [0, 0]);
    assertEquals(transferBy(next, [message(false, [15]), read]), 2);
    assertEquals([...read.data], [7, 1]);
    Deno.writeFileSync(file, new Uint8Array(15));
    assertThrows(() => checkI2c({ chips }), SpecError, "it has 15, expected as many");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("i2c: a file of chips that is not there is told of", () => {
  assertThrows(() => checkI2c({ chips: "/none/chips.toml" }), SpecError, "Cannot read /none/chips");
});
