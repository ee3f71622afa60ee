// SPDX-License-Identifier: Apache-2.0
/**
 * The main function of the store process.
 *
 * @module
 */
import { Reactor } from "../../../ffi/mod.ts";
import { StoreServer } from "./server.ts";

/**
 * Holds descriptors for clients that connect to `path`, until SIGTERM. Ignores SIGHUP and ^C, which are meant for viola.
 *
 * @throws {OsError} EADDRINUSE when another store process listens there
 * @throws {Error} when others have write permission for the folder
 */
export async function runStoreProcess(path: string): Promise<void> {
  for (const signal of ["SIGINT", "SIGHUP"] as const) Deno.addSignalListener(signal, () => {});
  const stop = Promise.withResolvers<void>();
  Deno.addSignalListener("SIGTERM", () => stop.resolve());
  await using reactor = new Reactor();
  using _server = new StoreServer(path, reactor);
  await stop.promise;
}
