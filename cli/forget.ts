// SPDX-License-Identifier: Apache-2.0
/**
 * `viola forget`: removes devices from the descriptor store.
 *
 * @module
 */
import type { Command } from "commander";
import type { NodeUse } from "../lib/loopback/mod.ts";
import { Failure, load, step, UNREACHABLE, USAGE } from "./exit.ts";
import { Report } from "./report.ts";

const HELP = `
NODE is the value of --loopback, or another path of the same node. A viola that serves
the node keeps running, but the next one cannot restore the device. Use it if the device
cannot be restored, or for nodes that will not be served again.

WARNING: if no viola serves a node of AGL's driver, forgetting it closes it: the device
ends, and the node is unusable until the machine is restarted.

Nodes that systemd keeps for a service are released by systemctl stop SERVICE.`;

/** Adds the subcommand. */
export function addForget(program: Command): void {
  program.command("forget")
    .description("Close nodes that an earlier viola kept open for the next one.")
    .argument("<node...>", "/dev/loopback-N, /dev/loopback or soft:PATH")
    .option("--json", "report as JSON lines")
    .addHelpText("after", HELP)
    .action(runForget);
}

/** @throws {Failure} with status 1 for something that is not a node, 2 when the descriptor store cannot be reached */
async function runForget(nodes: string[], options: { json?: boolean }): Promise<void> {
  const report = new Report(options.json === true);
  const { Reactor } = await load(() => import("../ffi/mod.ts"));
  const { findStore } = await load(() => import("../lib/bridge/store/mod.ts"));
  const { aglRelease, canonicalName, nodeUse } = await load(() => import("../lib/loopback/mod.ts"));
  for (const node of nodes) {
    if (!/^soft:./.test(node) && aglRelease(node) === null) throw noNode(node);
  }
  await using reactor = new Reactor();
  const store = await step(USAGE, "find the descriptor store", () => findStore(reactor));
  try {
    for (const node of nodes) {
      const kept = await step(
        UNREACHABLE,
        `forget ${node}`,
        () => store.remove(canonicalName(node)),
      );
      const use = aglRelease(node) === null ? null : useOf(() => nodeUse(node));
      const text = kept ? `${node}: forgotten` : `${node}: was not kept`;
      report.fact({ event: "forgotten", node, kept }, text + consequence(use));
    }
  } finally {
    store.close();
  }
}

/** null for a node that does not exist. */
function useOf(look: () => NodeUse): NodeUse | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** What that means for the node, as the end of a line. */
function consequence(use: NodeUse | null): string {
  if (use?.kind === "spent") {
    return "; it was closed and is unusable: restart the machine before you attach it again";
  }
  if (use?.kind === "open") {
    return `; process ${use.pid} has it open, and when that ends the node is unusable until the machine is restarted`;
  }
  return "";
}

function noNode(node: string): Failure {
  const expected = "soft:PATH, /dev/loopback or /dev/loopback-N";
  return new Failure(
    USAGE,
    `Cannot forget "${node}": not a loopback device, expected ${expected}`,
  );
}
