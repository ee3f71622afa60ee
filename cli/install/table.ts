// SPDX-License-Identifier: Apache-2.0
/**
 * The command line as data, for completions and manual pages: made of commander's own table, and of the options of the
 * device classes.
 *
 * @module
 */
import type { Command } from "commander";
import type { CliOption } from "../../lib/device/cli_role.ts";
import type { SceneClass } from "../../lib/scene/mod.ts";

/** An option. */
export interface TableOption {
  /** Such as `-h, --help` or `--socket <path>`. */
  readonly flags: string;
  /** Such as `--socket`. */
  readonly long: string;
  /** One line. */
  readonly description: string;
  /** What its value may be: null if it takes none, none listed if it may be anything. */
  readonly values: readonly string[] | null;
}

/** A word that selects something: a subcommand, a verb, a device class. */
export interface TableWord {
  readonly word: string;
  readonly description: string;
}

/** What can come after some words of a command line. */
export interface Place {
  /** The words before, after `viola`: "", "up", "device sound". */
  readonly words: string;
  readonly description: string;
  /** The line that says how it is used, without "viola" and the words. */
  readonly usage: string;
  readonly next: readonly TableWord[];
  readonly options: readonly TableOption[];
  /** Further help, in lines. */
  readonly help: string;
}

/** The places of a whole program, `viola` itself first. */
export function placesOf(program: Command, classes: readonly SceneClass[]): Place[] {
  const top = placeOf(program, "");
  const commands = visible(program).flatMap((command) => placesBelow(command, classes));
  return [{ ...top, options: [...top.options, VERSION] }, ...commands];
}

const HELP: TableOption = {
  flags: "-h, --help",
  long: "--help",
  description: "show this help",
  values: null,
};
const VERSION: TableOption = {
  flags: "--version",
  long: "--version",
  description: "print the version",
  values: null,
};

function visible(command: Command): Command[] {
  return command.commands.filter((one) => !(one as Command & { _hidden: boolean })._hidden);
}

function placesBelow(command: Command, classes: readonly SceneClass[]): Place[] {
  const name = command.name();
  const place = placeOf(command, name);
  if (name === "device") {
    const own = classes.filter(({ deviceClass: { roles } }) => roles.device !== undefined);
    return [{ ...place, next: own.map(wordOf) }, ...own.map((one) => classPlace(place, one))];
  }
  if (name === "attach") return [{ ...place, next: classes.map(wordOf) }];
  return [place, ...visible(command).map((verb) => placeOf(verb, `${name} ${verb.name()}`))];
}

function wordOf({ deviceClass: { name, summary } }: SceneClass): TableWord {
  return { word: name, description: summary };
}

function placeOf(command: Command, words: string): Place {
  return {
    words,
    description: command.description(),
    usage: command.usage(),
    next: visible(command).map((one) => ({ word: one.name(), description: one.description() })),
    options: [
      ...command.options.filter(({ hidden, long }) => !hidden && long !== "--version").map((one) =>
        optionOf({ flags: one.flags, description: one.description })
      ),
      HELP,
    ],
    help: helpAfter(command),
  };
}

/** A device of one class: the options of every device, and its own. */
function classPlace(device: Place, { deviceClass, cli }: SceneClass): Place {
  return {
    words: `device ${deviceClass.name}`,
    description: `Run a vhost-user device: ${deviceClass.summary}.`,
    usage: "[options]",
    next: [],
    options: [...cli.options.map(optionOf), ...device.options],
    help: cli.help ?? "",
  };
}

function optionOf({ flags, description, choices }: CliOption): TableOption {
  return {
    flags,
    long: /--[\w-]+/.exec(flags)![0],
    description: description.replaceAll("\n", " "),
    values: flags.includes("<") ? choices ?? [] : null,
  };
}

/** What a command's help says after its options. */
function helpAfter(command: Command): string {
  let text = "";
  const { writeOut } = command.configureOutput();
  command.configureOutput({ writeOut: (part) => text += part });
  command.outputHelp();
  command.configureOutput({ writeOut: writeOut! });
  return /\n {2}-h, --help[^\n]*\n([^]*)$/.exec(text)?.[1] ?? "";
}
