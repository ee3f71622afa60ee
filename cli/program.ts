// SPDX-License-Identifier: Apache-2.0
/**
 * viola's command line: the help text, the subcommands, and errors of usage.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import metadata from "../deno.json" with { type: "json" };
import { DEVICE_CLASSES } from "../lib/classes/mod.ts";
import { Failure, USAGE } from "./exit.ts";
import { ascii, SCREEN } from "./plain.ts";
import { oneOf } from "../lib/scene/words.ts";
import { said } from "./report.ts";

const CLASSES = wrapped(`CLASS is ${oneOf(DEVICE_CLASSES.map(({ name }) => name))}.`, 80);

/** A text in lines of at most `width` characters. */
function wrapped(text: string, width: number): string {
  return text.replaceAll(new RegExp(`(.{1,${width}})(?: |$)`, "g"), "$1\n").trimEnd();
}

/** `viola --help`: one screen. */
export const STORY =
  `viola connects the kernel's virtio-loopback device to vhost-user devices: ordinary
Linux drivers use sound cards and other devices in user space, without a
hypervisor.

  aplay ── virtio_snd ══ /dev/loopback-N ══ viola attach ══ socket ══ a device
           kernel, untouched                                  viola's or any daemon's

Usage: viola COMMAND [OPTION]...   (viola help COMMAND lists its options)

  viola demo [SCENE]               play sound into virtual cards, and compare it
  viola device CLASS --socket S    run a device that listens on S
  viola attach CLASS --socket S --loopback /dev/loopback-N  connect the kernel's to it
  viola up FILE                    run the devices of a file (viola schema: format)
  viola status, viola metrics, viola doctor [FILE]   how they are; what is missing
  viola forget NODE, viola install close a kept node; write services and rules
  viola --version

${CLASSES}

Called virtio-loopback-adapter, or with the options of AGL's program of that name
(-d -s -l -qn -qs), viola replaces it.

Exit status: 0 success, 1 wrong usage, 2 cannot reach something, 3 failed running.
`;

/** Classes with a subcommand of their own. */
const CLASS_COMMANDS = DEVICE_CLASSES.filter(({ roles }) => roles.command !== undefined)
  .map(({ name }) => name);

/** Adds each subcommand; only the one that is used is loaded. */
const COMMANDS: Record<string, () => Promise<(program: Command) => void | Promise<void>>> = {
  demo: async () => (await import("./demo.ts")).addDemo,
  device: async () => (await import("./device.ts")).addDevice,
  attach: async () => (await import("./attach.ts")).addAttach,
  up: async () => (await import("./up.ts")).addUp,
  status: async () => (await import("./status.ts")).addStatus,
  metrics: async () => (await import("./status.ts")).addMetrics,
  doctor: async () => (await import("./doctor.ts")).addDoctor,
  schema: async () => (await import("./schema.ts")).addSchema,
  install: async () => (await import("./install.ts")).addInstall,
  forget: async () => (await import("./forget.ts")).addForget,
  store: async () => (await import("./store.ts")).addStore,
  ...Object.fromEntries(CLASS_COMMANDS.map((name) => [name, async () => {
    const { addClassCommand } = await import("./class_command.ts");
    return (program: Command) => addClassCommand(program, name);
  }])),
};
const NAMES = Object.keys(COMMANDS);

/** The program with the subcommand that the first word names, which throws rather than exits. */
async function buildProgram(word: string): Promise<Command> {
  const program = new Command("viola")
    .version(metadata.version, "--version")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => said.owe(SCREEN.isUtf8 ? text : ascii(text)),
      outputError: () => {},
    });
  program.helpInformation = () => STORY;
  for (const name of namesFor(word)) await (await COMMANDS[name]!())(program);
  return program;
}

/** The program with all its subcommands, as a table of what it understands. */
export function wholeProgram(): Promise<Command> {
  return buildProgram("");
}

/** Names of the subcommands to load: none for an option, one for a subcommand, all for an unknown word (commander suggests one). */
function namesFor(word: string): readonly string[] {
  if (word.startsWith("-")) return [];
  return NAMES.includes(word) ? [word] : NAMES;
}

/**
 * Runs a command line to its end.
 *
 * @throws {Failure} with status 1 for bad usage, else what the subcommand throws
 */
export async function runProgram(args: readonly string[]): Promise<void> {
  const line = withHelp(args);
  try {
    const program = await buildProgram(line[0]!);
    await program.parseAsync(line, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw new Failure(USAGE, usageMessage(error.message, args));
  }
}

/** `viola help device can` is `viola device can --help`; no command at all, or `help` alone, is `viola --help`. */
function withHelp(args: readonly string[]): readonly string[] {
  const [first = "help", second, ...rest] = args;
  if (first !== "help") return args;
  if (second === undefined) return ["--help"];
  return NAMES.includes(second) ? [second, ...rest, "--help"] : [second];
}

/** "error: unknown option '--x'" as a sentence that names the help. */
function usageMessage(message: string, [first]: readonly string[]): string {
  const what = message.replace(/^error: /, "").replace(/\n/g, " ");
  const command = NAMES.includes(first ?? "") ? ` ${first}` : "";
  return `Cannot understand the command line: ${what} (see viola${command} --help)`;
}
