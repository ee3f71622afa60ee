// SPDX-License-Identifier: Apache-2.0
/**
 * The console's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { ConsoleSpec } from "./spec.ts";

const HELP = `
An end is where programs of this machine find a port:
  stdio             standard input and output; reports go to standard error
  pty               a terminal, whose path is reported
  pty:LINK          the same, with a link to it that is removed at the end
  unix:PATH         a Unix socket, for one program at a time
  tcp:ADDRESS:PORT  the same by TCP: tcp:127.0.0.1:4000, tcp:[::1]:4000
  null              nothing
  viola device console --socket /run/con0 --port gps=unix:/run/gps --port bt=pty:/run/bt
Named ports are /dev/virtio-ports/NAME to the driver. A program that does not read holds
back who writes to such a port; a console's output is dropped instead after a tenth of a
second, as Linux cannot wait for a console.`;

/** Options as the command line gives them, each of its own type. */
interface ConsoleOptions extends CliValues {
  readonly console?: string;
  readonly port?: string[];
  readonly screen?: string;
}

/** The console's command line. */
export const cli: CliRole<ConsoleSpec> = {
  options: [
    { flags: "--console <end>", description: "the end of the console, /dev/hvc0 (null)" },
    {
      flags: "--port <port>",
      description: "a port besides, as NAME=END; again for more",
      repeatable: true,
    },
    {
      flags: "--screen <size>",
      description: "the console's size where its end has none, as\nCOLSxROWS (80x24)",
    },
  ],
  help: HELP,
  parse: (values) => {
    const { port, console, screen } = values as ConsoleOptions;
    return {
      ...(console === undefined ? {} : { console }),
      ...(port === undefined ? {} : { ports: port }),
      ...(screen === undefined ? {} : { size: screen }),
    };
  },
  usesStdio: ({ console: end, port }) =>
    [end, ...(port as string[] ?? []).map((one) => one.slice(one.indexOf("=") + 1))]
      .includes("stdio"),
};
