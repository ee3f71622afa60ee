// SPDX-License-Identifier: Apache-2.0
/**
 * Work that is done one piece after the other.
 *
 * @module
 */

/** See the module. A piece that fails does not keep those after it from being done. */
export class InTurn {
  /** The end of what was asked for so far, however it ended. */
  #last: Promise<unknown> = Promise.resolve();

  /** Does work when all that was asked for before has ended. @throws {Error} what the work throws */
  do<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {}); // it is reported to the caller
    return done;
  }
}
