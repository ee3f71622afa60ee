// SPDX-License-Identifier: Apache-2.0
/**
 * The `viola` command.
 *
 * @module
 */
import { argv0 } from "node:process";
import { isDropIn, runDropIn } from "./dropin.ts";
import { messageOf, statusOf, step, UNREACHABLE, USAGE, usageOf } from "./exit.ts";
import { complain, complaints, said } from "./report.ts";

// Not Deno.execPath(): that is the file's own name, not that of the link.
const dropIn = isDropIn(argv0, Deno.args);

async function run(): Promise<void> {
  if (dropIn) return await runDropIn(Deno.args);
  const { runProgram } = await import("./program.ts");
  await runProgram(Deno.args);
}

let ending: Promise<never> | null = null;

/** Ends the process, once: writes the rest of the output, then the failure. */
function end(error?: unknown): Promise<never> {
  return ending ??= (async () => {
    let failure = error;
    const flush = () => said.flush();
    await step(UNREACHABLE, "write to standard output", flush).catch((late) => failure ??= late);
    if (failure !== undefined) complain(messageOf(failure), usageOf(failure));
    await complaints.flush();
    Deno.exit(failure === undefined ? 0 : dropIn ? USAGE : statusOf(failure));
  })();
}

/** An uncaught error or unhandled rejection: ends with a message instead of a stack trace. */
function failLoose(event: ErrorEvent | PromiseRejectionEvent): void {
  event.preventDefault();
  void end("reason" in event ? event.reason : event.error);
}

if (import.meta.main) {
  addEventListener("error", failLoose);
  addEventListener("unhandledrejection", failLoose);
  await run().then(() => end(), end);
}
