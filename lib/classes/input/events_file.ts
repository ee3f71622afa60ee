// SPDX-License-Identifier: Apache-2.0
/**
 * A file of events as JSON lines: a line that says what the device is, then a line for each event.
 *
 * ```json
 * {"name": "buttons", "codes": {"EV_KEY": [30, 48]}, "axes": {}}
 * {"type": "EV_KEY", "code": 30, "value": 1}
 * {"type": "EV_SYN", "code": 0, "value": 0}
 * {"wait": 20}
 * ```
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";
import type { Capabilities } from "./capabilities.ts";
import { type AbsInfo, EVENT_TYPES, type InputEvent } from "./wire.ts";

/** The largest file, in bytes. */
const MOST_BYTES = 16 * 2 ** 20;
/** The longest wait, in milliseconds. */
const MOST_WAIT_MS = 3_600_000;

/** A line after the first: an event, or a wait in milliseconds. */
export type Line = InputEvent | { readonly wait: number };

/** A file that was read. */
export interface EventsFile {
  readonly capabilities: Capabilities;
  readonly lines: readonly Line[];
}

/** A device without anything, for a device of which nothing is said. */
export const NO_EVENTS: EventsFile = {
  capabilities: {
    name: "viola input",
    serial: "",
    ids: { bustype: 0x06, vendor: 0, product: 0, version: 0 },
    properties: [],
    codes: new Map(),
    axes: new Map(),
  },
  lines: [],
};

type Json = Record<string, unknown>;

/** @throws {SpecError} naming the line */
export function parseEvents(text: string, path: string): EventsFile {
  const [head, ...rest] = text.split("\n");
  const at = <T>(number: number, parse: () => T): T => {
    try {
      return parse();
    } catch (cause) {
      const { message } = cause as Error;
      throw new SpecError(`Cannot use line ${number} of ${path}: ${message}`, { cause });
    }
  };
  const capabilities = at(1, () => parseHead(objectOf(head!)));
  const lines = rest.flatMap((line, i) =>
    line.trim() === "" ? [] : [at(i + 2, () => parseLine(objectOf(line), capabilities))]
  );
  return { capabilities, lines };
}

/** @throws {SpecError} when it cannot be read, or a line is wrong */
export function readEvents(path: string): EventsFile {
  let text: string;
  try {
    const { isFile, size } = Deno.statSync(path);
    if (!isFile || size > MOST_BYTES) {
      throw new Error(`expected a file of up to ${MOST_BYTES} bytes`);
    }
    text = Deno.readTextFileSync(path);
  } catch (cause) {
    throw new SpecError(`Cannot read events ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseEvents(text, path);
}

function objectOf(line: string): Json {
  const value: unknown = JSON.parse(line);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new Error("expected an object");
}

function numberOf(value: unknown, what: string, min: number, max: number, absent?: number): number {
  if (value === undefined && absent !== undefined) return absent;
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
    return value as number;
  }
  throw new Error(`"${what}" is ${JSON.stringify(value)}, expected ${min} to ${max}`);
}

function textOf(value: unknown, what: string, absent: string): string {
  if (value === undefined) return absent;
  if (typeof value === "string" && value.length <= 128) return value;
  throw new Error(`"${what}" is ${JSON.stringify(value)}, expected up to 128 characters`);
}

/** An event type by its name. */
function typeOf(name: unknown): readonly [type: number, codes: number] {
  if (typeof name === "string" && Object.hasOwn(EVENT_TYPES, name)) {
    return EVENT_TYPES[name as keyof typeof EVENT_TYPES];
  }
  const names = Object.keys(EVENT_TYPES).join(", ");
  throw new Error(`"type" is ${JSON.stringify(name)}, expected one of ${names}`);
}

function listOf(value: unknown, what: string, end: number): number[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Error(`"${what}" is no list`);
  return value.map((one) => numberOf(one, what, 0, end - 1));
}

function recordOf(value: unknown, what: string): Json {
  if (value === undefined) return {};
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new Error(`"${what}" is no object`);
}

function parseHead(head: Json): Capabilities {
  const word = (value: unknown, what: string, absent: number): number =>
    numberOf(value, what, 0, 0xffff, absent);
  const { bustype, vendor, product, version } = recordOf(head.ids, "ids");
  const codes = Object.entries(recordOf(head.codes, "codes")).map(([name, list]) => {
    const [type, end] = typeOf(name);
    return [type, listOf(list, name, end)] as const;
  });
  const axes = Object.entries(recordOf(head.axes, "axes")).map(([code, info]) =>
    [numberOf(Number(code), "axis", 0, 0x3f), parseAxis(recordOf(info, code))] as const
  );
  return {
    name: textOf(head.name, "name", "viola input"),
    serial: textOf(head.serial, "serial", ""),
    ids: {
      bustype: word(bustype, "bustype", 0x06), // BUS_VIRTUAL
      vendor: word(vendor, "vendor", 0),
      product: word(product, "product", 0),
      version: word(version, "version", 0),
    },
    properties: listOf(head.properties, "properties", 32),
    codes: new Map([...codes, ...(axes.length === 0 ? [] : [[3, axes.map(([c]) => c)] as const])]),
    axes: new Map(axes),
  };
}

function parseAxis({ min, max, fuzz, flat, res }: Json): AbsInfo {
  const value = (one: unknown, what: string): number =>
    numberOf(one, what, -(2 ** 31), 2 ** 31 - 1, 0);
  return {
    min: value(min, "min"),
    max: value(max, "max"),
    fuzz: value(fuzz, "fuzz"),
    flat: value(flat, "flat"),
    res: value(res, "res"),
  };
}

/** Events are those that the head announces, or EV_SYN. */
function parseLine(line: Json, { codes }: Capabilities): Line {
  if (line.wait !== undefined) return { wait: numberOf(line.wait, "wait", 0, MOST_WAIT_MS) };
  const [type, end] = typeOf(line.type);
  const code = numberOf(line.code, "code", 0, end - 1);
  if (type !== 0 && !codes.get(type)?.includes(code)) {
    throw new Error(`code ${code} of ${line.type} is not in the first line`);
  }
  return { type, code, value: numberOf(line.value, "value", -(2 ** 31), 2 ** 31 - 1) };
}
