// SPDX-License-Identifier: Apache-2.0
/**
 * `viola install`: writes what belongs on a system, from viola's own tables, and removes it again.
 *
 * @module
 */
import type { Command } from "commander";
import { loadSceneClasses } from "../lib/scene/mod.ts";
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";
import { Disk } from "./install/disk.ts";
import { systemFiles, type Target } from "./install/files.ts";
import { nodeModules } from "./install/fragments.ts";
import { install, remove } from "./install/installation.ts";
import type { Step } from "./install/manifest.ts";
import { collect } from "./options.ts";
import { Report } from "./report.ts";
import { readText, sceneOf } from "./scene_file.ts";

/** The options as given. */
export interface InstallOptions {
  root: string;
  config?: string[];
  executable?: string;
  remove?: boolean;
  json?: boolean;
}

const HELP = `
It writes the executable, as viola and as virtio-loopback-adapter; viola.service, which
runs the scenes in /etc/viola, and viola@.service, for /etc/viola/nodes/loopback-N.toml;
a udev rule that gives the nodes to group viola and starts these services; fragments for
modules-load, modprobe, sysusers, tmpfiles and WirePlumber; descriptions of viola's
devices for QEMU; completions for bash, zsh and fish; and manual pages.

A file that viola did not write, or that was changed since, is neither overwritten nor
removed, and reported. What viola wrote is listed in /usr/lib/viola/manifest.`;

/** Adds the subcommand. */
export function addInstall(program: Command): void {
  program.command("install")
    .description("Write what belongs on a system: executable, services, rules.")
    .option("--root <folder>", "the system's root folder", "/")
    .option("--config <file>", "a scene for /etc/viola (repeatable)", collect)
    .option("--executable <file>", "the executable to install: by default the one that runs")
    .option("--remove", "remove what was installed")
    .option("--json", "report as JSON lines")
    .addHelpText("after", HELP)
    .action(runInstall);
}

/** @throws {Failure} with status 1 for a scene with mistakes, 2 when something cannot be read or written */
async function runInstall(options: InstallOptions): Promise<void> {
  const report = new Report(options.json === true);
  const { root } = options;
  const disk = await step(UNREACHABLE, `use ${root}`, () => new Disk(root));
  const onStep = (one: Step) => reportStep(report, one);
  if (options.remove) {
    const doing = `remove viola from ${root}`;
    if (await step(UNREACHABLE, doing, () => remove(disk, onStep))) return;
    throw new Failure(UNREACHABLE, `Cannot ${doing}: viola install has not written to it`);
  }
  const target: Target = {
    executable: executableOf(options),
    modules: modulesOf(disk),
    documents: await (await import("./install/documents.ts")).loadDocuments(),
    scenes: await readConfigs(options.config ?? []),
  };
  await step(
    UNREACHABLE,
    `install viola in ${root}`,
    () => install(disk, systemFiles(target), onStep),
  );
  for (const line of nextSteps(root, target)) report.text(line);
}

function executableOf({ executable }: InstallOptions): string {
  if (executable !== undefined) return executable;
  if (Deno.build.standalone) return Deno.execPath();
  throw new Failure(
    USAGE,
    "Cannot install viola from its source: --executable is missing (deno task compile makes one)",
  );
}

/** The modules of AGL's driver of the newest kernel that has any. */
function modulesOf(disk: Disk): string[] {
  const releases = disk.list("/lib/modules");
  return releases.map((release) =>
    nodeModules(disk.read(`/lib/modules/${release}/modules.dep`) ?? "")
  )
    .findLast((names) => names.length > 0) ?? [];
}

/** Reads and checks scene files, together. @returns their texts by name */
async function readConfigs(paths: readonly string[]): Promise<Record<string, string>> {
  const files = await Promise.all(paths.map(async (path) => ({
    path,
    name: nameOf(path),
    text: await step(UNREACHABLE, `read ${path}`, () => readText(path)),
  })));
  const twice = files.find(({ name }, i) => files.findIndex((one) => one.name === name) !== i);
  if (twice !== undefined) {
    throw new Failure(
      USAGE,
      `Cannot install ${twice.path}: another file is called ${twice.name}, too`,
    );
  }
  if (files.length > 0) sceneOf("install the scene", files, await loadSceneClasses());
  return Object.fromEntries(files.map(({ name, text }) => [name, text]));
}

/** The name of a scene's file in /etc/viola. */
function nameOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]*\.toml$/.test(name)) return name;
  throw new Failure(
    USAGE,
    `Cannot install ${path}: expected a name of letters, digits, _ . and -, and .toml at its end`,
  );
}

const WORDS = { write: "wrote", remove: "removed", same: "unchanged", keep: "kept" } as const;

function reportStep(report: Report, { path, action, why }: Step): void {
  const fact = { event: WORDS[action], path };
  if (action === "keep") report.problem({ ...fact, text: why }, `${path} is kept: ${why}`);
  else report.fact(fact, `${WORDS[action].padEnd(9)} ${path}`);
}

/** What is left to do, for people. */
function nextSteps(root: string, { modules }: Target): string[] {
  const missing = modules.length > 0
    ? []
    : ["no module of AGL's driver is installed: nothing loads one at the start of the system"];
  if (root !== "/") return [...missing, `next: systemctl --root=${root} enable viola.service`];
  return [
    ...missing,
    "next: systemd-sysusers; systemd-tmpfiles --create; systemctl daemon-reload",
    "      udevadm control --reload; udevadm trigger; systemctl enable --now viola.service",
  ];
}
