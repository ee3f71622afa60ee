// SPDX-License-Identifier: Apache-2.0
/**
 * The network card's options.
 *
 * @module
 */
import type { CliRole } from "../../device/cli_role.ts";
import type { NetSpec } from "./spec.ts";
import { MTU_RANGE } from "./wire.ts";

const HELP = `
Without --tap and --cable the card's link is down.

The tap interface is made if it is not there, which takes CAP_NET_ADMIN; one that was made
before for this user takes no privilege:
  ip tuntap add dev tap0 mode tap user viola; ip link set tap0 up
  viola device net --socket /run/net0 --tap tap0
A cable connects two cards of this user; the link is up while both are there.`;

/** The card's command line. */
export const cli: CliRole<NetSpec> = {
  options: [
    { flags: "--tap <name>", description: "the host's tap interface to use, such as tap0" },
    { flags: "--cable <name>", description: "a cable instead, to the other card that names it" },
    {
      flags: "--mac <address>",
      description: "the MAC address (made of the machine and the socket)",
    },
    {
      flags: "--mtu <bytes>",
      description: "the most bytes of a frame's payload (1500)",
      range: MTU_RANGE,
    },
  ],
  help: HELP,
  parse: (values) => values as NetSpec,
};
