// SPDX-License-Identifier: Apache-2.0
/**
 * Whether standard error is systemd's journal, which takes a priority before each line (sd-daemon(3)).
 *
 * @module
 */
import { fstatSync } from "node:fs";

/** LOG_ERR of syslog(3), as the journal reads it. */
const ERROR = "<3>";

/** Device and inode of a file, as in `JOURNAL_STREAM`. */
interface Identity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/**
 * What is put before each line of an error: the journal's priority, or nothing if standard error is somewhere else.
 *
 * @param stream `$JOURNAL_STREAM`, device and inode of the journal's socket (systemd.exec(5)); a program that a service
 * starts inherits the variable, but not always standard error
 * @param identify Device and inode of standard error. @throws {Error} when it is closed
 */
export function errorPriority(stream: string | undefined, identify: () => Identity): string {
  if (stream === undefined) return "";
  try {
    const { dev, ino } = identify();
    return stream === `${dev}:${ino}` ? ERROR : "";
  } catch {
    return "";
  }
}

/** This process's. */
export const PRIORITY: string = errorPriority(
  Deno.env.get("JOURNAL_STREAM"),
  () => fstatSync(2, { bigint: true }),
);
