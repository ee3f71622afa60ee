// SPDX-License-Identifier: Apache-2.0
/**
 * The block device's options.
 *
 * @module
 */
import type { CliRole, CliValues } from "../../device/cli_role.ts";
import { MAX_REQUEST_QUEUES } from "./class.ts";
import type { BlockSpec } from "./spec.ts";

const HELP = `
Without --file the disk is one in memory, all zeros, which is gone when the device ends.

The file is locked while it can be written: a second viola refuses it. With --cache
writeback a write can be lost by a power failure, never by a crash of viola, until
the driver has flushed it, as Linux's file systems do.
  viola device block --socket /run/disk0 --file disk.img`;

/** Options as the command line gives them, each of its own type. */
interface BlockOptions extends CliValues {
  readonly file?: string;
  readonly size?: number;
  readonly access?: "read-write" | "read-only";
  readonly blockSize?: number;
  readonly queues?: number;
  readonly cache?: "writeback" | "writethrough";
  readonly serial?: string;
}

/** The block device's command line. */
export const cli: CliRole<BlockSpec> = {
  options: [
    { flags: "--file <path>", description: "file or block device that is the disk" },
    {
      flags: "--size <mib>",
      description: "size of a disk in memory in MiB (64)",
      range: [1, 65_536],
    },
    {
      flags: "--access <mode>",
      description: "read-write (the default) or read-only",
      choices: ["read-write", "read-only"],
    },
    {
      flags: "--block-size <n>",
      description: "bytes of a logical block: 512, 1024, 2048 or 4096\n" +
        "(the block device's own; of a file 512)",
      range: [512, 4096],
    },
    {
      flags: "--queues <n>",
      description: "number of queues (1)",
      range: [1, MAX_REQUEST_QUEUES],
    },
    {
      flags: "--cache <mode>",
      description: "writeback: writes are on the medium after a flush (the\n" +
        "default); writethrough: each before it is answered",
      choices: ["writeback", "writethrough"],
    },
    {
      flags: "--serial <text>",
      description: "identifier, up to 20 characters (the file's name)",
    },
  ],
  help: HELP,
  parse: (values) => {
    const { size, ...rest } = values as BlockOptions;
    return { ...rest, ...(size === undefined ? {} : { sizeMiB: size }) };
  },
};
