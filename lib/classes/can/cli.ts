// SPDX-License-Identifier: Apache-2.0
/**
 * The CAN device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { CanSpec } from "./spec.ts";

const HELP = `
A controller that is given neither an interface nor a bus is alone on its bus.

Logs are candump's (candump -L); --log-out appends what is sent and received. Filters are
candump's, hexadecimal: ID:MASK receives frames whose identifier is ID in the bits of
MASK, ID~MASK all others; of several, one that lets a frame through is enough.
  viola device can --socket /run/can0 --interface can0 --filter 100:700
After bus-off the driver starts the controller again; the host's interface must do so by
itself: ip link set can0 type can restart-ms 100.`;

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
      description: "the host's CAN interface that it is connected to,\nsuch as can0 or vcan0",
    },
    {
      flags: "--bus <name>",
      description:
        "a virtual bus instead, which all controllers of this\nuser with that name share",
    },
    {
      flags: "--log-in <file>",
      description: "receive the frames of a log, from when the driver\nstarts the controller",
    },
    { flags: "--log-out <file>", description: "note all frames in a log" },
    {
      flags: "--filter <filter>",
      description: "receive only such frames; again for more",
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
