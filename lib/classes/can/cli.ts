// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { CanSpec } from "./spec.ts";

const HELP = `
Without --interface and --bus the controller is alone on its bus.

Logs are candump's (candump -L); --log-out appends what is sent and received. Filters are
candump's, in hexadecimal: ID:MASK receives the frames whose identifier equals ID in the
bits that MASK has, ID~MASK all others. A frame is received if one of the filters fits.
  viola device can --socket /run/can0 --interface can0 --filter 100:700
After bus-off the driver restarts the controller, but not the host's interface, which must
restart by itself: ip link set can0 type can restart-ms 100.`;

/** Options as the command line gives them, each of its own type. */
interface CanOptions extends CliValues {
  readonly interface?: string;
  readonly bus?: string;
  readonly logIn?: string;
  readonly logOut?: string;
  readonly filter?: string[];
  readonly pace?: "real" | "free";
}

/** The CAN device's command line. */
export const cli: CliRole<CanSpec> = {
  options: [
    {
      flags: "--interface <if>",
      description: "the host's CAN interface to use, such as can0 or vcan0",
    },
    {
      flags: "--bus <name>",
      description: "a virtual bus instead, shared by all controllers of\nthis user that name it",
    },
    {
      flags: "--log-in <file>",
      description: "receive the frames of a log, beginning when the driver\nstarts the controller",
    },
    { flags: "--log-out <file>", description: "write all frames to a log" },
    {
      flags: "--filter <filter>",
      description: "receive only these frames; may be given several times",
      repeatable: true,
    },
    {
      flags: "--pace <pace>",
      description: "real: the log at its own times (the default);\n" +
        "free: as fast as the driver takes it",
      choices: ["real", "free"],
    },
  ],
  help: HELP,
  parse: (values) => {
    const { filter, ...rest } = values as CanOptions;
    return { ...rest, ...(filter === undefined ? {} : { filters: filter }) };
  },
};
