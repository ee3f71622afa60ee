// SPDX-License-Identifier: Apache-2.0
/**
 * Reading option values: an invalid one ends the command with exit status 1.
 *
 * @module
 */
import { oneOf } from "../lib/scene/words.ts";
import { Failure, USAGE } from "./exit.ts";

/** For commander: collects the values of an option that may be given several times. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** A whole number from `min` to `max`. @throws {Failure} */
export function whole(option: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (!/^-?\d+$/.test(text) || number < min || number > max) {
    throw bad(option, text, `a number from ${min} to ${max}`);
  }
  return number;
}

/** A list of whole numbers, such as "1,2". @throws {Failure} */
export function wholes(option: string, text: string, min: number, max: number): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) {
    throw bad(option, text, `numbers from ${min} to ${max}, such as 1,2`);
  }
  return text.split(",").map((item) => whole(option, item, min, max));
}

/** One of a few words. @throws {Failure} */
export function choice<T extends string>(option: string, text: string, choices: readonly T[]): T {
  if (choices.includes(text as T)) return text as T;
  throw bad(option, text, oneOf(choices));
}

function bad(option: string, text: string, expected: string): Failure {
  return new Failure(USAGE, `Cannot use ${option} "${text}": expected ${expected}`);
}

/**
 * An option's value for each of `count` devices: the n-th value is for the n-th device, a single one for all.
 *
 * @param fallback The value when the option is not given
 * @throws {Failure} when there is neither one value nor `count`
 */
export function forEach<T>(
  option: string,
  values: readonly string[] | undefined,
  count: number,
  fallback: T,
  read: (text: string) => T,
): T[] {
  if (values === undefined) return Array<T>(count).fill(fallback);
  if (values.length === 1) return Array<T>(count).fill(read(values[0]!));
  if (values.length === count) return values.map(read);
  throw new Failure(
    USAGE,
    `Cannot use ${values.length} × ${option} for ${
      devices(count)
    }: expected one for all, or one for each`,
  );
}

/**
 * The values of an option that each device needs one of.
 *
 * @throws {Failure} when there are fewer or more, or two are the same
 */
export function oneEach(
  option: string,
  values: readonly string[] | undefined,
  count: number,
): readonly string[] {
  const given = values ?? [];
  if (given.length !== count) {
    const is = given.length === 0 ? `${option} is missing` : `${given.length} × ${option} given`;
    throw new Failure(USAGE, `Cannot attach ${devices(count)}: ${is}, expected ${count}`);
  }
  const places = given.map(placeOf);
  const twice = given.find((_, i) => places.indexOf(places[i]!) !== i);
  if (twice !== undefined) {
    throw new Failure(
      USAGE,
      `Cannot attach two devices to the same one: ${option} ${twice} is given twice`,
    );
  }
  return given;
}

/** The real path, for comparison. A soft node's is after its colon; a socket may not exist yet. */
function placeOf(value: string): string {
  const kind = value.startsWith("soft:") ? "soft:" : "";
  const path = value.slice(kind.length);
  const name = path.lastIndexOf("/") + 1;
  const folder = path.slice(0, name);
  return kind + (realPath(path) ?? `${realPath(folder || ".") ?? folder}/${path.slice(name)}`);
}

function realPath(path: string): string | null {
  try {
    return Deno.realPathSync(path);
  } catch {
    return null;
  }
}

function devices(count: number): string {
  return `${count} device${count === 1 ? "" : "s"}`;
}
