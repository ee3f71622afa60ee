// SPDX-License-Identifier: Apache-2.0
/**
 * The GPIO device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import { type GpioSpec, MAX_LINES } from "./spec.ts";

/** Options as the command line gives them, each of its own type. */
interface GpioOptions extends CliValues {
  readonly line?: string[];
  readonly lines?: number;
}

/** The GPIO device's command line. */
export const cli: CliRole<GpioSpec> = {
  options: [
    {
      flags: "--line <name>",
      description: "a simulated line of this name; again for more",
      repeatable: true,
    },
    {
      flags: "--lines <n>",
      description: "number of simulated lines (as many as have names, or 8)",
      range: [1, MAX_LINES],
    },
  ],
  parse: (values) => values as GpioOptions,
};
