// SPDX-License-Identifier: Apache-2.0
/**
 * How a command line says what an embedded device is to be: the role `cli`. Plain data and one function, so that it is
 * loaded without the device.
 *
 * @module
 */

/** An option of a class's device. */
export interface CliOption {
  /** The option and what its value is called, such as `--latency <ms>`. */
  readonly flags: string;
  /** What it is for, in lines of at most 60 characters, with its default in parentheses. */
  readonly description: string;
  /** It can be given again and again: its value is a list. */
  readonly repeatable?: true;
  /** Its value is one of these. */
  readonly choices?: readonly string[];
  /** Its value is a whole number from the first to the second. */
  readonly range?: readonly [min: number, max: number];
}

/** Options that were given, by the option's name in camelCase, checked; those that were not are absent. */
export type CliValues = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** What the module of the role exports as `cli`. */
export interface CliRole<Spec extends object = object> {
  readonly options: readonly CliOption[];
  /** What there is to say besides, in lines of at most 90 characters. */
  readonly help?: string;
  /** Makes a specification of the options; what a device thinks of it is said by its role's `check`. */
  parse(values: CliValues): Spec;
}
