// SPDX-License-Identifier: Apache-2.0
/**
 * sox, the second opinion on WAV files.
 *
 * @module
 */

/** Runs it. @returns what it wrote to standard output */
export function sox(...args: string[]): Uint8Array<ArrayBuffer> {
  const { success, stdout, stderr } = new Deno.Command("sox", { args }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return stdout;
}
