// SPDX-License-Identifier: Apache-2.0
/**
 * Holds descriptors while no viola runs, so that a device outlives the process that serves it: a node of AGL's driver must
 * never be closed, and the next process needs the device's state.
 *
 * @module
 */
import type { Fd } from "../../../ffi/mod.ts";

/** Holds copies of descriptors by name, the name of a loopback device. */
export interface DescriptorStore {
  /**
   * Makes sure that the store is available, and starts it if need be. Call it before opening a node, since one that cannot
   * be stored must not be opened.
   *
   * @throws {Error}
   */
  prepare(): Promise<void>;
  /**
   * Copies of the descriptors held under the name, in the order in which they were put, owned by the caller; empty if there
   * are none. Claims the name until {@linkcode release}.
   *
   * @throws {OsError} EBUSY when another process has claimed the name
   * @throws {RangeError} when some of the descriptors are missing
   */
  take(name: string): Promise<Fd[]>;
  /**
   * Puts descriptors under the name, replacing those held before. Until {@linkcode release} a failed attempt is repeated,
   * and if the store process ends, another one is started. Resolves after the first attempt, whether it succeeded or not.
   *
   * @param fds Numbers of descriptors that stay open until {@linkcode release}
   * @param report Called with a sentence for each failure
   */
  put(name: string, fds: readonly number[], report: (text: string) => void): Promise<void>;
  /** Removes the descriptors held under the name; a process that serves the device continues. @returns whether there were any @throws {OsError} */
  remove(name: string): Promise<boolean>;
  /**
   * Gives up the claim on the name, after a {@linkcode put} in progress: another process may take the descriptors.
   *
   * @returns text naming what holds the descriptors; null when nothing does
   */
  release(name: string): Promise<string | null>;
  /** Tells the user how to remove the descriptors; a clause to be put in brackets. */
  howToRemove(name: string): string;
  /** Gives up all claims at once, and closes copies that nobody took. */
  close(): void;
}
