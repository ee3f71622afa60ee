// SPDX-License-Identifier: Apache-2.0
/**
 * The files of a card's streams: none is written to while another stream has it, by whatever name.
 *
 * @module
 */
import { SpecError } from "../../device/role.ts";

/** A stream's file, for as long as it has it open. */
export interface Use {
  /** What it is, as WavReader.identity tells. */
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
   * @returns what is to be disposed of when the stream closes it
   * @throws {SpecError} when another stream writes to it, or it is to be written to and another stream has it
   */
  open(use: Use): Disposable {
    for (const other of this.#uses) {
      if (other.identity === use.identity && (use.isWritten || other.isWritten)) refuse(use, other);
    }
    this.#uses.add(use);
    return { [Symbol.dispose]: () => void this.#uses.delete(use) };
  }
}
