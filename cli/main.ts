// SPDX-License-Identifier: Apache-2.0
/**
 * The `viola` command.
 *
 * @module
 */
import { isDropIn, runDropIn } from "./dropin.ts";
import { FAILED, messageOf, statusOf, USAGE } from "./exit.ts";
import { complain } from "./report.ts";

/** The name by which this program was called: `Deno.execPath()` is the file's, whatever link led to it. */
function calledAs(): string {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0", 1)[0]!;
  } catch {
    return Deno.execPath();
  }
}

const dropIn = isDropIn(calledAs(), Deno.args);

async function run(): Promise<void> {
  if (dropIn) return await runDropIn(Deno.args);
  const { runProgram } = await import("./program.ts");
  await runProgram(Deno.args);
}

/** Nobody waits for what failed here: the end, all the same with a message and not a stack. */
function failLoose(event: ErrorEvent | PromiseRejectionEvent): void {
  event.preventDefault();
  complain(messageOf("reason" in event ? event.reason : event.error));
  Deno.exit(dropIn ? USAGE : FAILED);
}

if (import.meta.main) {
  addEventListener("error", failLoose);
  addEventListener("unhandledrejection", failLoose);
  let status = 0;
  try {
    await run();
  } catch (error) {
    complain(messageOf(error));
    status = statusOf(error);
  }
  Deno.exit(status);
}
