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
import {
  type AbsInfo,
  type DeviceIds,
  EVENT_TYPES,
  type InputEvent,
  MOST_PAYLOAD,
} from "./wire.ts";

const [EV_ABS] = EVENT_TYPES.EV_ABS;

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
  const capabilities = at(`line 1 of ${path}`, () => parseHead(objectOf(head!)));
  const lines = rest.flatMap((line, i) =>
    line.trim() === "" ? [] : [parseEvent(line, capabilities, `line ${i + 2} of ${path}`)]
  );
  return { capabilities, lines };
}

/** Reads a line after the first. @param place What it is, for errors @throws {SpecError} */
export function parseEvent(text: string, capabilities: Capabilities, place: string): Line {
  return at(place, () => parseLine(objectOf(text), capabilities));
}

/** @throws {SpecError} naming the place */
function at<T>(place: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new SpecError(`Cannot use ${place}: ${(cause as Error).message}`, { cause });
  }
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
  const bytes = typeof value === "string" ? new TextEncoder().encode(value).length : Infinity;
  if (bytes <= MOST_PAYLOAD) return value as string;
  throw new Error(
    `"${what}" is ${JSON.stringify(value)}, expected a text of up to ${MOST_PAYLOAD} bytes`,
  );
}

/** @throws {Error} for a key that is not one of these */
function onlyKeys(object: Json, what: string, keys: readonly string[]): void {
  const unknown = Object.keys(object).find((key) => !keys.includes(key));
  if (unknown === undefined) return;
  throw new Error(`there is no ${JSON.stringify(unknown)} in ${what}, expected ${keys.join(", ")}`);
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
  onlyKeys(head, "the first line", ["name", "serial", "ids", "properties", "codes", "axes"]);
  const axes = new Map(
    Object.entries(recordOf(head.axes, "axes")).map(([code, info]) => parseAxis(code, info)),
  );
  return {
    name: textOf(head.name, "name", "viola input"),
    serial: textOf(head.serial, "serial", ""),
    ids: parseIds(recordOf(head.ids, "ids")),
    properties: listOf(head.properties, "properties", 32),
    codes: parseCodes(recordOf(head.codes, "codes"), axes),
    axes,
  };
}

function parseIds(ids: Json): DeviceIds {
  onlyKeys(ids, '"ids"', ["bustype", "vendor", "product", "version"]);
  const word = (what: keyof DeviceIds, absent: number): number =>
    numberOf(ids[what], what, 0, 0xffff, absent);
  return {
    bustype: word("bustype", 0x06), // BUS_VIRTUAL
    vendor: word("vendor", 0),
    product: word("product", 0),
    version: word("version", 0),
  };
}

/** Codes by event type: those of the axes are of EV_ABS, and no others are. */
function parseCodes(codes: Json, axes: Capabilities["axes"]): Map<number, readonly number[]> {
  const parsed = new Map(
    Object.entries(codes).map(([name, list]) => {
      const [type, end] = typeOf(name);
      return [type, listOf(list, name, end) as readonly number[]];
    }),
  );
  const other = parsed.get(EV_ABS)?.find((code) => !axes.has(code));
  if (other !== undefined) throw new Error(`"EV_ABS" has ${other}, expected it in "axes" too`);
  return axes.size === 0 ? parsed : parsed.set(EV_ABS, [...axes.keys()]);
}

const AXIS_KEYS = ["min", "max", "fuzz", "flat", "res"] as const;

/** @param code As it is written: JSON has no other keys than texts */
function parseAxis(code: string, info: unknown): [number, AbsInfo] {
  const what = `"axes" ${JSON.stringify(code)}`;
  const [, end] = EVENT_TYPES.EV_ABS;
  if (!/^(0|[1-9]\d?)$/.test(code) || Number(code) >= end) {
    throw new Error(`${what}: expected the number of an axis, "0" to "${end - 1}"`);
  }
  const given = recordOf(info, `axes ${code}`);
  onlyKeys(given, what, AXIS_KEYS);
  const value = (key: typeof AXIS_KEYS[number], least: number): number =>
    numberOf(given[key], `${key} of axis ${code}`, least, 2 ** 31 - 1, 0);
  const axis = {
    min: value("min", -(2 ** 31)),
    max: value("max", -(2 ** 31)),
    fuzz: value("fuzz", 0),
    flat: value("flat", 0),
    res: value("res", 0),
  };
  if (axis.min <= axis.max) return [Number(code), axis];
  throw new Error(`${what}: min is ${axis.min} and max ${axis.max}, expected min to be no more`);
}

/** Events are those that the head announces, or EV_SYN. */
function parseLine(line: Json, { codes }: Capabilities): Line {
  if (line.wait !== undefined) {
    onlyKeys(line, "a wait", ["wait"]);
    return { wait: numberOf(line.wait, "wait", 0, MOST_WAIT_MS) };
  }
  onlyKeys(line, "an event", ["type", "code", "value"]);
  const [type, end] = typeOf(line.type);
  const code = numberOf(line.code, "code", 0, end - 1);
  if (type !== 0 && !codes.get(type)?.includes(code)) {
    throw new Error(`code ${code} of ${line.type} is not in the first line`);
  }
  return { type, code, value: numberOf(line.value, "value", -(2 ** 31), 2 ** 31 - 1) };
}
