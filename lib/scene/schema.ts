// SPDX-License-Identifier: Apache-2.0
/**
 * The format of a scene file as a JSON Schema (draft 2020-12), made from the list of device classes: a new class, or a new
 * option of one, is part of it by being listed.
 *
 * @module
 */
import type { CliOption } from "../device/cli_role.ts";
import type { SceneClass } from "./classes.ts";
import { CUES, EXPECTATIONS } from "./cue_schema.ts";

/** The part of JSON Schema that is used here. */
export interface Schema {
  readonly $schema?: string;
  readonly title?: string;
  readonly description?: string;
  /** Values that it allows, among others: a misspelt one is recognized. */
  readonly examples?: readonly string[];
  /** Of a pattern: what it allows, in words. */
  readonly $comment?: string;
  readonly type?: "object" | "array" | "string" | "number" | "integer" | "boolean";
  readonly properties?: Readonly<Record<string, Schema | true>>;
  readonly additionalProperties?: Schema | false;
  readonly propertyNames?: Schema;
  readonly required?: readonly string[];
  readonly dependentRequired?: Readonly<Record<string, readonly string[]>>;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly enum?: readonly (string | number)[];
  readonly const?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minProperties?: number;
  readonly pattern?: string;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
  readonly if?: Schema;
  readonly then?: Schema;
  readonly else?: Schema;
}

/** The most devices in one file. */
const MOST_DEVICES = 64;
/** Highest CPU number of a lane. */
const LAST_CPU = 52;

/** A name in a file. */
export const NAME: Schema = {
  type: "string",
  pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
  $comment: "letters, digits, _ . and -, at most 64 of them, with a letter or digit first",
};

/** What a device of every class may have. */
const COMMON: Readonly<Record<string, Schema>> = {
  class: { type: "string" },
  name: { ...NAME, description: "the device's name in reports" },
  loopback: {
    type: "string",
    pattern: "^(/dev/loopback(-[0-9]{1,4})?|soft(:.+)?)$",
    $comment: "/dev/loopback-N, /dev/loopback, soft:PATH, or soft for a driver of viola demo",
    description: "where its driver is; soft: a software driver, which viola demo starts",
  },
  socket: {
    type: "string",
    minLength: 1,
    description: "the Unix socket of its back-end; without it the device is viola's own",
  },
  command: {
    type: "string",
    minLength: 1,
    description: "a shell command that starts the back-end, run again whenever it ends",
  },
  memory: { enum: ["isolated", "direct"], description: "isolated (default) or direct" },
  "mmio-version": { enum: [1, 2, "auto"], description: "version of the registers: 1, 2 or auto" },
  priority: {
    type: "integer",
    minimum: -100,
    maximum: 100,
    description: "a higher number is served first in its lane",
  },
  lane: { ...NAME, description: "devices of one lane share two threads" },
  keep: { type: "boolean", description: "let the next viola restore the device" },
};

const LANE: Schema = {
  type: "object",
  description: "a pair of threads that serves devices",
  properties: {
    cpus: {
      type: "array",
      minItems: 1,
      items: { type: "integer", minimum: 0, maximum: LAST_CPU },
      description: "the CPUs that it may run on, such as [1, 2]",
    },
    realtime: {
      type: "integer",
      minimum: 1,
      maximum: 99,
      description: "its real-time priority",
    },
  },
  additionalProperties: false,
};

/** The name of an option's key: the option without its dashes. */
export function keyOf({ flags }: CliOption): string {
  return /^--([a-z0-9-]+)/.exec(flags)![1]!;
}

/** An option of a class's device, as a key. */
function optionSchema(option: CliOption): Schema {
  const description = option.description.replaceAll("\n", " ");
  if (!option.flags.includes("<")) return { type: "boolean", description };
  const { range, choices } = option;
  const one: Schema = range !== undefined
    ? { type: "integer", minimum: range[0], maximum: range[1] }
    : choices !== undefined
    ? { enum: choices }
    : { type: "string", minLength: 1 };
  if (!option.repeatable) return { ...one, description };
  return { anyOf: [one, { type: "array", minItems: 1, items: one }], description };
}

/** With a socket the device is somebody else's, and has no options of viola's. */
function deviceBranch({ deviceClass: { name, roles }, cli }: SceneClass): Schema {
  const common = Object.fromEntries(Object.keys(COMMON).map((key) => [key, true as const]));
  const options = Object.fromEntries(cli.options.map((one) => [keyOf(one), optionSchema(one)]));
  const foreign: Schema = {
    title: `a device of class ${name} with a socket`,
    properties: common,
    additionalProperties: false,
  };
  const own: Schema = {
    title: `a device of class ${name}`,
    properties: { ...common, ...options },
    additionalProperties: false,
  };
  return {
    if: { properties: { class: { const: name } }, required: ["class"] },
    then: roles.device === undefined
      ? { ...foreign, required: ["socket"] }
      : { if: { required: ["socket"] }, then: foreign, else: own },
  };
}

/** The schema. */
export function sceneSchema(classes: readonly SceneClass[]): Schema {
  const names = classes.map(({ deviceClass: { name } }) => name);
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "A scene of viola",
    description:
      "The devices of a car, and who serves them (viola up FILE); of a demo also what happens to them when (viola demo FILE).",
    type: "object",
    required: ["device"],
    properties: {
      device: {
        type: "array",
        minItems: 1,
        maxItems: MOST_DEVICES,
        description: "the devices, a [[device]] section each",
        items: {
          type: "object",
          properties: { ...COMMON, class: { enum: names, description: "what it is a device of" } },
          required: ["class", "loopback"],
          dependentRequired: { command: ["socket"] },
          allOf: classes.map(deviceBranch),
        },
      },
      lane: {
        type: "object",
        description: "a [lane.NAME] section for each lane with CPUs or a priority of its own",
        propertyNames: NAME,
        additionalProperties: LANE,
      },
      cue: CUES,
      expect: EXPECTATIONS,
    },
    additionalProperties: false,
  };
}
