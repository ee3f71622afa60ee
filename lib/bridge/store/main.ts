// SPDX-License-Identifier: Apache-2.0
/**
 * The store process, from source; nothing imports this. Its one argument is where it listens.
 *
 * @module
 */
import { runStoreProcess } from "./process.ts";

await runStoreProcess(Deno.args[0]!);
