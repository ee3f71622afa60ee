// SPDX-License-Identifier: Apache-2.0
/**
 * A file of simulated chips, TOML: `[[chip]]` each, with its `address` and `kind`.
 *
 * @module
 */
import { parse, TomlError } from "smol-toml";
import { SpecError } from "../../device/role.ts";

/** A chip of a file, with its defaults, checked. */
export type ChipSpec =
  & { readonly address: number }
  & (
    | {
      readonly kind: "eeprom";
      /** Bytes, a power of 2. */
      readonly size: number;
      /** Bytes of a page, a power of 2. */
      readonly page: number;
      readonly addressBytes: number;
      /** What it begins with; the rest is 0xff. Nothing of it is used once its file is there. */
      readonly contents: Uint8Array<ArrayBuffer>;
      /** Where its contents are kept; null: nowhere. */
      readonly file: string | null;
    }
    | {
      readonly kind: "registers";
      /** What they begin with, 256 of them. */
      readonly values: Uint8Array<ArrayBuffer>;
    }
    | { readonly kind: "rtc" }
  );

/** Addresses that are not reserved. */
const [FIRST, LAST] = [0x08, 0x77];
/** The largest EEPROM: what two bytes of address reach. */
const MAX_SIZE = 65536;

/** Keys of each kind, besides address and kind. */
const KEYS = {
  eeprom: ["size", "page", "address-bytes", "contents", "file"],
  registers: ["values"],
  rtc: [],
} as const satisfies Record<ChipSpec["kind"], readonly string[]>;

type Table = Readonly<Record<string, unknown>>;

/** One chip's table, and where it is in the file, for errors. */
class Entry {
  constructor(readonly table: Table, readonly path: string, readonly place: string) {}

  fail(key: string, expected: string): never {
    const value = this.table[key];
    const is = value === undefined ? `${key} is missing` : `${key} is ${JSON.stringify(value)}`;
    throw new SpecError(`Cannot use ${this.path}, ${this.place}: ${is}, expected ${expected}`);
  }

  /** A whole number, or `fallback` when it is absent. */
  number(key: string, min: number, max: number, fallback?: number): number {
    const value = this.table[key] ?? fallback;
    const isWhole = typeof value === "number" && Number.isInteger(value);
    return isWhole && value >= min && value <= max
      ? value
      : this.fail(key, `a whole number from ${min} to ${max}`);
  }

  powerOfTwo(key: string, min: number, max: number, fallback: number): number {
    const value = this.number(key, min, max, fallback);
    return (value & value - 1) === 0 ? value : this.fail(key, `a power of 2 from ${min} to ${max}`);
  }

  /** Bytes as hexadecimal digits, spaces between them or not; none when it is absent. */
  bytes(key: string, most: number): Uint8Array<ArrayBuffer> {
    const value = this.table[key] ?? "";
    const digits = typeof value === "string" ? value.replace(/\s/g, "") : "?";
    const isHex = /^([0-9a-fA-F]{2})*$/.test(digits) && digits.length / 2 <= most;
    if (!isHex) this.fail(key, `up to ${most} bytes in hexadecimal, such as "00 1f"`);
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }
}

function eeprom(entry: Entry, address: number): ChipSpec {
  const size = entry.powerOfTwo("size", 16, MAX_SIZE, 256);
  const page = entry.powerOfTwo(
    "page",
    1,
    Math.min(size, 256),
    Math.min(size, size > 2048 ? 32 : 8),
  );
  const addressBytes = entry.number("address-bytes", size > 256 ? 2 : 1, 2, size > 256 ? 2 : 1);
  const contents = entry.bytes("contents", size);
  const { file = null } = entry.table;
  if (file !== null && (typeof file !== "string" || file === "")) {
    entry.fail("file", "the path of a file");
  }
  return {
    kind: "eeprom",
    address,
    size,
    page,
    addressBytes,
    contents,
    file: file as string | null,
  };
}

function registers(entry: Entry, address: number): ChipSpec {
  const values = new Uint8Array(256);
  const { values: given = {} } = entry.table;
  const isTable = typeof given === "object" && given !== null && !Array.isArray(given);
  if (!isTable) entry.fail("values", 'a table of registers, such as { "0x0f" = 0x33 }');
  for (const [name, value] of Object.entries(given as Table)) {
    const register = /^(0x[0-9a-fA-F]{1,2}|\d{1,3})$/.test(name) ? Number(name) : 256;
    const isByte = typeof value === "number" && Number.isInteger(value) && value >= 0 &&
      value < 256;
    if (register < 256 && isByte) values[register] = value;
    else entry.fail("values", `registers and values from 0 to 255, not ${name} = ${value}`);
  }
  return { kind: "registers", address, values };
}

function chipOf(entry: Entry): ChipSpec {
  const address = entry.number("address", FIRST, LAST);
  const { kind } = entry.table;
  if (typeof kind !== "string" || !Object.hasOwn(KEYS, kind)) {
    entry.fail("kind", Object.keys(KEYS).map((one) => `"${one}"`).join(", "));
  }
  const known: readonly string[] = ["address", "kind", ...KEYS[kind as ChipSpec["kind"]]];
  const unknown = Object.keys(entry.table).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw new SpecError(
      `Cannot use ${entry.path}, ${entry.place}: there is no ${unknown} for "${kind}", expected ${
        known.join(", ")
      }`,
    );
  }
  if (kind === "eeprom") return eeprom(entry, address);
  return kind === "registers" ? registers(entry, address) : { kind: "rtc", address };
}

function tableOf(text: string, path: string): Table {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new SpecError(`Cannot use ${path}, line ${error.line}: it is no TOML: ${what}`);
  }
}

/** Reads the chips of a file's text. @param path The file's, for errors @throws {SpecError} */
export function parseChips(text: string, path: string): ChipSpec[] {
  const { chip, ...rest } = tableOf(text, path);
  const [other] = Object.keys(rest);
  if (other !== undefined) {
    throw new SpecError(`Cannot use ${path}: there is no ${other}, expected [[chip]] tables only`);
  }
  if (!Array.isArray(chip) || chip.length === 0) {
    throw new SpecError(`Cannot use ${path}: it has no [[chip]] table, expected one for each chip`);
  }
  const chips = chip.map((table: unknown, i) => {
    const isTable = typeof table === "object" && table !== null;
    return chipOf(new Entry(isTable ? table as Table : {}, path, `[[chip]] ${i + 1}`));
  });
  const addresses = chips.map(({ address }) => address);
  const twice = addresses.findIndex((address, i) => addresses.indexOf(address) !== i);
  if (twice < 0) return chips;
  const hex = `0x${addresses[twice]!.toString(16)}`;
  throw new SpecError(
    `Cannot use ${path}, [[chip]] ${twice + 1}: there is a chip at ${hex} already`,
  );
}
