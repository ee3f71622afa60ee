// SPDX-License-Identifier: Apache-2.0
/**
 * The store process's life.
 *
 * @module
 */
import { Reactor } from "../../../ffi/mod.ts";
import { StoreServer } from "./server.ts";

/**
 * Holds what clients hand over at `path`, until SIGTERM; a terminal's end or ^C is meant for others.
 *
 * @throws {OsError} EADDRINUSE when another store process listens there
 * @throws {Error} when others may write the folder
 */
export async function runStoreProcess(path: string): Promise<void> {
  for (const signal of ["SIGINT", "SIGHUP"] as const) Deno.addSignalListener(signal, () => {});
  const stop = Promise.withResolvers<void>();
  Deno.addSignalListener("SIGTERM", () => stop.resolve());
  await using reactor = new Reactor();
  using _server = new StoreServer(path, reactor);
  await stop.promise;
}
