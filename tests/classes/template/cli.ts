// SPDX-License-Identifier: Apache-2.0
/**
 * The echo device's options.
 *
 * @module
 */
import type { CliRole } from "../../../lib/device/cli_role.ts";
import type { EchoSpec } from "./device.ts";

/** The echo device's command line. */
export const cli: CliRole<EchoSpec> = {
  options: [
    {
      flags: "--limit <bytes>",
      description: "the most that comes back at once (4096)",
      range: [1, 65536],
    },
  ],
  parse: ({ limit }) => limit === undefined ? {} : { limit: limit as number },
};
