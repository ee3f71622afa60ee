// SPDX-License-Identifier: Apache-2.0
/**
 * Several TOML files as one: sections of one name are put behind each other, and each key keeps its place.
 *
 * @module
 */
import type { TomlTable, TomlValue } from "smol-toml";
import type { Problem } from "./problems.ts";
import { type Path, readToml, SyntaxProblem, type TomlFile } from "./toml.ts";

/** A file of a scene. */
export interface SceneFile {
  readonly path: string;
  readonly text: string;
}

/** Reads a file. @returns it, or why it is none */
export function tomlOf(text: string): TomlFile | Problem {
  try {
    return readToml(text);
  } catch (error) {
    if (!SyntaxProblem.is(error)) throw error;
    const { line, message } = error;
    return { line, text: `Cannot read it as TOML: ${message}` };
  }
}

/** A file, and the number of lines in those before it. */
interface Part {
  readonly path: string;
  readonly before: number;
  readonly file: TomlFile;
}

/** The part that a value is from, and the value's path there. */
interface Origin {
  readonly part: Part;
  readonly path: Path;
}

/** See the module. Lines are counted through all files; {@linkcode placeOf} tells which file and line that is. */
export class JoinedFiles implements TomlFile {
  readonly table: TomlTable = {};
  /** Why files cannot be read or joined. */
  readonly problems: readonly Problem[];
  readonly #starts: { readonly path: string; readonly before: number }[] = [];
  /** By path, as far as the files were joined: that is two keys deep. */
  readonly #origins = new Map<string, Origin>();

  constructor(files: readonly SceneFile[]) {
    let before = 0;
    this.problems = files.flatMap(({ path, text }) => {
      const start = { path, before };
      this.#starts.push(start);
      before += text.split("\n").length;
      const file = tomlOf(text);
      if ("table" in file) return this.#add({ ...start, file });
      return [{ ...file, line: start.before + file.line }];
    });
  }

  /** Adds a file. @returns what is in it that an earlier one has */
  #add(part: Part): Problem[] {
    return Object.entries(part.file.table).flatMap(([key, value]) => {
      const present = own(this.table, key);
      const [kind, its] = [kindOf(present), kindOf(value)];
      if (present === undefined) {
        this.#note([key], part, [key]);
        put(this.table, key, its === "list" ? [] : its === "table" ? {} : value);
      }
      if (present !== undefined && (kind !== its || kind === "value")) {
        return [this.#twice(part, [key])];
      }
      return its === "value" ? [] : this.#join(part, key, value as TomlTable | TomlValue[]);
    });
  }

  /** Puts the members of a list or table behind those that are there. */
  #join(part: Part, key: string, value: TomlTable | TomlValue[]): Problem[] {
    const joined = own(this.table, key) as TomlTable | TomlValue[];
    return Object.entries(value).flatMap(([name, member]) => {
      if (Array.isArray(joined)) {
        this.#note([key, joined.length], part, [key, Number(name)]);
        joined.push(member);
        return [];
      }
      if (own(joined, name) !== undefined) return [this.#twice(part, [key, name])];
      this.#note([key, name], part, [key, name]);
      put(joined, name, member);
      return [];
    });
  }

  #note(joined: Path, part: Part, path: Path): void {
    this.#origins.set(joined.join("\0"), { part, path });
  }

  #twice(part: Part, path: Path): Problem {
    const { part: first } = this.#origins.get(path.join("\0"))!;
    const line = part.before + part.file.lineOf(path);
    return { line, text: `Cannot use ${path.join(".")} twice: it is in ${first.path} already` };
  }

  lineOf(path: Path): number {
    for (const depth of [2, 1]) {
      const origin = this.#origins.get(path.slice(0, depth).join("\0"));
      if (origin === undefined) continue;
      const { part, path: head } = origin;
      return part.before + part.file.lineOf([...head, ...path.slice(depth)]);
    }
    return 1;
  }

  /** The file of a line that {@linkcode lineOf} returned, and the line there. */
  placeOf(line: number): { readonly path: string; readonly line: number } {
    const { path, before } = this.#starts.findLast(({ before }) => before < line)!;
    return { path, line: line - before };
  }
}

/** A key's value. In a file, `__proto__` is a key as any other. */
function own(table: TomlTable, key: string): TomlValue | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

function put(table: TomlTable, key: string, value: TomlValue): void {
  Object.defineProperty(table, key, {
    value,
    configurable: true,
    enumerable: true,
    writable: true,
  });
}

function kindOf(value: TomlValue | undefined): "list" | "table" | "value" {
  if (Array.isArray(value)) return "list";
  return typeof value === "object" && !(value instanceof Date) ? "table" : "value";
}
