// SPDX-License-Identifier: Apache-2.0
/**
 * Reports of a command on standard output: one JSON object per line for scripts, or a sentence for people.
 *
 * @module
 */
import { PRIORITY } from "./journal.ts";
import { Lines } from "./lines.ts";
import { lineFor, printableJson, SCREEN, type Screen } from "./plain.ts";

/** Standard output. */
export const said = new Lines(Deno.stdout);
/** Standard error. */
export const complaints = new Lines(Deno.stderr);

/**
 * Reports a failure to the user, on standard error; in the journal as an error.
 *
 * @param message One line: line ends in it, as in a file's name, are written as `\n`
 * @param usage Further lines
 */
export function complain(message: string, usage: readonly string[] = []): void {
  const lines = [`viola: ${message}`, ...usage];
  complaints.put(lines.map((line) => `${PRIORITY}${lineFor(line, SCREEN)}\n`).join(""));
}

/** A fact for scripts: `event` is its kind. */
export type Fact = { event: string } & Record<string, unknown>;

/** Reports facts as they happen; on a terminal also a few lines below them that are updated in place. */
export class Report {
  #live = 0;
  #lastLive = -Infinity;

  /**
   * @param json JSON lines instead of sentences
   * @param out Where they go
   * @param screen The terminal there
   */
  constructor(
    readonly json: boolean,
    readonly out: Lines = said,
    readonly screen: Screen = SCREEN,
  ) {
    if (json) out.tell = (lost) => `${JSON.stringify({ event: "dropped", lines: lost })}\n`;
  }

  /** Reports a fact: as a line of JSON, or as `text` unless that is empty. */
  fact(fact: Fact, text: string): void {
    if (this.json) this.#write(`${printableJson(fact)}\n`);
    else if (text !== "") this.#lines([text]);
  }

  /** Reports a fact that the user must see although the command keeps running: on standard error too, with `more` lines. */
  problem(fact: Fact, text: string, more: readonly string[] = []): void {
    this.endLive();
    complain(text, more);
    this.object(fact);
  }

  /** Reports the command's result, as one JSON object or as lines: it is never dropped. */
  result(value: unknown, lines: readonly string[]): void {
    this.endLive();
    this.out.owe(this.json ? `${printableJson(value)}\n` : this.#shown(lines));
  }

  /** Lines only for people. */
  text(...lines: string[]): void {
    if (!this.json) this.#lines(lines);
  }

  /** Only for scripts. */
  object(value: unknown): void {
    if (this.json) this.#write(`${printableJson(value)}\n`);
  }

  /**
   * Shows the present state. On a terminal the lines replace the last ones, at most ten times a second; elsewhere they are
   * plain lines, once a second.
   *
   * @param now A monotonic clock, in milliseconds
   */
  live(lines: readonly string[], now: number = performance.now()): void {
    const terminal = this.screen.canDraw && this.out.output.isTerminal();
    if (this.json || now - this.#lastLive < (terminal ? 100 : 1000)) return;
    this.#lastLive = now;
    if (!terminal) return this.#lines(lines);
    const width = this.screen.columns() - 1;
    const drawn = lines.map((line) => {
      return `\x1b[2K${[...lineFor(line, this.screen)].slice(0, width).join("")}\n`;
    });
    this.#write(this.#rewind() + drawn.join(""));
    this.#live = lines.length;
  }

  /** Removes the live lines. */
  endLive(): void {
    if (this.#live > 0) this.#write(`${this.#rewind()}\x1b[J`);
    this.#live = 0;
  }

  #rewind(): string {
    return this.#live > 0 ? `\x1b[${this.#live}A\r` : "";
  }

  #lines(lines: readonly string[]): void {
    this.endLive();
    this.#write(this.#shown(lines));
  }

  #shown(lines: readonly string[]): string {
    return lines.map((line) => `${lineFor(line, this.screen)}\n`).join("");
  }

  #write(text: string): void {
    this.out.put(text);
  }
}

/** A duration in milliseconds as text: "0.4 ms", "12 ms", "3.2 s". */
export function duration(ms: number): string {
  if (ms > 0 && ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Rounded to tenths: nothing here is measured more precisely. */
export function tenths(value: number): number {
  return Math.round(10 * value) / 10;
}

/** A count with its noun: "1 xrun", "2 xruns", "no xruns". */
export function counted(n: number, noun: string): string {
  return `${n === 0 ? "no" : n} ${noun}${n === 1 ? "" : "s"}`;
}
