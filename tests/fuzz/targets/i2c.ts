// SPDX-License-Identifier: Apache-2.0
/**
 * What the I2C adapter reads of others: addresses, and files of chips.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { parseChips } from "../../../lib/classes/i2c/chips_file.ts";
import { decodeAddress, encodeAddress } from "../../../lib/classes/i2c/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { mostly, target } from "../target.ts";

/** Addresses: what is read as one is written as it was. */
export const I2C_ADDRESSES = target("I2C addresses", fc.nat({ max: 0xffff }), (addr) => {
  const address = decodeAddress(addr);
  if (address === null) return "refused";
  assert(address.address <= (address.isTenBit ? 0x3ff : 0x7f));
  assertEquals(encodeAddress(address), addr);
  return "accepted";
});

const values = fc.constantFrom("0x50", "80", "-1", "1.5", '"eeprom"', '"rtc"', "{ 1 = 2 }", '"00"');
const line = fc.oneof(
  fc.constantFrom("[[chip]]", "address = 0x20", 'kind = "registers"', 'kind = "eeprom"'),
  fc.tuple(
    fc.constantFrom("address", "kind", "size", "page", "address-bytes", "contents", "values"),
    values,
  ).map((pair) => pair.join(" = ")),
);
const BEGIN = '[[chip]]\naddress = 0x50\nkind = "eeprom"';
const files = mostly(
  fc.array(line, { maxLength: 6 }).map((lines) => `${BEGIN}\n${lines.join("\n")}`),
  fc.string(),
);

/** Files of chips: each is read, or refused with a sentence that names it. */
export const I2C_CHIPS = target("files of I2C chips", files, (text) => {
  try {
    assert(parseChips(text, "a file").length > 0);
    return "accepted";
  } catch (error) {
    assert(error instanceof SpecError && error.message.startsWith("Cannot use a file"), `${error}`);
    return "refused";
  }
});
