// SPDX-License-Identifier: Apache-2.0
/**
 * Runs scenarios in as many boots of the emulated machine as they need: one that brings the machine down, or has to be
 * stopped, fails, and the rest run in a new boot.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { progress } from "../support/progress.ts";
import { cacheFolder } from "./cache.ts";
import { isJudged, judge } from "./car.ts";
import { run } from "./command.ts";
import { archive, buildProgram, type Machine } from "./machine.ts";
import { writeParts } from "./mix.ts";
import { type Clock, runMachine, type RunOptions } from "./qemu.ts";
import { writeRecordings } from "./recordings.ts";
import { limitIn, logOf, type Result } from "./report.ts";

const HERE = fileURLToPath(new URL("./", import.meta.url));

/** How often there is a word on a scenario that runs, where there is no terminal, in milliseconds. */
const NEWS_MS = 60_000;
/** Lines of each of a failed scenario's logs that are shown: the rest is kept. */
const LAST_WORDS = 8;

/** The folder that scripts are in. */
export type Suite = "scenarios" | "measurements";

/** What does not change from boot to boot. */
export interface Setting {
  machine: Machine;
  executable: string;
  suite: Suite;
  clock: Clock;
}

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
  await Deno.copyFile(machine.module, `${root}/target/viola_loopback.ko`);
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

/** The limit of each scenario of a suite, in the emulated machine's seconds. */
async function limitsOf(suite: Suite): Promise<Map<string, number>> {
  const limits = (await scenarioNames(suite)).map(async (name) => {
    const script = await Deno.readTextFile(`${HERE}${suite}/${name}.sh`);
    return [name, limitIn(script)] as const;
  });
  return new Map(await Promise.all(limits));
}

/** One boot. Reports a result for each scenario that began, the one that brought the machine down included. */
async function boot(
  setting: Setting,
  scenarios: readonly string[],
  folder: string,
  onResult: (result: Result) => void,
): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "viola-target-" });
  try {
    const archive = await packRun(work, setting, scenarios);
    const limits = await limitsOf(setting.suite);
    const { machine, clock } = setting;
    await Deno.mkdir(folder, { recursive: true });
    await watchBoot({ machine, clock, archive, folder: work }, limits, folder, onResult);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/**
 * Boots a machine that is packed, and keeps what it leaves.
 *
 * @param limits Of each scenario, in the machine's seconds
 * @param folder Where its files are kept
 */
export async function watchBoot(
  run: Pick<RunOptions, "machine" | "clock" | "archive" | "folder">,
  limits: ReadonlyMap<string, number>,
  folder: string,
  onResult: (result: Result) => void,
): Promise<void> {
  let running: string | null = null;
  const unjudged: Result[] = [];
  const news = () => running === null ? "no scenario runs" : `${running} runs`;
  using _progress = progress("target", news, NEWS_MS);
  const stopped = await runMachine({
    ...run,
    limitOf: (scenario) => limits.get(scenario) ?? Infinity,
    onBegin: (scenario) => running = scenario,
    onEnd: (result) => {
      running = null;
      if (result.ok && isJudged(result.scenario)) unjudged.push(result);
      else onResult(result);
    },
  });
  await keepFiles(run.folder, folder, running);
  for (const result of unjudged) onResult(judged(result, folder));
  if (running === null && stopped === null) return;
  const text = stopped === null ? "the machine went down" : `the machine hangs: ${stopped}`;
  onResult({ scenario: running ?? "(boot)", ok: false, seconds: 0, processor: 0, text });
}

/** Keeps what a boot left: its console, the files of the scenarios that ended, the log of the one that did not. */
async function keepFiles(work: string, folder: string, running: string | null): Promise<void> {
  await Deno.copyFile(`${work}/console.log`, `${folder}/console.log`);
  // One archive after another; the last may be cut off.
  await run(["tar", "xif", `${work}/files.tar`, "-C", folder]).catch(() => {});
  const log = running === null ? "" : logOf(running, await Deno.readTextFile(`${work}/live.log`));
  if (running !== null) await Deno.writeTextFile(`${folder}/${running}.log`, log);
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
export function lastRun(): string {
  return `${cacheFolder()}/last`;
}

/** Runs scenarios in as many boots as they need. */
export async function runScenarios(
  setting: Setting,
  scenarios: readonly string[],
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  await Deno.remove(lastRun(), { recursive: true }).catch(() => {});
  let left = scenarios;
  for (let n = 1; left.length > 0; n++) {
    const before = left;
    await boot(setting, left, `${lastRun()}/boot${n}`, (result) => {
      results.push(result);
      onResult(result);
    });
    left = left.filter((name) => !results.some(({ scenario }) => scenario === name));
    if (left.length === before.length) break;
  }
  for (const scenario of left) {
    const result = { scenario, ok: false, seconds: 0, processor: 0, text: "not run" };
    results.push(result);
    onResult(result);
  }
  return results;
}

/**
 * The last lines of what a scenario wrote in its logs, each after its file's name; and of the console's.
 *
 * @param root Where the files of each boot are kept
 */
export async function* lastWords(scenario: string, root: string): AsyncGenerator<string> {
  for await (const { name: boot } of Deno.readDir(root)) {
    const folder = `${root}/${boot}`;
    const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
    const own = names.filter((name) =>
      name.startsWith(`${scenario}.`) && /\.(log|dmesg)$/.test(name)
    );
    if (own.length === 0 && scenario !== "(boot)") continue;
    for (const name of [...own, "console.log"]) {
      const lines = (await Deno.readTextFile(`${folder}/${name}`)).trimEnd().split("\n");
      for (const line of lines.slice(-LAST_WORDS)) yield `${boot}/${name}: ${line}`;
    }
  }
}
