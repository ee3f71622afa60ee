// SPDX-License-Identifier: Apache-2.0
/**
 * The figures of a run, and how they are shown.
 *
 * @module
 */

/** One line of the table. */
export interface Figure {
  /** What was measured. */
  name: string;
  /** The figure, in `unit`. */
  value: number;
  /** The 99th percentile, where there are enough samples for one. */
  p99?: number;
  unit: "µs" | "ms" | "s" | "MB" | "kB/s" | "×" | "";
  /** The most it should be. */
  goal?: number;
  /** What it may be compared with, in words. */
  reference?: string;
}

/** Lines that belong together. */
export interface Group {
  title: string;
  figures: Figure[];
}

/** Whether a figure reaches its goal; null when it has none. */
function reached({ value, goal }: Figure): boolean | null {
  return goal === undefined ? null : value <= goal;
}

/** What a run prints: the table, or JSON for scripts. */
export function reportText(groups: readonly Group[], asJson: boolean): string {
  if (!asJson) return table(groups);
  const verdicts = groups.map(({ title, figures }) => ({
    title,
    figures: figures.map((figure) => ({ ...figure, reached: reached(figure) })),
  }));
  return JSON.stringify(verdicts, null, 2);
}

/** The table, one line per figure: name, value, 99th percentile, goal and whether it is reached, or what compares. */
function table(groups: readonly Group[]): string {
  const rows = groups.flatMap(({ title, figures }) => [[title], ...figures.map(cells), [""]]);
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => width(row, i))));
  const lines = rows.map(([name, value = "", p99 = "", goal = ""]) =>
    `${name!.padEnd(widths[0]!)}  ${value.padStart(widths[1]!)}  ${
      p99.padStart(widths[2]!)
    }  ${goal}`
      .trimEnd()
  );
  return lines.join("\n").trimEnd();
}

/** A group's title may be longer than the first column. */
function width(row: string[], column: number): number {
  return row.length > 1 ? row[column]!.length : 0;
}

function cells(figure: Figure): string[] {
  const { name, value, p99, unit, goal, reference = "" } = figure;
  const verdict = reached(figure) ? "reached" : "NOT reached";
  return [
    `  ${name}`,
    amount(value, unit),
    p99 === undefined ? "" : `p99 ${amount(p99, unit)}`,
    goal === undefined ? reference : `goal ≤ ${goal} ${unit}, ${verdict}`,
  ];
}

/** Three digits are all that such a measurement has. */
function amount(value: number, unit: string): string {
  const digits = Math.max(0, Math.min(2, 2 - Math.floor(Math.log10(Math.max(value, 0.01)))));
  return `${value.toFixed(Number.isInteger(value) ? 0 : digits)} ${unit}`.trimEnd();
}
