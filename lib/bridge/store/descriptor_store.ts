// SPDX-License-Identifier: Apache-2.0
/**
 * Holding descriptors while no viola runs, so that a device outlives the process that serves it: a node of AGL's driver
 * must never be closed, and who serves it next needs the device's state.
 *
 * @module
 */
import type { Fd } from "../../../ffi/mod.ts";

/** Holds copies of descriptors under names, which are loopback devices'. */
export interface DescriptorStore {
  /**
   * Makes sure that there is something to hold descriptors, and starts it if need be. To be called before the first of them
   * is opened, so that none is opened in vain.
   *
   * @throws {Error}
   */
  prepare(): Promise<void>;
  /**
   * Copies of what is held under the name, in the order in which they were put, each now the caller's; none if nothing is.
   * The name is ours from now on, until {@linkcode release}.
   *
   * @throws {OsError} EBUSY when another process has the name
   * @throws {RangeError} when not all is there
   */
  take(name: string): Promise<Fd[]>;
  /**
   * Has these held under the name, in place of what is, until {@linkcode release}: if what holds them ends, another is
   * given them; if they cannot be held now, it is tried again. Resolves after the first attempt, however that went.
   *
   * @param fds Numbers of open descriptors, which stay so until then
   * @param report Told what went wrong, a sentence each
   */
  put(name: string, fds: readonly number[], report: (text: string) => void): Promise<void>;
  /** Lets go of what is held under the name; who serves it is not disturbed. @returns whether there was anything @throws {OsError} */
  remove(name: string): Promise<boolean>;
  /**
   * Ends what {@linkcode take} and {@linkcode put} began, after a put that is under way: another may take what is held.
   *
   * @returns who holds it, in words; null when nobody does
   */
  release(name: string): Promise<string | null>;
  /** How a user has it let go of, as it continues a sentence in brackets. */
  howToRemove(name: string): string;
  /** Ends what is not released, at once; copies that nobody took are closed. */
  close(): void;
}
