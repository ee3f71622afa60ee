// SPDX-License-Identifier: Apache-2.0
/**
 * How an embedded I2C adapter is to be.
 *
 * @module
 */
import { Fd, O_RDWR, type OsError, writeAt } from "../../../ffi/mod.ts";
import { type DeviceHost, SpecError } from "../../device/role.ts";
import { AdapterBus, addressesOf, HostAdapter, openAdapter } from "./adapter.ts";
import type { Bus } from "./bus.ts";
import { type Chip, Eeprom, Registers, Rtc, SimulatedBus } from "./chips.ts";
import { type ChipSpec, parseChips } from "./chips_file.ts";

/** How an adapter is to be. */
export interface I2cSpec {
  /** An adapter of the host, such as /dev/i2c-1. Absent: the chips are simulated. */
  adapter?: string;
  /** Addresses on the adapter's bus that the driver may use, such as "0x50". @default all */
  address?: readonly string[];
  /** A file of simulated chips, TOML. @default an EEPROM of 256 bytes at 0x50 */
  chips?: string;
}

/** What there is when nothing is said. */
const DEFAULT_CHIPS = '[[chip]]\naddress = 0x50\nkind = "eeprom"';

/** The simulated chips of a specification. @throws {SpecError} */
function chipsOf({ chips: path }: I2cSpec): ChipSpec[] {
  if (path === undefined) return parseChips(DEFAULT_CHIPS, "the default chips");
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    throw new SpecError(`Cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  return parseChips(text, path);
}

/** @throws {SpecError} */
export function checkI2c(spec: I2cSpec): void {
  const { adapter, address = [], chips } = spec;
  addressesOf(address);
  if (adapter !== undefined) {
    if (chips === undefined) return openAdapter(adapter).close();
    throw new SpecError(`Cannot simulate the chips of ${chips} beside those of ${adapter}`);
  }
  if (address.length > 0) {
    throw new SpecError("Cannot use addresses without an adapter: simulated chips have their own");
  }
  for (const chip of chipsOf(spec)) {
    if (chip.kind === "eeprom" && chip.file !== null) storedContents(chip, chip.file);
  }
}

/** What an EEPROM's file holds; what it begins with where there is no file yet. @throws {SpecError} */
function storedContents(
  { size, contents }: ChipSpec & { kind: "eeprom" },
  file: string | null,
): Uint8Array<ArrayBuffer> {
  const initial = new Uint8Array(size).fill(0xff);
  initial.set(contents);
  if (file === null) return initial;
  try {
    const stored = Deno.readFileSync(file);
    if (stored.length === size) return stored;
    throw new SpecError(
      `Cannot keep an EEPROM of ${size} bytes in ${file}: it has ${stored.length}, expected as many`,
    );
  } catch (error) {
    if (SpecError.is(error)) throw error;
    if (error instanceof Deno.errors.NotFound) return initial;
    throw new SpecError(`Cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** An EEPROM whose contents are kept in its file, which is written at each write. @throws {SpecError} */
function eepromOf(spec: ChipSpec & { kind: "eeprom" }): Eeprom {
  const { page, addressBytes, file } = spec;
  const contents = storedContents(spec, file);
  if (file === null) return new Eeprom(contents, page, addressBytes);
  const fd = openWhole(file, contents);
  const write = (at: number, length: number): void => {
    const written = writeAt(fd.number, contents, at, length, at);
    if (written !== length) throw new Error(`Cannot write to ${file}: errno ${-written}`);
  };
  return new Eeprom(contents, page, addressBytes, write, () => fd.close());
}

/** Opens an EEPROM's file, made of its contents if there is none. @throws {SpecError} */
function openWhole(file: string, contents: Uint8Array<ArrayBuffer>): Fd {
  try {
    if (!exists(file)) Deno.writeFileSync(file, contents, { createNew: true });
    return Fd.open(file, O_RDWR);
  } catch (error) {
    const { message } = error as OsError;
    throw new SpecError(`Cannot keep an EEPROM in ${file}: ${message}`, { cause: error });
  }
}

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch {
    return false;
  }
}

function chipOf(spec: ChipSpec): Chip {
  if (spec.kind === "eeprom") return eepromOf(spec);
  return spec.kind === "registers" ? new Registers(spec.values.slice()) : new Rtc();
}

/** The bus of a specification. @throws {SpecError} */
export function busOf(spec: I2cSpec, watch: DeviceHost["watch"]): Bus {
  const { adapter, address = [] } = spec;
  if (adapter !== undefined) {
    const allowed = addressesOf(address);
    return new AdapterBus(new HostAdapter(openAdapter(adapter), watch), allowed);
  }
  using made = new DisposableStack();
  const chips = chipsOf(spec).map((one) => [one.address, made.use(chipOf(one))] as const);
  made.move();
  return new SimulatedBus(new Map(chips));
}
