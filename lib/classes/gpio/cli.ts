// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { Bias } from "./chip.ts";
import type { GpioSpec } from "./spec.ts";

const HELP = `
Without a chip the lines are simulated, and viola gpio is their other end. Of a chip,
--line names those that the driver gets, by name or number; each is taken from the host
only while the driver uses it.
  viola device gpio --socket /run/gpio0 --chip /dev/gpiochip0 --line RESET --line 17`;

/** Options as the command line gives them, each of its own type. */
interface GpioOptions extends CliValues {
  readonly chip?: string;
  readonly bias?: Bias;
  readonly line?: string[];
  readonly lines?: number;
}

/** The GPIO device's command line. */
export const cli: CliRole<GpioSpec> = {
  options: [
    {
      flags: "--chip <path>",
      description: "a GPIO chip of the host, such as /dev/gpiochip0",
    },
    {
      flags: "--line <name>",
      description: "a line of the chip, or a simulated one of this name;\nagain for more",
      repeatable: true,
    },
    {
      flags: "--lines <n>",
      description: "number of simulated lines (as many as have names, or 8)",
      range: [1, 1024],
    },
    {
      flags: "--bias <bias>",
      description: "what the chip's inputs are pulled to (as they are)",
      choices: ["pull-up", "pull-down", "disabled"],
    },
  ],
  help: HELP,
  parse: (values) => values as GpioOptions,
};
