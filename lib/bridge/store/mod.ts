// SPDX-License-Identifier: Apache-2.0
/**
 * The descriptor store: systemd's, or a process of viola's own.
 *
 * @module
 */
import type { Reactor } from "../../../ffi/mod.ts";
import type { DescriptorStore } from "./descriptor_store.ts";
import { storePath } from "./path.ts";
import { ProcessStore } from "./process_store.ts";
import { startStoreProcess } from "./start.ts";
import { SystemdStore } from "./systemd_store.ts";

export type { DescriptorStore };

/** The process that holds descriptors where systemd does not. */
export interface StoreOptions {
  /** Path of its socket. @default {@linkcode storePath} */
  path?: string | undefined;
  /**
   * Starts a store process that listens at this path, by posix_spawn: a fork would copy the mappings of a node. By default
   * it runs from viola's source; an executable made by `deno compile` must give its own function.
   */
  start?: ((path: string) => void) | undefined;
}

/**
 * The descriptor store of this process: systemd's if the service has one, else a store process.
 *
 * @throws {RangeError} when the store process's socket path is too long
 */
export function findStore(reactor: Reactor, options: StoreOptions = {}): DescriptorStore {
  const notify = Deno.env.get("NOTIFY_SOCKET");
  if (notify !== undefined) return new SystemdStore(notify);
  const { path = storePath(), start = startStoreProcess } = options;
  return new ProcessStore(reactor, { path, start });
}
