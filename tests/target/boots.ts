// SPDX-License-Identifier: Apache-2.0
/**
 * Runs scenarios in as many boots of the emulated machine as they need, several machines side by side: a scenario that
 * brings its machine down, or has to be stopped, fails, and the rest run in another boot.
 *
 * @module
 */
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { progress } from "../support/progress.ts";
import { cacheFolder } from "./cache.ts";
import { isJudged, judge } from "./car.ts";
import { run } from "./command.ts";
import { archive, buildProgram, type Machine } from "./machine.ts";
import { writeParts } from "./mix.ts";
import { type Clock, runMachine, type RunOptions } from "./qemu.ts";
import { RunQueue } from "./queue.ts";
import { writeRecordings } from "./recordings.ts";
import { limitIn, logOf, type Result } from "./report.ts";

const HERE = fileURLToPath(new URL("./", import.meta.url));

/** How often there is a word on a scenario that runs, where there is no terminal, in milliseconds. */
const NEWS_MS = 60_000;
/** Lines of each of a failed scenario's logs that are shown: the rest is kept. */
const LAST_WORDS = 8;

/** The folder that scripts are in. */
export type Suite = "scenarios" | "measurements";

/** A result, and where the files of its boot are kept; none for a scenario that no machine has run. */
export interface BootResult extends Result {
  folder?: string;
}

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

/**
 * One boot. Reports a result for each scenario that began, the one that brought the machine down included.
 *
 * @param next What the machine runs next; null when it has run all that it shall
 */
async function boot(
  setting: Setting,
  next: () => string | null,
  folder: string,
  onResult: (result: BootResult) => void,
): Promise<void> {
  const work = await Deno.makeTempDir({ prefix: "viola-target-" });
  try {
    const archive = await packRun(work, setting);
    const limits = await limitsOf(setting.suite);
    const { machine, clock } = setting;
    await Deno.mkdir(folder, { recursive: true });
    await watchBoot({ machine, clock, archive, folder: work, next }, limits, folder, onResult);
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
  run: Omit<RunOptions, "limitOf" | "onEnd">,
  limits: ReadonlyMap<string, number>,
  folder: string,
  onResult: (result: BootResult) => void,
): Promise<void> {
  let running: string | null = null;
  const unjudged: Result[] = [];
  const report = (result: Result) => onResult({ ...result, folder });
  const news = () => running === null ? "no scenario runs" : `${running} runs`;
  using _progress = progress("target", news, NEWS_MS);
  const stopped = await runMachine({
    ...run,
    limitOf: (scenario) => limits.get(scenario) ?? Infinity,
    next: () => running = run.next(),
    onEnd: (result) => {
      running = null;
      if (result.ok && isJudged(result.scenario)) unjudged.push(result);
      else report(result);
    },
  });
  await keepFiles(run.folder, folder, running);
  for (const result of unjudged) report(judged(result, folder));
  if (running === null && stopped === null) return;
  const text = stopped === null ? "the machine went down" : `the machine hangs: ${stopped}`;
  report({ scenario: running ?? "(boot)", ok: false, seconds: 0, processor: 0, text });
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

/** Which runs of what, and on how many machines. */
export interface Runs {
  scenarios: readonly string[];
  /** How often each scenario is run. */
  times: number;
  /** How many machines work side by side. */
  machines: number;
}

/** Runs scenarios in as many boots as they need. */
export async function runScenarios(
  setting: Setting,
  { scenarios, times, machines }: Runs,
  onResult: (result: BootResult) => void,
): Promise<BootResult[]> {
  const results: BootResult[] = [];
  const report = (result: BootResult) => {
    results.push(result);
    onResult(result);
  };
  await Deno.remove(lastRun(), { recursive: true }).catch(() => {});
  const queue = new RunQueue(scenarios, times);
  let boots = 0;
  const work = async () => {
    while (queue.left.length > 0) {
      const had = new Set<string>();
      const next = () => {
        const scenario = queue.take(had);
        if (scenario !== null) had.add(scenario);
        return scenario;
      };
      await boot(setting, next, `${lastRun()}/boot${++boots}`, report);
      if (had.size === 0) return; // it does not come up
    }
  };
  await Promise.all(Array.from({ length: machines }, work));
  for (const scenario of queue.left) {
    report({ scenario, ok: false, seconds: 0, processor: 0, text: "not run" });
  }
  return results;
}

/** The last lines of what a scenario wrote in its logs, each after its file's name; and of the console's. */
export async function* lastWords({ scenario, folder }: BootResult): AsyncGenerator<string> {
  if (folder === undefined) return;
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  const own = names.filter((name) =>
    name.startsWith(`${scenario}.`) && /\.(log|dmesg)$/.test(name)
  );
  for (const name of [...own, "console.log"]) {
    const path = `${folder}/${name}`;
    const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
    for (const line of lines.slice(-LAST_WORDS)) yield `${basename(folder)}/${name}: ${line}`;
  }
}
