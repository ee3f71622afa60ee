// SPDX-License-Identifier: Apache-2.0
/**
 * The C compiler as a witness: what the kernel's own headers say.
 *
 * @module
 */

/** What a C program prints. @throws {Error} with the compiler's words when it does not build or fails */
export async function runC(source: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    const program = `${folder}/program`;
    await Deno.writeTextFile(`${program}.c`, source);
    await run(Deno.env.get("HOSTCC") ?? "cc", "-Wall", "-Werror", "-o", program, `${program}.c`);
    return await run(program);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`Cannot run ${command}: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}
