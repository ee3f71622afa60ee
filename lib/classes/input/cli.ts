// SPDX-License-Identifier: Apache-2.0
/**
 * The input device's options.
 *
 * @module
 */
import type { CliRole } from "../../device/cli_role.ts";
import type { InputSpec } from "./device.ts";

const HELP = `
A file of events is JSON lines. The first says what the device is, each other is an event
or a wait in milliseconds; codes are the numbers of <linux/input-event-codes.h>:
  {"name": "buttons", "codes": {"EV_KEY": [30], "EV_LED": [0]}}
  {"type": "EV_KEY", "code": 30, "value": 1}
  {"type": "EV_SYN", "code": 0, "value": 0}
  {"wait": 20}
It is played from its beginning for each driver. What the driver sets, such as LEDs, is
reported with --json.`;

/** The input device's command line. */
export const cli: CliRole<InputSpec> = {
  options: [{ flags: "--events <file>", description: "the events of a file" }],
  help: HELP,
  parse: ({ events }) => events === undefined ? {} : { events: events as string },
};
