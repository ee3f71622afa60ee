// SPDX-License-Identifier: Apache-2.0
/**
 * Text that is safe to print on a terminal: names of files and texts from others may contain escape sequences.
 *
 * @module
 */

/** Control characters, and those that end a line or change the direction of text. */
const CONTROLS = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;
const ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** ASCII replacements of the characters that viola uses. */
const STAND_INS: Readonly<Record<string, string>> = {
  "━": "#",
  "─": "-",
  "═": "=",
  "…": "...",
  "×": "x",
  "−": "-",
  "–": "-",
};

function escaped(character: string): string {
  const code = character.codePointAt(0)!;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u{${code.toString(16)}}`;
}

/** One line: control characters are written as escapes such as `\x1b`. */
export function printable(line: string): string {
  return line.replace(CONTROLS, (character) => ESCAPES[character] ?? escaped(character));
}

/** A JSON text without such characters: those that JSON does not escape become `\uXXXX`. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(
    CONTROLS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The same text in ASCII. */
export function ascii(text: string): string {
  return text.replace(/[^\0-\x7f]/gu, (character) => STAND_INS[character] ?? escaped(character));
}

/** The terminal that output for people goes to. */
export interface Screen {
  /** Width of the terminal in characters. */
  readonly columns: () => number;
  /** Whether it understands escape sequences. */
  readonly canDraw: boolean;
  /** Whether its characters are UTF-8; else they are ASCII. */
  readonly isUtf8: boolean;
}

/** The screen by environment variables (POSIX: the first of three that is set has the locale). */
export function screenOf(variable: (name: string) => string | undefined): Screen {
  const locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).find((value) => value) ?? "C";
  const terminal = variable("TERM") ?? "";
  return {
    columns: terminalColumns,
    canDraw: terminal !== "" && terminal !== "dumb",
    isUtf8: /utf-?8/i.test(locale),
  };
}

function terminalColumns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return 80;
  }
}

/** This process's. */
export const SCREEN: Screen = screenOf((name) => Deno.env.get(name));

/** One line as a screen can show it. */
export function lineFor(line: string, { isUtf8 }: Screen): string {
  return isUtf8 ? printable(line) : ascii(printable(line));
}
