// SPDX-License-Identifier: Apache-2.0
/**
 * The cues and expectations of a demo: what a file says of them, and what about it contradicts the rest of the file.
 *
 * @module
 */
import { CUE_KEYS, EXPECTATION_KEYS, VIOLA } from "./cue_schema.ts";
import { type Problem, suggestion } from "./problems.ts";
import type { TomlFile } from "./toml.ts";
import { oneOf } from "./words.ts";

/** What a cue does; `device` is the name of one, or `viola`. */
export type Action =
  /** `seconds` is the length of a computed piece. */
  | { readonly kind: "play"; readonly device: string; readonly what: string; seconds: number }
  /** To a file of this name, in the folder of the demo. */
  | { readonly kind: "record"; readonly device: string; readonly name: string; seconds: number }
  | { readonly kind: "pause" | "resume" | "end"; readonly device: string }
  | { readonly kind: "kill" | "stop" | "start"; readonly device: string }
  /** `frame` as candump writes it. */
  | { readonly kind: "send"; readonly device: string; readonly frame: string }
  | { readonly kind: "set"; readonly device: string; readonly line: string; readonly level: 0 | 1 }
  | { readonly kind: "load"; readonly processes: number; readonly seconds: number }
  | { readonly kind: "caption"; readonly text: string };

/** Something that happens at a moment of a demo. */
export interface Cue {
  /** Seconds from the beginning. */
  readonly at: number;
  readonly action: Action;
}

/** Something that shall hold after a demo. */
export type Expectation =
  /** Of what was played from `from` to `to`, in seconds. */
  | { readonly kind: "equal"; readonly device: string; readonly from: number; readonly to: number }
  | { readonly kind: "nothing-lost" | "no-xruns"; readonly device: string }
  | { readonly kind: "latency-below"; readonly device: string; readonly ms: number };

/** A section of a file, that fits the schema. */
export type Section = Readonly<Record<string, string | number | undefined>>;

/** The length of a computed piece, in seconds, when the cue has none. */
const USUAL_S = 2;

/** What a `[[cue]]` section says. */
export function cueOf(section: Section): Cue {
  return { at: section.at as number, action: actionOf(section) };
}

function actionOf(section: Section): Action {
  const key = CUE_KEYS.find((key) => section[key] !== undefined) as Action["kind"];
  const value = section[key]!;
  const device = String(section.on ?? value);
  switch (key) {
    case "play":
      return { kind: key, device, what: `${value}`, seconds: Number(section.seconds ?? USUAL_S) };
    case "record":
      return { kind: key, device, name: `${value}`, seconds: Number(section.seconds) };
    case "send":
      return { kind: key, device, frame: `${value}` };
    case "set": {
      const [, line, level] = /^(.*)=([01])$/.exec(`${value}`)!;
      return { kind: key, device, line: line!, level: Number(level) as 0 | 1 };
    }
    case "load":
      return { kind: key, processes: Number(value), seconds: Number(section.seconds) };
    case "caption":
      return { kind: key, text: `${value}` };
    default:
      return { kind: key, device };
  }
}

/** What an `[[expect]]` section says. */
export function expectationOf(section: Section): Expectation {
  const key = EXPECTATION_KEYS.find((key) => section[key] !== undefined) as Expectation["kind"];
  const value = section[key]!;
  const device = String(section.on ?? value);
  if (key === "latency-below") return { kind: key, device, ms: Number(value) };
  if (key !== "equal") return { kind: key, device };
  return { kind: key, device, from: Number(section.from ?? 0), to: Number(section.to ?? Infinity) };
}

// ---- contradictions ----

/** What the checks know of a device. */
export interface CueDevice {
  readonly name: string;
  readonly className: string;
  /** Whether its driver is one of viola demo's. */
  readonly isSoft: boolean;
  /** Whether its back-end is viola's own. */
  readonly isOwn: boolean;
  /** Whether viola starts its back-end. */
  readonly isStarted: boolean;
}

/** The classes that a cue's device may be of; cues that are not here are for all. */
const CLASSES: Partial<Record<Action["kind"] | Expectation["kind"], string>> = {
  play: "sound",
  record: "sound",
  pause: "sound",
  resume: "sound",
  end: "sound",
  send: "can",
  set: "gpio",
  equal: "sound",
  "nothing-lost": "sound",
  "no-xruns": "sound",
  "latency-below": "sound",
};
/** Cues about a back-end, or viola. */
const LIFE = ["kill", "stop", "start"];

/** What contradicts the devices of the file, or another section. */
export function contradictionsIn(
  file: TomlFile,
  cues: readonly Cue[],
  expectations: readonly Expectation[],
  devices: readonly CueDevice[],
): Problem[] {
  const strange = [...notNumbers(file, "cue"), ...notNumbers(file, "expect")];
  if (strange.length > 0) return strange;
  return [
    ...cues.flatMap(({ action }, i) => aboutDevice(file, "cue", i, action, devices)),
    ...expectations.flatMap((one, i) => aboutDevice(file, "expect", i, one, devices)),
    ...lives(file, cues),
    ...recordedTwice(file, cues, devices),
    ...expectations.flatMap((one, i) => aboutExpectation(file, i, one, cues)),
  ];
}

/** TOML has a number that is none, which is neither above nor below a limit. */
function notNumbers(file: TomlFile, section: "cue" | "expect"): Problem[] {
  const sections = (file.table[section] ?? []) as readonly Section[];
  return sections.flatMap((one, i) =>
    Object.keys(one).filter((key) => Number.isNaN(one[key])).map((key) => ({
      line: file.lineOf([section, i, key]),
      text: `Cannot use ${key} of [[${section}]] ${i + 1} = nan: expected a number`,
    }))
  );
}

/** The key of a section that names its device. */
function deviceKey(file: TomlFile, section: "cue" | "expect", i: number, kind: string): string {
  const given = (file.table[section] as readonly Section[])[i]!;
  return given.on === undefined ? kind : "on";
}

function aboutDevice(
  file: TomlFile,
  section: "cue" | "expect",
  i: number,
  one: Action | Expectation,
  devices: readonly CueDevice[],
): Problem[] {
  if (!("device" in one)) return [];
  const { kind, device } = one;
  const key = deviceKey(file, section, i, kind);
  const at = (what: string): Problem[] => [{
    line: file.lineOf([section, i, key]),
    text: `Cannot use ${key} = "${device}" in [[${section}]] ${i + 1}: ${what}`,
  }];
  const isLife = LIFE.includes(kind);
  if (isLife && device === VIOLA) return [];
  const wanted = CLASSES[kind];
  const fit = devices.filter(({ className }) => wanted === undefined || className === wanted);
  const found = devices.find(({ name }) => name === device);
  if (found === undefined) {
    const names = [...fit.map(({ name }) => name), ...(isLife ? [VIOLA] : [])];
    const none = `no device of class ${wanted} is in the file`;
    return at(
      names.length === 0
        ? none
        : `there is no such device${suggestion(device, names)}, expected ${oneOf(names)}`,
    );
  }
  if (!fit.includes(found)) {
    return at(`it is a device of class ${found.className}, expected one of class ${wanted}`);
  }
  if (isLife) {
    return found.isStarted ? [] : at("viola does not start its back-end: command is missing");
  }
  if (kind === "set") {
    return found.isOwn ? [] : at("only lines of a device of viola's own are simulated");
  }
  return found.isSoft
    ? []
    : at('its driver is not one of viola demo\'s, expected loopback = "soft"');
}

/** Files that two write: another recording, or what a card plays. */
function recordedTwice(
  file: TomlFile,
  cues: readonly Cue[],
  devices: readonly CueDevice[],
): Problem[] {
  const taken = new Map(devices.map(({ name }) => [name, `what ${name} plays is recorded there`]));
  return cues.flatMap(({ action }, i) => {
    if (action.kind !== "record") return [];
    const why = taken.get(action.name);
    taken.set(action.name, `[[cue]] ${i + 1} has it already`);
    if (why === undefined) return [];
    const text = `Cannot use record = "${action.name}" in [[cue]] ${i + 1}: ${why}`;
    return [{ line: file.lineOf(["cue", i, "record"]), text }];
  });
}

/** Starts of what runs, kills of what does not. */
function lives(file: TomlFile, cues: readonly Cue[]): Problem[] {
  const ended = new Map<string, number>();
  const problems: Problem[] = [];
  const inOrder = cues.map((cue, i) => ({ ...cue, i })).sort((a, b) => a.at - b.at);
  for (const { action, at, i } of inOrder) {
    if (action.kind !== "kill" && action.kind !== "stop" && action.kind !== "start") continue;
    const { kind, device } = action;
    const since = ended.get(device);
    if ((kind === "start") === (since !== undefined)) {
      if (kind === "start") ended.delete(device);
      else ended.set(device, at);
      continue;
    }
    const why = since === undefined ? "it is running then" : `it has ended at ${since} s`;
    const text = `Cannot use ${kind} = "${device}" in [[cue]] ${i + 1} at ${at} s: ${why}`;
    problems.push({ line: file.lineOf(["cue", i, kind]), text });
  }
  return problems;
}

function aboutExpectation(
  file: TomlFile,
  i: number,
  one: Expectation,
  cues: readonly Cue[],
): Problem[] {
  const at = (key: string, text: string): Problem[] => [{
    line: file.lineOf(["expect", i, key]),
    text: `Cannot use [[expect]] ${i + 1}: ${text}`,
  }];
  const plays = cues.some(({ action }) => action.kind === "play" && action.device === one.device);
  if (!plays) return at(one.kind, `nothing is played on ${one.device}`);
  if (one.kind !== "equal" || one.from < one.to) return [];
  return at("from", `from = ${one.from} is not before to = ${one.to}`);
}
