// SPDX-License-Identifier: Apache-2.0
/**
 * The input device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { InputSpec } from "./device.ts";

const HELP = `
A file of events is JSON lines. The first says what the device is, each other is an event
or a wait in milliseconds; codes are the numbers of <linux/input-event-codes.h>:
  {"name": "buttons", "codes": {"EV_KEY": [30], "EV_LED": [0]}}
  {"type": "EV_KEY", "code": 30, "value": 1}
  {"type": "EV_SYN", "code": 0, "value": 0}
  {"wait": 20}
It is played from its beginning for each driver. What the driver sets, such as LEDs, is
reported with --json, and set on an input device of the host.`;

/** Options as the command line gives them, each of its own type. */
interface InputOptions extends CliValues {
  readonly events?: string;
  readonly evdev?: string;
  readonly grab?: "yes" | "no";
  readonly stdin?: "yes" | "no";
}

/** The input device's command line. */
export const cli: CliRole<InputSpec> = {
  options: [
    { flags: "--events <file>", description: "the events of a file" },
    {
      flags: "--stdin <mode>",
      description: "yes: then the lines of standard input, as they come (no)",
      choices: ["yes", "no"],
    },
    {
      flags: "--evdev <node>",
      description: "an input device of the host, /dev/input/eventN",
    },
    {
      flags: "--grab <mode>",
      description: "no: programs of the host get its events, too (yes)",
      choices: ["yes", "no"],
    },
  ],
  help: HELP,
  parse: (values) => values as InputOptions,
  usesStdio: ({ stdin }) => stdin === "yes",
};
