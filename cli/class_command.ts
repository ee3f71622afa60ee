// SPDX-License-Identifier: Apache-2.0
/**
 * `viola CLASS VERB`: what a user does with a running device of a class that has such verbs.
 *
 * @module
 */
import type { Command } from "commander";
import { DEVICE_CLASSES } from "../lib/classes/mod.ts";
import type { CommandRole } from "../lib/device/command_role.ts";
import { loadRole } from "../lib/virtio/device_class.ts";
import { FAILED, Failure, load, messageOf, StopSignal, UNREACHABLE, USAGE } from "./exit.ts";
import { choice } from "./options.ts";
import { Report } from "./report.ts";

interface Options {
  readonly socket?: string;
  readonly json?: boolean;
}

/** Adds the subcommand of a class. */
export async function addClassCommand(program: Command, name: string): Promise<void> {
  const { roles } = DEVICE_CLASSES.find((one) => one.name === name)!;
  const role = await load(() => loadRole<CommandRole>(roles.command!.href, "command"));
  const command = program.command(name).description(role.description).helpCommand(false)
    .usage("VERB --socket S [ARGUMENT]...")
    .argument("[verb]")
    .action((word = "") => void choice("VERB", word, role.verbs.map((verb) => verb.name)));
  if (role.help !== undefined) command.addHelpText("after", role.help);
  for (const verb of role.verbs) {
    const one = command.command(verb.name).description(verb.description)
      .option("--socket <path>", "the socket that the device listens on (required)")
      .option("--json", "report as JSON lines");
    if (verb.arguments !== undefined) one.argument(verb.arguments);
    one.action((args: string[], options: Options) => run(role, name, verb.name, args, options));
  }
}

/** @throws {Failure} with status 1 for wrong arguments, 2 when the device cannot be reached, 3 when it fails */
async function run(
  role: CommandRole,
  name: string,
  verb: string,
  args: readonly string[],
  { socket, json = false }: Options,
): Promise<void> {
  if (socket === undefined) {
    throw new Failure(USAGE, `Cannot reach the ${name} device: --socket is missing`);
  }
  const report = new Report(json);
  using stop = await StopSignal.listen();
  const { signal } = stop;
  const show: Parameters<CommandRole["run"]>[0]["show"] = (fact, text) => report.fact(fact, text);
  try {
    await role.run({ verb, args, socket, signal, show });
  } catch (error) {
    throw failureOf(error as Error, `viola device ${name} --socket ${socket}`);
  }
}

/**
 * How a command ends that failed. Errors are told apart by their names: in an executable a role brings classes of its own.
 *
 * @param needed The command line of the device that must be running
 */
export function failureOf(error: Error, needed: string): Failure {
  if (error.name === "SpecError") return new Failure(USAGE, messageOf(error));
  if (error.name !== "OsError") return new Failure(FAILED, messageOf(error));
  return new Failure(UNREACHABLE, `${messageOf(error)} (${needed} must be running)`);
}
