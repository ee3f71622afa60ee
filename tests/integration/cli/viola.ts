// SPDX-License-Identifier: Apache-2.0
/**
 * The `viola` command as a test runs it, and what must hold of every failure.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Process, type ProcessOptions } from "../../support/process.ts";

const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;
/** Arguments of Deno that run viola from source. */
export const RUN: readonly string[] = ["run", "-A", "--no-prompt", "--no-check", MAIN];

/** Whoever runs the tests, viola speaks UTF-8 unless a test says otherwise. */
function withLocale(options: ProcessOptions = {}): ProcessOptions {
  return { ...options, env: { LC_ALL: "C.UTF-8", ...options.env } };
}

/** Starts viola from source. */
export function viola(args: string[], options?: ProcessOptions): Process {
  return Process.start(Deno.execPath(), [...RUN, ...args], withLocale(options));
}

/** Starts it under another name, as a link to the executable would. */
export function violaAs(name: string, args: string[], options?: ProcessOptions): Process {
  const script = 'name=$1; program=$2; shift 2; exec -a "$name" "$program" "$@"';
  const command = ["-c", script, "bash", name, Deno.execPath(), ...RUN, ...args];
  return Process.start("bash", command, withLocale(options));
}

/** Starts it by way of a shell, such as `trap '' HUP; exec "$@" >&-`. */
export function violaBy(script: string, args: string[], options?: ProcessOptions): Process {
  return Process.start(
    "bash",
    ["-c", script, "bash", Deno.execPath(), ...RUN, ...args],
    withLocale(options),
  );
}

/** Waits for the end of a command that must fail: its status, one message, no stack trace. */
export async function assertFails(
  process: Process,
  status: number,
  message: RegExp,
  deadlineMs = 10_000,
): Promise<void> {
  const { code } = await process.end(deadlineMs);
  const said = process.report();
  assertEquals(code, status, said);
  assert(message.test(process.stderr), `expected ${message}\n${said}`);
  assert(/^viola: Cannot /m.test(process.stderr), said);
  assert(!/^\s+at /m.test(process.stderr) && !/\bfile:\/\//.test(process.stderr), said);
}

/** The reports that a command with --json made so far. */
export function facts(process: Process): Record<string, unknown>[] {
  const lines = process.stdout.split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line));
}

/** Waits until a command with --json has reported an event of this kind. */
export async function reported(
  process: Process,
  event: string,
  which: (fact: Record<string, unknown>) => boolean = () => true,
): Promise<void> {
  const isIt = (fact: Record<string, unknown>) => fact.event === event && which(fact);
  await process.until(() => facts(process).some(isIt), `"${event}"`, 20_000);
}
