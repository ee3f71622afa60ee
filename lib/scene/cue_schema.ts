// SPDX-License-Identifier: Apache-2.0
/**
 * The sections of a demo in a scene file: `[[cue]]`, what happens when, and `[[expect]]`, what shall hold afterwards. Each has
 * one key that says what it is, and further keys that belong to that.
 *
 * @module
 */
import { PIECE_NAMES } from "./piece_names.ts";
import type { Schema } from "./schema.ts";
import { oneOf } from "./words.ts";

/** The most cues, or expectations, in one file. */
const MOST = 1000;
/** The longest time in a scene, in seconds. */
const LONGEST_S = 3600;

/** Where viola itself may be named instead of a device. */
export const VIOLA = "viola";

const seconds = (description: string, least = 0): Schema => ({
  type: "number",
  minimum: least,
  maximum: LONGEST_S,
  description,
});

const text = (description: string): Schema => ({
  type: "string",
  minLength: 1,
  maxLength: 200,
  description,
});

const device = (description: string): Schema => ({ type: "string", minLength: 1, description });

/** Shortest sound, in seconds. */
const SHORTEST_S = 0.01;

/** A kind of cue or expectation: its key, and the keys that belong to it. */
interface Kind {
  /** What it is called in errors: "a cue that plays". */
  readonly title: string;
  readonly value: Schema;
  readonly required?: Readonly<Record<string, Schema>>;
  readonly optional?: Readonly<Record<string, Schema>>;
}

const CUE_KINDS: Readonly<Record<string, Kind>> = {
  play: {
    title: "a cue that plays",
    value: {
      type: "string",
      pattern: `^(wav:.+|${PIECE_NAMES.join("|")})$`,
      examples: PIECE_NAMES,
      $comment: `wav:FILE, ${oneOf(PIECE_NAMES)}`,
      description: "a WAV file, or a piece that viola computes",
    },
    required: { on: device("the sound card") },
    optional: { seconds: seconds("length of a computed piece (2)", SHORTEST_S) },
  },
  record: {
    title: "a cue that records",
    value: {
      type: "string",
      pattern: "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
      $comment: "a name of letters, digits, _ and -, at most 64 of them",
      description: "the name of the file, without .wav: 48 kHz, stereo, 16 bits",
    },
    required: {
      on: device("the sound card, which plays nothing meanwhile"),
      seconds: seconds("for so long", SHORTEST_S),
    },
  },
  pause: { title: "a cue that pauses", value: device("the card that pauses") },
  resume: { title: "a cue that resumes", value: device("the card that goes on") },
  end: { title: "a cue that ends", value: device("the card whose playback ends") },
  kill: {
    title: "a cue that kills",
    value: device(`the device whose back-end, or ${VIOLA} if it, gets SIGKILL`),
  },
  stop: {
    title: "a cue that stops",
    value: device(`the device whose back-end, or ${VIOLA} if it, ends in order`),
  },
  start: {
    title: "a cue that starts",
    value: device(`what was killed or stopped: a device's back-end, or ${VIOLA}`),
  },
  send: {
    title: "a cue that sends",
    value: {
      type: "string",
      pattern: "^([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#([0-9A-Fa-f]{2}){0,8}$",
      $comment: "a CAN frame as candump writes it, such as 123#11FF",
      description: "a CAN frame that the driver sends",
    },
    required: { on: device("the CAN controller") },
  },
  set: {
    title: "a cue that sets",
    value: {
      type: "string",
      pattern: "^[^=]+=[01]$",
      $comment: "LINE=0 or LINE=1",
      description: "a simulated GPIO line, driven from outside",
    },
    required: { on: device("the GPIO controller") },
  },
  load: {
    title: "a cue that loads CPUs",
    value: {
      type: "integer",
      minimum: 1,
      maximum: 64,
      description: "processes that do nothing but use a CPU each",
    },
    required: { seconds: seconds("for so long", SHORTEST_S) },
  },
  caption: { title: "a cue with a caption", value: text("what is said of this moment") },
};

const EXPECTATION_KINDS: Readonly<Record<string, Kind>> = {
  equal: {
    title: "an expectation of equality",
    value: device("the card whose recording equals what was played on it, bit for bit"),
    optional: {
      from: seconds("of what was played, in seconds from its beginning (0)"),
      to: seconds("the same (to the end)"),
    },
  },
  "nothing-lost": {
    title: "an expectation that nothing is lost",
    value: device(
      "the card whose recording has all that was played, in order; what was in flight may be there twice",
    ),
  },
  "no-xruns": {
    title: "an expectation of no xruns",
    value: device("the card that had none"),
  },
  "latency-below": {
    title: "an expectation of latency",
    value: {
      type: "number",
      minimum: 0.1,
      maximum: 10_000,
      description: "in milliseconds: what the card holds, and what its device reports",
    },
    required: { on: device("the card") },
  },
};

/** What a cue may do. */
export const CUE_KEYS: readonly string[] = Object.keys(CUE_KINDS);
/** What may be expected. */
export const EXPECTATION_KEYS: readonly string[] = Object.keys(EXPECTATION_KINDS);

/** A section of one of several kinds, told by its key; the first that is there counts. */
function sectionSchema(
  kinds: Readonly<Record<string, Kind>>,
  common: Readonly<Record<string, Schema>>,
  what: string,
): Schema {
  const keys = Object.keys(kinds);
  const properties = {
    ...common,
    ...Object.fromEntries(keys.map((key) => [key, true as const])),
  };
  const unknown: Schema = {
    properties,
    additionalProperties: false,
    minProperties: Object.keys(common).length + 1,
    $comment: `${what}: ${oneOf(keys)}`,
  };
  return keys.toReversed().reduce((others: Schema, key): Schema => {
    const { title, value, required = {}, optional = {} } = kinds[key]!;
    return {
      if: { required: [key] },
      then: {
        title,
        properties: { ...common, [key]: value, ...required, ...optional },
        additionalProperties: false,
        ...(Object.keys(required).length === 0 ? {} : { required: Object.keys(required) }),
      },
      else: others,
    };
  }, unknown);
}

/** All `[[cue]]` sections. */
export const CUES: Schema = {
  type: "array",
  maxItems: MOST,
  description: "what happens in a demo, a [[cue]] section for each moment",
  items: {
    type: "object",
    required: ["at"],
    ...sectionSchema(
      CUE_KINDS,
      { at: seconds("when, in seconds from the beginning, such as 1.5") },
      "something that happens",
    ),
  },
};

/** All `[[expect]]` sections. */
export const EXPECTATIONS: Schema = {
  type: "array",
  maxItems: MOST,
  description: "what shall hold after a demo, an [[expect]] section for each",
  items: { type: "object", ...sectionSchema(EXPECTATION_KINDS, {}, "something to expect") },
};
