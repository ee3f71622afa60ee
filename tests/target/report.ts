// SPDX-License-Identifier: Apache-2.0
/**
 * What the emulated machine reports of its scenarios, line by line, and what their scripts say of themselves.
 *
 * @module
 */

/** What became of a scenario. */
export interface Result {
  scenario: string;
  ok: boolean;
  /** The emulated machine's own. */
  seconds: number;
  /** Seconds of this machine's processor time that it took to emulate it. */
  processor: number;
  text: string;
}

/** A line of the report, read. */
export type ReportLine =
  | { kind: "alive"; uptime: number }
  | { kind: "next" }
  | { kind: "end"; result: Result };

/** Seconds that a scenario may take where its script does not say. */
const USUAL_LIMIT = 60;

/**
 * Reads a line: "alive UPTIME", "next" when the machine is ready for a scenario, or "end NAME STATUS SECONDS TEXT".
 *
 * @throws {Error} when it is none of them
 */
export function parseLine(line: string): ReportLine {
  const alive = /^alive ([\d.]+)$/.exec(line);
  if (alive !== null) return { kind: "alive", uptime: Number(alive[1]) };
  if (line === "next") return { kind: "next" };
  const end = /^end (\S+) (\d+) ([\d.]+) (.*)$/.exec(line);
  if (end === null) throw new Error(`Cannot read what the machine reports: "${line}"`);
  const [, scenario, status, seconds, text] = end as unknown as string[];
  const result = { scenario: scenario!, seconds: Number(seconds), processor: 0, text: text! };
  return { kind: "end", result: { ...result, ok: status === "0" } };
}

/** The limit that a script has in its line "# limit: N s", in the emulated machine's seconds. */
export function limitIn(script: string): number {
  const [, seconds] = /^# limit: (\d+) s$/m.exec(script) ?? [];
  return Number(seconds ?? USUAL_LIMIT);
}

/** The part of the live log that is of a scenario: what follows the last line "scenario NAME". */
export function logOf(scenario: string, live: string): string {
  const mark = `\nscenario ${scenario}\n`;
  const at = `\n${live}`.lastIndexOf(mark);
  return at < 0 ? "" : live.slice(at + mark.length - 1);
}
