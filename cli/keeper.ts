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

/** Starts a keeper that outlives this process. */
export function startKeeper(path: string): void {
  new Deno.Command(Deno.execPath(), {
    args: programArgs(["keeper", path]),
    detached: true,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn().unref();
}

/** Runs until SIGTERM; a terminal's end or ^C is meant for others. */
async function runKeeper(path: string): Promise<void> {
  for (const signal of ["SIGINT", "SIGHUP"] as const) Deno.addSignalListener(signal, () => {});
  const { Reactor } = await load(() => import("../ffi/mod.ts"));
  const { Keeper } = await load(() => import("../lib/bridge/keep.ts"));
  await using reactor = new Reactor();
  using _keeper = await step(UNREACHABLE, `listen at ${path}`, () => new Keeper(path, reactor));
  const stop = Promise.withResolvers<void>();
  Deno.addSignalListener("SIGTERM", () => stop.resolve());
  await stop.promise;
}
