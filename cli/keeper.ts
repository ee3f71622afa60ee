// SPDX-License-Identifier: Apache-2.0
/**
 * `viola keeper`: holds devices' descriptors while no viola runs. Started by `viola attach --keep`, where systemd does
 * not do it; not for people.
 *
 * @module
 */
import type { Command } from "commander";
import { programArgs } from "./child.ts";
import { load, step, UNREACHABLE } from "./exit.ts";

/** Adds the subcommand. */
export function addKeeper(program: Command): void {
  program.command("keeper", { hidden: true })
    .description("Hold devices' descriptors while no viola runs.")
    .argument("<socket>", "Unix socket to listen at")
    .action(runKeeper);
}

/** @returns what starts a keeper that outlives this process: this very program */
export async function loadStoreStarter(): Promise<(path: string) => void> {
  const { startDetached } = await import("../ffi/mod.ts");
  return (path) => startDetached([Deno.execPath(), ...programArgs(["keeper", path])]);
}

/** Runs until SIGTERM. */
async function runKeeper(path: string): Promise<void> {
  const { runStoreProcess } = await load(() => import("../lib/bridge/store/process.ts"));
  await step(UNREACHABLE, `listen at ${path}`, () => runStoreProcess(path));
}
