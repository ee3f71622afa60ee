// SPDX-License-Identifier: Apache-2.0
/**
 * The I2C adapter's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import type { I2cSpec } from "./spec.ts";

const HELP = `
Give the driver only the addresses that it needs: on a bus of the host there may be chips,
such as regulators, that nobody else should write to.
  viola device i2c --socket /run/i2c0 --adapter /dev/i2c-1 --address 0x50 --address 0x68

A file of chips is TOML, a [[chip]] each, with address (0x08 to 0x77) and kind:
  kind = "eeprom"     size = 256, page = 8, address-bytes = 1, contents = "00 1f …", and
                      file = "PATH", where the contents are kept
  kind = "registers"  values = { "0x0f" = 0x33 }, 256 registers of a byte
  kind = "rtc"        a DS1307, with the host's time in UTC`;

/** Options as the command line gives them, each of its own type. */
interface I2cOptions extends CliValues {
  readonly adapter?: string;
  readonly address?: string[];
  readonly chips?: string;
}

/** The I2C adapter's command line. */
export const cli: CliRole<I2cSpec> = {
  options: [
    {
      flags: "--adapter <path>",
      description: "an I2C adapter of the host, such as /dev/i2c-1",
    },
    {
      flags: "--address <n>",
      description:
        "on its bus the driver may use only this address (of\n10 bits above 0x7f); again for more",
      repeatable: true,
    },
    {
      flags: "--chips <file>",
      description: "simulated chips (an EEPROM of 256 bytes at 0x50)",
    },
  ],
  help: HELP,
  parse: (values) => values as I2cOptions,
};
