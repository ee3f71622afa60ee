// SPDX-License-Identifier: Apache-2.0
/**
 * Scenarios in the emulated arm64 machine:
 *
 *     deno task target [--json] [--host-clock] [--executable FILE] [SCENARIO…]
 *     deno task target --bench [--json] [--executable FILE] [MEASUREMENT…]
 *
 * builds the executable and the test driver, assembles the machine, boots it, runs the scenarios (all of them when none
 * is named) and prints a line for each. What they and the kernel wrote is kept. A scenario that brings the machine down
 * fails, and the rest run in a new boot. Seconds are the machine's own: it counts instructions, unless --host-clock says
 * that it shall go by the host's time. With --bench it does, and measures: measurements are written as scenarios are.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { reportText } from "../bench/figures.ts";
import { readGroups } from "./bench.ts";
import { cacheFolder } from "./cache.ts";
import { isJudged, judge } from "./car.ts";
import { run } from "./command.ts";
import { compile } from "./compile.ts";
import { archive, assembleMachine, buildModule, buildProgram, type Machine } from "./machine.ts";
import { writeParts } from "./mix.ts";
import { type Clock, runMachine } from "./qemu.ts";
import { writeRecordings } from "./recordings.ts";

const HERE = fileURLToPath(new URL("./", import.meta.url));

/** The longest a scenario may be silent, by the host's time: on a busy host the machine's time takes several times that. */
const SILENCE_MS = 900_000;

/** Lines of each of a failed scenario's logs that are shown: the rest is kept. */
const LAST_WORDS = 8;

/** What became of a scenario. */
interface Result {
  scenario: string;
  ok: boolean;
  seconds: number;
  text: string;
}

/** The folder that scripts are in. */
type Suite = "scenarios" | "measurements";

/** All scenarios, by name. */
export async function scenarioNames(suite: Suite): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(`${HERE}${suite}`));
  return entries.map(({ name }) => name.replace(/\.sh$/, "")).sort();
}

/** Puts together what one boot needs on top of the user land. @returns the archive */
async function packRun(
  folder: string,
  { machine, executable, suite }: Setting,
  scenarios: readonly string[],
): Promise<string> {
  const root = `${folder}/root`;
  await Deno.mkdir(`${root}/target/sounds`, { recursive: true });
  await Deno.mkdir(`${root}/target/bin`);
  await run(["cp", "-r", `${HERE}guest/.`, `${root}/target/`]);
  await run(["cp", "-r", `${HERE}${suite}`, `${root}/target/scenarios`]);
  await Deno.rename(`${root}/target/init`, `${root}/init`);
  await run(["chmod", "+x", `${root}/init`, `${root}/target/run.sh`]);
  await Deno.copyFile(executable, `${root}/target/bin/viola`);
  await Deno.symlink("viola", `${root}/target/bin/virtio-loopback-adapter`);
  const module = await buildModule(machine.kernel, folder);
  await Deno.copyFile(module, `${root}/target/viola_loopback.ko`);
  await writeRecordings(`${root}/target/sounds`);
  writeParts(`${root}/target/sounds`);
  await run(["cp", "-r", `${machine.daemons}/.`, `${root}/target/bin/`]);
  const programs = suite === "measurements" ? ["../bench/floor.c"] : ["./guest/misuse.c"];
  for (const path of programs) {
    const source = new URL(path, import.meta.url);
    await buildProgram(source, `${root}/target/bin/${/(\w+)\.c$/.exec(path)![1]}`);
  }
  await Deno.writeTextFile(`${root}/target/list`, scenarios.join("\n"));
  await archive(root, `${folder}/run.cpio`);
  return `${folder}/run.cpio`;
}

/** What does not change from boot to boot. */
interface Setting {
  machine: Machine;
  executable: string;
  suite: Suite;
  clock: Clock;
}

/** One boot. Reports a result for each scenario that began, the one that brought the machine down included. */
async function boot(
  setting: Setting,
  scenarios: readonly string[],
  folder: string,
  onResult: (result: Result) => void,
): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "viola-target-" });
  let running: string | null = null;
  const unjudged: Result[] = [];
  try {
    const archive = await packRun(work, setting, scenarios);
    const onLine = (line: string): void => {
      const [, word, scenario, rest] = /^(begin|end) (\S+) ?(.*)$/.exec(line) ?? [];
      running = word === "begin" ? scenario! : null;
      if (word !== "end") return;
      const [, status, seconds, text] = /^(\d+) ([\d.]+) (.*)$/.exec(rest!)!;
      const ok = status === "0";
      const result = { scenario: scenario!, ok, seconds: Number(seconds), text: text! };
      if (ok && isJudged(scenario!)) unjudged.push(result);
      else onResult(result);
    };
    await Deno.mkdir(folder, { recursive: true });
    const { machine, clock } = setting;
    const options = { machine, archive, folder: work, onLine, silenceMs: SILENCE_MS, clock };
    const ended = await runMachine(options);
    await Deno.copyFile(`${work}/console.log`, `${folder}/console.log`);
    await run(["tar", "xf", `${work}/files.tar`, "-C", folder]).catch(() => {});
    for (const result of unjudged) onResult(judged(result, folder));
    if (running !== null || !ended) {
      const text = `the machine ${ended ? "went down" : "hangs"}; see ${folder}/console.log`;
      onResult({ scenario: running ?? "(boot)", ok: false, seconds: 0, text });
    }
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** A result with what the scenario's recordings show. */
function judged(result: Result, folder: string): Result {
  try {
    return { ...result, text: `${result.text}; ${judge(result.scenario, folder)}` };
  } catch (error) {
    return { ...result, ok: false, text: (error as Error).message };
  }
}

/** Where what the last run wrote is kept. */
function lastRun(): string {
  return `${cacheFolder()}/last`;
}

/** Runs scenarios in as many boots as they need. */
async function runScenarios(
  setting: Setting,
  scenarios: readonly string[],
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  await Deno.remove(lastRun(), { recursive: true }).catch(() => {});
  let left = scenarios;
  for (let n = 1; left.length > 0; n++) {
    const before = results.length;
    await boot(setting, left, `${lastRun()}/boot${n}`, (result) => {
      results.push(result);
      onResult(result);
    });
    left = left.filter((name) => !results.some(({ scenario }) => scenario === name));
    if (results.length === before || results.at(-1)!.scenario === "(boot)") break;
  }
  for (const scenario of left) {
    const result = { scenario, ok: false, seconds: 0, text: "not run" };
    results.push(result);
    onResult(result);
  }
  return results;
}

/** The last lines of what a scenario wrote in its logs, each after its file's name. */
async function* lastWords(scenario: string): AsyncGenerator<string> {
  for await (const { name: boot } of Deno.readDir(lastRun())) {
    const folder = `${lastRun()}/${boot}`;
    const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
    for (const name of names) {
      if (!name.startsWith(`${scenario}.`) || !/\.(log|dmesg)$/.test(name)) continue;
      const lines = (await Deno.readTextFile(`${folder}/${name}`)).trimEnd().split("\n");
      for (const line of lines.slice(-LAST_WORDS)) yield `${name}: ${line}`;
    }
  }
}

function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function complain(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

/** A result for people. */
function lineOf({ scenario, ok, seconds, text }: Result): string {
  return `${ok ? "ok    " : "FAILED"} ${scenario.padEnd(12)} ${seconds.toFixed(1)} s  ${text}`;
}

async function main(args: string[]): Promise<boolean> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      bench: { type: "boolean" },
      executable: { type: "string" },
      "host-clock": { type: "boolean" },
    },
  });
  const suite = values.bench ? "measurements" : "scenarios";
  const known = await scenarioNames(suite);
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(`Cannot run "${unknown}", expected some of ${known.join(", ")}`);
  }
  const setting: Setting = {
    executable: values.executable ?? await compile("aarch64"),
    machine: await assembleMachine(),
    suite,
    clock: values.bench || values["host-clock"] ? "host" : "instructions",
  };
  const scenarios = positionals.length === 0 ? known : positionals;
  const results = await runScenarios(setting, scenarios, (result) => {
    if (values.bench) complain(lineOf(result));
    else say(values.json ? JSON.stringify(result) : lineOf(result));
  });
  const failed = results.filter(({ ok }) => !ok);
  if (values.bench) say(reportText(await readGroups(lastRun()), values.json === true));
  else if (!values.json) say(`${results.length - failed.length} passed, ${failed.length} failed`);
  for (const { scenario } of failed) {
    for await (const line of lastWords(scenario)) complain(line);
  }
  return failed.length === 0;
}

if (import.meta.main) {
  try {
    if (!await main(Deno.args)) Deno.exit(1);
  } catch (error) {
    complain((error as Error).message);
    Deno.exit(1);
  }
}
