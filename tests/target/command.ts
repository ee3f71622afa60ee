// SPDX-License-Identifier: Apache-2.0
/**
 * Other programs, with their complaints in the error.
 *
 * @module
 */

/** How a program is run. */
export interface CommandOptions {
  cwd?: string;
  env?: Record<string, string>;
  /** What it reads. */
  input?: string;
}

/** A command line as people would type it. */
function lineOf(command: readonly string[]): string {
  return command.map((word) => /^[\w./:=,+@%-]+$/.test(word) ? word : `'${word}'`).join(" ");
}

/**
 * Runs a program to its end.
 *
 * @returns what it wrote to standard output
 * @throws {Error} when it is not there, or fails; with what it wrote to standard error
 */
export async function run(
  command: readonly string[],
  { input, ...options }: CommandOptions = {},
): Promise<string> {
  const [program, ...args] = command as [string, ...string[]];
  const process = new Deno.Command(program, {
    args,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...options,
  }).spawn();
  const output = process.output();
  if (input !== undefined) {
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await output;
  const decoder = new TextDecoder();
  if (code === 0) return decoder.decode(stdout);
  const complaint = decoder.decode(stderr).trim().slice(-4000);
  throw new Error(`Cannot run ${lineOf(command)}: exit status ${code}\n${complaint}`);
}

/** Whether a program is there. @param program A name, or a path */
export async function isInstalled(program: string): Promise<boolean> {
  const { success } = await new Deno.Command("sh", {
    args: ["-c", `command -v "$1"`, "sh", program],
    stdout: "null",
  }).output();
  return success;
}

/** The name with the highest version in it. */
export function newest(names: readonly string[]): string | undefined {
  return names.toSorted((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1);
}
