// SPDX-License-Identifier: Apache-2.0
/**
 * A scene: a file that names the devices of a car, where their drivers are, and who serves them.
 *
 * @module
 */
import type { BridgeDeviceOptions, LaneOptions } from "../bridge/mod.ts";
import type { CliValues } from "../device/cli_role.ts";
import { loadSceneClasses, type SceneClass } from "./classes.ts";
import {
  contradictionsIn,
  type Cue,
  type CueDevice,
  cueOf,
  type Expectation,
  expectationOf,
  type Section,
} from "./cues.ts";
import { JoinedFiles, type SceneFile, tomlOf } from "./files.ts";
import { type Problem, problemsIn } from "./problems.ts";
import { keyOf, sceneSchema, type Schema } from "./schema.ts";
import type { TomlFile } from "./toml.ts";

export type { Action, Cue, Expectation } from "./cues.ts";
export {
  loadSceneClasses,
  type Problem,
  type SceneClass,
  type SceneFile,
  sceneSchema,
  type Schema,
};

/** Who serves a device. */
export type Server =
  /** An embedded device, with its class's options. */
  | { readonly kind: "own"; readonly spec: object }
  /** Somebody else's back-end; `command` starts it, null when it starts by itself. */
  | { readonly kind: "foreign"; readonly socket: string; readonly command: string | null };

/** A device of a scene. */
export interface SceneDevice {
  readonly name: string;
  /** All that the file says of it: when this is the same, nothing has changed. */
  readonly settings: string;
  readonly server: Server;
  /** All that the bridge needs but the socket. */
  readonly attachment: Omit<BridgeDeviceOptions, "socket"> & { readonly name: string };
}

/** What a file says. */
export interface Scene {
  readonly devices: readonly SceneDevice[];
  readonly lanes: readonly LaneOptions[];
  /** What happens in a demo, in the order of the file. */
  readonly cues: readonly Cue[];
  /** What shall hold after it. */
  readonly expectations: readonly Expectation[];
}

/** `loopback` of a device whose driver is one of `viola demo`. */
export const SOFT = "soft";

/** A file with mistakes. */
export class SceneError extends Error {
  override readonly name = "SceneError";

  /** @param problems In the order of their lines */
  constructor(readonly problems: readonly Problem[]) {
    super(problems.map(({ line, text }) => `line ${line}: ${text}`).join("\n"));
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is SceneError {
    return error instanceof Error && error.name === "SceneError";
  }
}

/** A [[device]] section that fits the schema. */
interface DeviceTable {
  readonly class: string;
  readonly name?: string;
  readonly loopback: string;
  readonly socket?: string;
  readonly command?: string;
  readonly memory?: BridgeDeviceOptions["memory"];
  readonly "mmio-version"?: BridgeDeviceOptions["mmioVersion"];
  readonly priority?: number;
  readonly lane?: string;
  readonly keep?: boolean;
  readonly [option: string]: unknown;
}

/** A file that fits the schema. */
interface SceneTable {
  readonly device: readonly DeviceTable[];
  readonly lane?: Readonly<Record<string, Omit<LaneOptions, "name">>>;
  readonly cue?: readonly Section[];
  readonly expect?: readonly Section[];
}

/** Reads a scene. @throws {SceneError} with every mistake that was found */
export function readScene(text: string, classes: readonly SceneClass[]): Scene {
  return sceneIn(parse(text), classes);
}

/**
 * Reads a scene that lies in several files, as if they were one.
 *
 * @throws {SceneError} with every mistake that was found, and the file that it is in
 */
export function readScenes(files: readonly SceneFile[], classes: readonly SceneClass[]): Scene {
  const joined = new JoinedFiles(files);
  try {
    if (joined.problems.length > 0) throw new SceneError(joined.problems);
    return sceneIn(joined, classes);
  } catch (error) {
    if (!SceneError.is(error)) throw error;
    throw new SceneError(error.problems.map((one) => ({ ...one, ...joined.placeOf(one.line) })));
  }
}

function sceneIn(file: TomlFile, classes: readonly SceneClass[]): Scene {
  const problems = problemsIn(file, sceneSchema(classes));
  if (problems.length > 0) throw new SceneError(problems);
  const table = file.table as unknown as SceneTable;
  const names = namesOf(table.device);
  const [cues, expectations] = [
    (table.cue ?? []).map(cueOf),
    (table.expect ?? []).map(expectationOf),
  ];
  const contradictions = [
    ...repeated(file, "name", names),
    ...repeated(file, "loopback", table.device.map(nodeOf)),
    ...repeated(file, "socket", table.device.map(({ socket }) => socket)),
    ...unusedLanes(file, table),
    ...contradictionsIn(file, cues, expectations, cueDevices(table, names)),
  ];
  if (contradictions.length > 0) throw new SceneError(byLine(contradictions));
  return {
    devices: table.device.map((device, i) => deviceOf(device, names[i]!, classes)),
    lanes: Object.entries(table.lane ?? {}).map(([name, lane]) => ({ name, ...lane })),
    cues,
    expectations,
  };
}

function byLine(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => a.line - b.line);
}

/** The node that only one device can be at; each soft driver makes its own. */
function nodeOf({ loopback }: DeviceTable): string | undefined {
  return loopback === SOFT ? undefined : loopback;
}

function cueDevices({ device }: SceneTable, names: readonly string[]): CueDevice[] {
  return device.map(({ class: className, loopback, socket, command }, i) => ({
    name: names[i]!,
    className,
    isSoft: loopback === SOFT,
    isOwn: socket === undefined,
    isStarted: socket === undefined || command !== undefined,
  }));
}

function parse(text: string): TomlFile {
  const file = tomlOf(text);
  if ("table" in file) return file;
  throw new SceneError([file]);
}

/** Given names; else the class, with a number when there are several of it without a name. */
function namesOf(devices: readonly DeviceTable[]): string[] {
  const counts = new Map<string, number>();
  const unnamed = devices.filter(({ name }) => name === undefined);
  return devices.map(({ name, class: className }) => {
    if (name !== undefined) return name;
    const before = counts.get(className) ?? 0;
    counts.set(className, before + 1);
    const alone = unnamed.filter((other) => other.class === className).length === 1;
    return alone ? className : `${className}${before}`;
  });
}

/** Values that two devices have and only one can. */
function repeated(
  file: TomlFile,
  key: "name" | "loopback" | "socket",
  values: readonly (string | undefined)[],
): Problem[] {
  return values.flatMap((value, i) => {
    const first = values.indexOf(value);
    if (value === undefined || first === i) return [];
    const text = `Cannot use ${key} "${value}" twice: [[device]] ${first + 1} has it already`;
    return [{ line: file.lineOf(["device", i, key]), text }];
  });
}

/** A lane that no device is in is a mistake in its name. */
function unusedLanes(file: TomlFile, { device, lane = {} }: SceneTable): Problem[] {
  const used = new Set(device.map(({ lane = MAIN }) => lane));
  return Object.keys(lane).filter((name) => !used.has(name)).map((name) => ({
    line: file.lineOf(["lane", name]),
    text: `Cannot set up [lane.${name}]: no device is in it, expected ${[...used].join(" or ")}`,
  }));
}

/** The lane of devices that name none. */
const MAIN = "main";

function deviceOf(table: DeviceTable, name: string, classes: readonly SceneClass[]): SceneDevice {
  const one = classes.find(({ deviceClass }) => deviceClass.name === table.class)!;
  const { loopback, memory = "isolated", priority = 0, lane = MAIN, keep } = table;
  return {
    name,
    settings: JSON.stringify(table),
    server: table.socket === undefined
      ? { kind: "own", spec: one.cli.parse(valuesOf(table, one)) }
      : { kind: "foreign", socket: table.socket, command: table.command ?? null },
    attachment: {
      name,
      class: one.deviceClass,
      loopback,
      memory,
      mmioVersion: table["mmio-version"] ?? "auto",
      priority,
      lane,
      ...(keep === undefined ? {} : { keep }),
    },
  };
}

/** The options of the class that are given, as on its command line. */
function valuesOf(table: DeviceTable, { cli }: SceneClass): CliValues {
  const given = cli.options.filter((option) => table[keyOf(option)] !== undefined);
  return Object.fromEntries(given.map((option) => {
    const value = table[keyOf(option)];
    const name = keyOf(option).replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    return [name, option.repeatable && !Array.isArray(value) ? [value] : value];
  })) as CliValues;
}
