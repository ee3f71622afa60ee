// SPDX-License-Identifier: Apache-2.0
/**
 * A temporary folder for sockets.
 *
 * @module
 */
import { step, UNREACHABLE } from "./exit.ts";

/** The longest path of a temporary folder whose sockets still have valid paths: at most 107 bytes. */
const LONGEST_FOLDER = 107 - "/viola-0123456789abcdef/device99".length;

/** A temporary folder, removed at the end; not in a `TMPDIR` whose path is too long for sockets. */
export async function makeFolder(stack: AsyncDisposableStack): Promise<string> {
  const wanted = Deno.env.get("TMPDIR") || "/tmp";
  const where = new TextEncoder().encode(wanted).length > LONGEST_FOLDER ? "/tmp" : wanted;
  const make = () => Deno.makeTempDir({ dir: where, prefix: "viola-" });
  const folder = await step(UNREACHABLE, `make a temporary folder in ${where}`, make);
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  return folder;
}
