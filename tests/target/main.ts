// SPDX-License-Identifier: Apache-2.0
/**
 * Scenarios in the emulated arm64 machine:
 *
 *     deno task target --build [--executable FILE]
 *     deno task target [--json] [--host-clock] [--times N] [--machines N] [--executable FILE] [SCENARIO…]
 *     deno task target --bench [--json] [--executable FILE] [MEASUREMENT…]
 *
 * With --build it makes all that the machine is made of: the executable, kernel, user land, test driver, daemons, emulator;
 * what is made is kept. Else it makes what is missing, boots the machine, runs the scenarios (all of them when none is
 * named) and prints a line for each. What they and the kernel wrote is kept. A scenario that brings the machine down
 * fails, and the rest run in a new boot. Each processor of this one has a machine that takes the next scenario, unless
 * --machines says how many; --times runs each scenario so often. Seconds are the machine's own: it counts instructions, unless --host-clock says
 * that it shall go by the host's time. With --bench it does, and measures: measurements are written as scenarios are.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { reportText } from "../bench/figures.ts";
import { spoken, tell } from "../support/progress.ts";
import { readGroups } from "./bench.ts";
import { lastRun, lastWords, runScenarios, scenarioNames, type Setting } from "./boots.ts";
import { compile } from "./compile.ts";
import { assembleMachine } from "./machine.ts";
import type { Result } from "./report.ts";

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** Machines at most, where nobody says how many: each has 2 GiB of memory. */
const MOST_MACHINES = 4;

/** A number that an option has. @returns null without it */
function count(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[1-9]\d{0,2}$/.test(text)) throw new Error(`Cannot use "${text}", expected 1 to 999`);
  return Number(text);
}

/** A result for people. */
function lineOf({ scenario, ok, seconds, processor, text }: Result): string {
  const took = `${seconds.toFixed(1)} s (${processor.toFixed(0)} s to emulate)`;
  return `${ok ? "ok    " : "FAILED"} ${scenario.padEnd(20)} ${took}  ${text}`;
}

/** What the command line says. */
function parse(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      build: { type: "boolean" },
      json: { type: "boolean" },
      bench: { type: "boolean" },
      executable: { type: "string" },
      "host-clock": { type: "boolean" },
      machines: { type: "string" },
      times: { type: "string" },
    },
  });
}

/** Makes what is missing: the executable always, unless one is named. */
async function build(executable: string | undefined): Promise<Omit<Setting, "suite" | "clock">> {
  const since = performance.now();
  const machine = await assembleMachine();
  if (executable === undefined) tell("target: the executable");
  const made = { machine, executable: executable ?? await compile("aarch64") };
  tell(`target: all of the machine is there, after ${spoken(performance.now() - since)}`);
  return made;
}

async function main(args: string[]): Promise<boolean> {
  const { values, positionals } = parse(args);
  const suite = values.bench ? "measurements" : "scenarios";
  const known = await scenarioNames(suite);
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`Cannot run "${unknown}", expected some of ${known.join(", ")}`);
  }
  const made = await build(values.executable);
  if (values.build) return true;
  const clock = values.bench || values["host-clock"] ? "host" : "instructions";
  const scenarios = positionals.length === 0 ? known : positionals;
  const since = performance.now();
  const machines = count(values.machines) ??
    (clock === "host" ? 1 : Math.min(navigator.hardwareConcurrency, MOST_MACHINES));
  const runs = { scenarios, times: count(values.times) ?? 1, machines };
  const results = await runScenarios({ ...made, suite, clock }, runs, (result) => {
    if (values.bench) tell(lineOf(result));
    else say(values.json ? JSON.stringify(result) : lineOf(result));
  });
  const failed = results.filter(({ ok }) => !ok);
  tell(`target: ${results.length} ${suite} took ${spoken(performance.now() - since)}`);
  if (values.bench) say(reportText(await readGroups(lastRun()), values.json === true));
  else if (!values.json) say(`${results.length - failed.length} passed, ${failed.length} failed`);
  for (const result of failed) {
    for await (const line of lastWords(result)) tell(line);
  }
  return failed.length === 0;
}

if (import.meta.main) {
  try {
    if (!await main(Deno.args)) Deno.exit(1);
  } catch (error) {
    tell((error as Error).message);
    Deno.exit(1);
  }
}
