// SPDX-License-Identifier: Apache-2.0
/**
 * The command line options of an embedded device: the role `cli`. Plain data and one function, so that it is
 * loaded without the device's code.
 *
 * @module
 */
import { type DeviceClass, loadRole } from "../virtio/device_class.ts";

/** An option of a class's device. */
export interface CliOption {
  /** The option and the name of its value, such as `--latency <ms>`. */
  readonly flags: string;
  /** What it is for, in lines of at most 60 characters, with its default in parentheses. */
  readonly description: string;
  /** It may be given several times: its value is a list. */
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
  /** Further help text, in lines of at most 90 characters. */
  readonly help?: string;
  /** Makes a specification from the options; the device role's `check` validates it. */
  parse(values: CliValues): Spec;
  /** Whether the device reads standard input and writes standard output: reports go to standard error then. Absent: never. */
  usesStdio?(values: CliValues): boolean;
}

/** A class without the role has no options. */
const NO_OPTIONS: CliRole = { options: [], parse: () => ({}) };

/** The options of a class's embedded device. */
export async function loadCliRole({ roles: { cli } }: DeviceClass): Promise<CliRole> {
  return cli === undefined ? NO_OPTIONS : await loadRole<CliRole>(cli.href, "cli");
}
