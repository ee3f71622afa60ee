// SPDX-License-Identifier: Apache-2.0
/**
 * viola's own command line: the story, the subcommands, and how bad usage is answered.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import metadata from "../deno.json" with { type: "json" };
import { addAttach } from "./attach.ts";
import { addDemo } from "./demo.ts";
import { addDevice } from "./device.ts";
import { Failure, USAGE } from "./exit.ts";
import { addForget } from "./forget.ts";
import { addKeeper } from "./keeper.ts";
import { said } from "./report.ts";

/** `viola --help`: one screen. */
export const STORY =
  `viola joins the kernel's virtio-loopback device to vhost-user devices: ordinary Linux
drivers reach sound cards and other devices that live in user space, without a
hypervisor.

  aplay ── virtio_snd ══ /dev/loopback-N ══ viola attach ══ socket ══ a device
           kernel, untouched                                  viola's or any daemon's

Usage: viola COMMAND [OPTION]...   (viola help COMMAND tells its options)

  viola demo                       play two pieces into two cards, here and now,
                                   with no kernel module and no sound hardware
  viola device sound --socket S    be a sound card for whoever connects to S
  viola device rng --socket S      be a source of entropy
  viola attach sound --socket S --loopback /dev/loopback-N
                                   join the kernel's device to the one at S
  viola forget NODE                let go of what attach --keep left for its successor
  viola --version

Called virtio-loopback-adapter, or with the options of AGL's program of that name
(-d -s -l -qn -qs), viola stands in for it.

Exit status: 0 all is well, 1 asked for wrongly, 2 something cannot be reached,
3 failed while running.
`;

/** The program with its subcommands, which throws rather than exits. */
export function buildProgram(): Command {
  const program = new Command("viola")
    .version(metadata.version, "--version")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => said.owe(text), outputError: () => {} });
  program.helpInformation = () => STORY;
  for (const add of [addDemo, addDevice, addAttach, addForget, addKeeper]) add(program);
  return program;
}

/**
 * Runs a command line to its end.
 *
 * @throws {Failure} with status 1 for bad usage, else what the subcommand throws
 */
export async function runProgram(args: readonly string[]): Promise<void> {
  const program = buildProgram();
  const names = program.commands.map((command) => command.name());
  try {
    await program.parseAsync(withHelp(args, names), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new Failure(USAGE, usageMessage(error.message, args, names));
  }
}

/** `viola help attach` is `viola attach --help`; no command at all, or `help` alone, is `viola --help`. */
function withHelp(args: readonly string[], names: readonly string[]): readonly string[] {
  const [first = "help", second] = args;
  if (first !== "help") return args;
  if (second === undefined) return ["--help"];
  return names.includes(second) ? [second, "--help"] : [second];
}

/** "error: unknown option '--x'" as a sentence that says where help is. */
function usageMessage(
  message: string,
  [first]: readonly string[],
  names: readonly string[],
): string {
  const what = message.replace(/^error: /, "").replace(/\n/g, " ");
  const command = names.includes(first ?? "") ? ` ${first}` : "";
  return `Cannot understand the command line: ${what} (see viola${command} --help)`;
}
