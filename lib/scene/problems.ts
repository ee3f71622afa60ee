// SPDX-License-Identifier: Apache-2.0
/**
 * What is wrong with a scene file, a sentence for each mistake: where it is, what is there, what is allowed.
 *
 * @module
 */
import { type OutputUnit, Validator } from "@cfworker/json-schema";
import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";
import type { Schema } from "./schema.ts";
import type { Path, TomlFile } from "./toml.ts";
import { oneOf } from "./words.ts";

/** A mistake in a file. */
export interface Problem {
  /** The file's path; absent where there is one file only. */
  readonly path?: string;
  /** From 1. */
  readonly line: number;
  /** A sentence: "Cannot use …: …, expected …". */
  readonly text: string;
}

/** Keywords whose errors only say that something below them is wrong. */
const OUTER = new Set(["properties", "items", "allOf", "if", "$ref", "then", "else"]);
/** A name that differs in more letters is not suggested. */
const MOST_TYPOS = 3;

/** Checks a file against the schema. */
export function problemsIn(file: TomlFile, schema: Schema): Problem[] {
  const { errors } = new Validator(schema as object, "2020-12", false).validate(file.table);
  const found = errors.flatMap((error, i) => problemOf(file, schema, error, errors[i + 1]) ?? []);
  // An alternative's error comes once for each way that the value might have been written.
  const once = new Map(found.map((one) => [`${one.line} ${one.text}`, one]));
  return [...once.values()].sort((a, b) => a.line - b.line);
}

function problemOf(
  file: TomlFile,
  schema: Schema,
  { keyword, keywordLocation, instanceLocation }: OutputUnit,
  next: OutputUnit | undefined,
): Problem | null {
  if (OUTER.has(keyword) || keyword === "false" || inAlternative(keywordLocation)) return null;
  const path = pathOf(instanceLocation, file);
  const owner = schemaAt(schema, keywordLocation);
  const at = (text: string, place: Path = path): Problem => ({ line: file.lineOf(place), text });
  switch (keyword) {
    case "additionalProperties": {
      if (next?.keyword !== "false") return null;
      const key = pathOf(next.instanceLocation, file);
      return at(unknownKey(key, owner), key);
    }
    case "required":
      return at(missing(path, file, owner.required!));
    case "dependentRequired":
      return at(dependent(path, file, owner.dependentRequired!));
    case "propertyNames":
      return null; // the name's own error says it
    default:
      return at(
        keywordLocation.includes("/propertyNames/")
          ? `Cannot use the name ${placeOf(path)}: expected ${expected(owner)}`
          : wrongValue(path, file, owner),
      );
  }
}

/** Of alternatives only the keyword itself is reported, not why each was none. */
function inAlternative(location: string): boolean {
  return /\/anyOf\/\d/.test(location);
}

// ---- sentences ----

function unknownKey(path: Path, { properties = {}, title }: Schema): string {
  const [key, known] = [String(path.at(-1)), Object.keys(properties)];
  const where = path.length === 1 ? "the file" : title ?? placeOf(path.slice(0, -1));
  return `Cannot use ${quoted(key)} in ${where}: it has no such key${
    suggestion(key, known)
  }, expected ${oneOf(known)}`;
}

function missing(path: Path, file: TomlFile, required: readonly string[]): string {
  const given = valueAt(file, path) as Record<string, unknown>;
  const absent = required.filter((key) => given[key] === undefined);
  return `Cannot use ${placeOf(path)}: ${oneOf(absent, "and")} ${
    absent.length === 1 ? "is" : "are"
  } missing`;
}

function dependent(
  path: Path,
  file: TomlFile,
  rules: Readonly<Record<string, readonly string[]>>,
): string {
  const given = valueAt(file, path) as Record<string, unknown>;
  const [key, needed] = Object.entries(rules).find(([key, needed]) =>
    given[key] !== undefined && needed.some((one) => given[one] === undefined)
  )!;
  return `Cannot use ${quoted(key)} in ${placeOf(path)}: it needs ${oneOf(needed, "and")} too`;
}

function wrongValue(path: Path, file: TomlFile, schema: Schema): string {
  const value = valueAt(file, path);
  const text = typeof value === "string" ? value : undefined;
  const hint = text === undefined ? "" : suggestion(text, knownValues(schema));
  return `Cannot use ${placeOf(path)} = ${shown(value)}${hint}: expected ${expected(schema)}`;
}

/** Values that a misspelt one may have been meant to be. */
function knownValues({ enum: values, examples }: Schema): string[] {
  return (values ?? examples ?? []).map(String);
}

/** What a schema allows, in words. */
function expected(schema: Schema): string {
  const { enum: values, type, minimum, maximum, minLength, maxLength, anyOf, $comment } = schema;
  if (values !== undefined) return oneOf(values.map(String));
  if (anyOf !== undefined) return `${expected(anyOf[0]!)}, or an array of such`;
  if ($comment !== undefined) return $comment;
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  if (type === "number") return `a number from ${minimum} to ${maximum}`;
  if (type === "array") return `an array of ${schema.minItems ?? 0} or more`;
  if (type === "object") return "a section";
  if (type === "boolean") return "true or false";
  if (maxLength !== undefined) return `a text of ${minLength ?? 0} to ${maxLength} characters`;
  return (minLength ?? 0) > 0 ? "a text that is not empty" : "a text";
}

/** " (did you mean …?)", or nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  if (known.length === 0) return "";
  const nearest = closestString(word, known);
  return levenshteinDistance(word, nearest) > MOST_TYPOS ? "" : ` (did you mean ${nearest}?)`;
}

/** A place in the file as its reader knows it: `[[device]] 2`, `[lane.audio]`, `device 2: sink`. */
function placeOf(path: Path): string {
  const [section, index, ...rest] = path;
  if (path.length === 0) return "the file";
  if (path.length === 1) return String(section);
  const isArray = typeof index === "number";
  const head = isArray ? `[[${section}]] ${index + 1}` : `[${section}.${index}]`;
  return rest.length === 0 ? head : `${rest.map(step).join("").replace(/^\./, "")} of ${head}`;
}

function step(key: string | number): string {
  return typeof key === "number" ? `[${key}]` : `.${key}`;
}

/** The most characters of a value that are shown. */
const SHOWN = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}…`;
}

function quoted(key: string): string {
  return `"${key}"`;
}

// ---- places ----

/** A JSON pointer as the path of a value; an index is a number where the value is in an array. */
function pathOf(pointer: string, file: TomlFile): Path {
  const path: (string | number)[] = [];
  for (const piece of pieces(pointer)) {
    path.push(Array.isArray(valueAt(file, path)) ? Number(piece) : piece);
  }
  return path;
}

function valueAt(file: TomlFile, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) => (value as Record<string, unknown>)?.[key],
    file.table,
  );
}

/** The schema that a keyword is in. */
function schemaAt(schema: Schema, keywordLocation: string): Schema {
  const path = pieces(keywordLocation).slice(0, -1);
  return path.reduce((at, key) => (at as Record<string, unknown>)[key] as object, schema as object);
}

function pieces(pointer: string): string[] {
  return pointer.split("/").slice(1)
    .map((piece) => decodeURIComponent(piece).replaceAll("~1", "/").replaceAll("~0", "~"));
}
