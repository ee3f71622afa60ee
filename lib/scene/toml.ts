// SPDX-License-Identifier: Apache-2.0
/**
 * TOML with the line of each key, so that a mistake can be shown where it is.
 *
 * @module
 */
import { parse, TomlError, type TomlTable } from "smol-toml";

/** A value's place in a file: the keys and array indices that lead to it. */
export type Path = readonly (string | number)[];

/** A file that is no TOML. */
export class SyntaxProblem extends Error {
  override readonly name = "SyntaxProblem";

  /** @param line From 1 */
  constructor(readonly line: number, message: string) {
    super(message);
  }

  /** Whether an error is one of these, of whatever copy of this class: an executable has several. */
  static is(error: unknown): error is SyntaxProblem {
    return error instanceof Error && error.name === "SyntaxProblem";
  }
}

/** What a file holds, and where. */
export interface TomlFile {
  readonly table: TomlTable;
  /** The line, from 1, of the key or section that a path leads to, or of the nearest one around it. */
  lineOf(path: Path): number;
}

/** Reads a file. @throws {SyntaxProblem} */
export function readToml(text: string): TomlFile {
  try {
    const table = parse(text);
    const lines = findLines(text);
    return { table, lineOf: (path) => nearest(lines, path) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [what] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new SyntaxProblem(error.line, what!);
  }
}

function nearest(lines: ReadonlyMap<string, number>, path: Path): number {
  for (let length = path.length; length > 0; length--) {
    const line = lines.get(path.slice(0, length).join("\0"));
    if (line !== undefined) return line;
  }
  return 1;
}

const HEADER = /^\s*(\[\[?)\s*([^\]]*?)\s*\]/;
const KEY = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/;
const LONG_QUOTES = /"""|'''/g;

/** Keys that are nested deeper have no line of their own: nothing in the format is. */
const DEEPEST = 8;

/** The line of each section and key of a valid file; what lies in an inline table is at the line of its key. */
function findLines(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  const counts = new Map<string, number>();
  let section: (string | number)[] = [];
  let quotes = ""; // of a text of several lines that has begun
  /** Notes the line of a path and of what leads to it, unless that has one. */
  const note = (path: Path, line: number): void => {
    for (let length = 1; length <= Math.min(path.length, DEEPEST); length++) {
      const name = path.slice(0, length).join("\0");
      if (!lines.has(name)) lines.set(name, line);
    }
  };
  text.split("\n").forEach((line, i) => {
    const isInText = quotes !== "";
    for (const [found] of line.matchAll(LONG_QUOTES)) {
      if (quotes === "") quotes = found;
      else if (quotes === found) quotes = "";
    }
    if (isInText) return;
    const [, brackets, name] = HEADER.exec(line) ?? [];
    if (brackets !== undefined) {
      section = pathOf(name!, counts, brackets === "[[");
      note(section, i + 1);
    } else {
      const [, key] = KEY.exec(line) ?? [];
      if (key === undefined) return;
      note([...section, ...keysOf(key)], i + 1);
    }
  });
  return lines;
}

/** The path of a section; each header of an array of tables begins its next element. */
function pathOf(name: string, counts: Map<string, number>, isArray: boolean): (string | number)[] {
  const path: (string | number)[] = [];
  const keys = keysOf(name).slice(0, DEEPEST);
  keys.forEach((key, i) => {
    path.push(key);
    const array = path.join("\0");
    const begun = counts.get(array);
    if (isArray && i === keys.length - 1) {
      counts.set(array, (begun ?? -1) + 1);
      path.push((begun ?? -1) + 1);
    } else if (begun !== undefined) path.push(begun);
  });
  return path;
}

/** "a.'b c'" as its keys. */
function keysOf(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, a, b, c]) => a ?? b ?? c!);
}
