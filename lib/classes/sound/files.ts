// SPDX-License-Identifier: Apache-2.0
/**
 * The files of a card's streams: no file is written to while another stream uses it, under whatever name.
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";

/** A file that a stream has open. */
export interface Use {
  /** The file itself, see `WavReader.identity`. */
  readonly identity: string;
  readonly path: string;
  readonly isWritten: boolean;
}

function refuse(use: Use, other: Use): never {
  const [writer, second] = use.isWritten ? [use, other] : [other, use];
  const alias = second.path === writer.path ? "" : `, which is the same file as ${second.path}`;
  if (second.isWritten) {
    throw new SpecError(`Cannot play two streams to one file, ${writer.path}${alias}`);
  }
  const both = `Cannot play to ${writer.path} and capture from it at the same time`;
  throw new SpecError(`${both}${alias}`);
}

/** Files that streams have open now. */
export class OpenFiles {
  readonly #uses = new Set<Use>();

  /**
   * Notes that a stream opens a file.
   *
   * @returns to be disposed of when the stream closes the file
   * @throws {SpecError} when another stream writes to it, or this one wants to write and another has it open
   */
  open(use: Use): Disposable {
    for (const other of this.#uses) {
      if (other.identity === use.identity && (use.isWritten || other.isWritten)) refuse(use, other);
    }
    this.#uses.add(use);
    return { [Symbol.dispose]: () => void this.#uses.delete(use) };
  }
}
