// SPDX-License-Identifier: Apache-2.0
/**
 * Starts the store process from viola's source, for programs that use viola as a library.
 *
 * @module
 */
import { asset, startDetached } from "../../../ffi/mod.ts";

/**
 * Starts a store process that outlives this one.
 *
 * @param path The path of its socket
 * @throws {TypeError} in an executable made by `deno compile`, which cannot run a script
 * @throws {OsError}
 */
export function startStoreProcess(path: string): void {
  if (Deno.build.standalone) {
    throw new TypeError(
      "Cannot start a store process from an executable made by deno compile (give the option store.start, or keep: false)",
    );
  }
  const script = asset("lib/bridge/store/main.ts").href;
  startDetached([Deno.execPath(), "run", "-A", "--no-prompt", script, path]);
}
