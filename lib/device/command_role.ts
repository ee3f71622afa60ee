// SPDX-License-Identifier: Apache-2.0
/**
 * What a user does with a running device of a class, `viola CLASS VERB`: the role `command`.
 *
 * @module
 */

/** One thing to do. */
export interface CommandVerb {
  /** Its word. */
  readonly name: string;
  /** What comes after it, such as `<line=level...>`, as commander writes arguments; absent: nothing. */
  readonly arguments?: string;
  /** A sentence for the help. */
  readonly description: string;
}

/** What it is done with. */
export interface CommandCall {
  readonly verb: string;
  readonly args: readonly string[];
  /** The device's socket. */
  readonly socket: string;
  /** Aborted when the user wants it to end. */
  readonly signal: AbortSignal;
  /** Shows a fact, as data for scripts or as a line for people. */
  show(fact: { readonly event: string } & Record<string, unknown>, text: string): void;
}

/** What the module of the role exports as `command`. */
export interface CommandRole {
  /** A sentence for the help. */
  readonly description: string;
  readonly verbs: readonly CommandVerb[];
  /** Further help text, in lines of at most 90 characters. */
  readonly help?: string;
  /**
   * Does it.
   *
   * @throws {SpecError} for arguments that are wrong
   * @throws {OsError} when the device cannot be reached
   * @throws {Error} when it fails
   */
  run(call: CommandCall): Promise<void>;
}
