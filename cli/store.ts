// SPDX-License-Identifier: Apache-2.0
/**
 * `viola store`: the process that holds devices' descriptors while no viola runs, where systemd does not. Started by
 * `viola attach`, not by users.
 *
 * @module
 */
import type { Command } from "commander";
import { programArgs } from "./child.ts";
import { load, step, UNREACHABLE } from "./exit.ts";

/** Adds the subcommand. */
export function addStore(program: Command): void {
  program.command("store", { hidden: true })
    .description("Hold devices' descriptors while no viola runs (started by viola attach).")
    .argument("<socket>", "Unix socket to listen on")
    .action(runStore);
}

/** @returns a function that starts a store process, which outlives this one, from this same program */
export async function loadStoreStarter(): Promise<(path: string) => void> {
  const { startDetached } = await import("../ffi/mod.ts");
  return (path) => startDetached([Deno.execPath(), ...programArgs(["store", path])]);
}

/** Runs until SIGTERM. */
async function runStore(path: string): Promise<void> {
  const { runStoreProcess } = await load(() => import("../lib/bridge/store/process.ts"));
  await step(UNREACHABLE, `listen on ${path}`, () => runStoreProcess(path));
}
