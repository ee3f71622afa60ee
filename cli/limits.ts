// SPDX-License-Identifier: Apache-2.0
/**
 * The limits of a process (setrlimit(2)), checked before they are reached.
 *
 * @module
 */
import { Failure, load, step, UNREACHABLE } from "./exit.ts";

/** What a command needs. */
export interface Needs {
  /** Descriptors at once, in each of its processes. */
  openFiles: number;
  /** Bytes of its largest file, files in memory among them. */
  fileBytes: number;
}

/** Their names in /proc/PID/limits, in setrlimit, and in the shell. */
const LIMITS = {
  openFiles: ["Max open files", "RLIMIT_NOFILE, ulimit -n"],
  fileBytes: ["Max file size", "RLIMIT_FSIZE, ulimit -f"],
} as const;

/**
 * The soft limit of a kind, Infinity when there is none.
 *
 * @param text What /proc/PID/limits says
 * @param name Its name there
 */
export function softLimit(text: string, name: string): number {
  const limit = new RegExp(`^${name} +(\\d+) `, "m").exec(text)?.[1];
  return limit === undefined ? Infinity : Number(limit);
}

/** Which limit is too low, as the continuation of "Cannot …: "; empty when none is. */
export function shortage(text: string, needs: Needs): string {
  for (const kind of ["openFiles", "fileBytes"] as const) {
    const [name, limit] = LIMITS[kind];
    const is = softLimit(text, name);
    const unit = kind === "openFiles" ? "open files" : "bytes in a file";
    if (is < needs[kind]) return `${is} ${unit} are allowed (${limit}), expected ${needs[kind]}`;
  }
  return "";
}

/** @throws {Failure} with status 2 that names the limit which is too low for `doing` */
export async function demandLimits(doing: string, needs: Needs): Promise<void> {
  const { readSystemFile } = await load(() => import("../ffi/mod.ts"));
  const text = await step(UNREACHABLE, "read limits", () => readSystemFile("/proc/self/limits"));
  const why = shortage(text, needs);
  if (why !== "") throw new Failure(UNREACHABLE, `Cannot ${doing}: ${why}`);
}
