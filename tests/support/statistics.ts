// SPDX-License-Identifier: Apache-2.0
/**
 * The few figures that describe many.
 *
 * @module
 */

/**
 * The value below which a share of the samples lies, by linear interpolation between neighbours.
 *
 * @param samples At least one, in any order
 * @param share 0 to 1
 * @throws {RangeError} when there is no sample, or the share lies outside
 */
export function percentile(samples: ArrayLike<number>, share: number): number {
  if (samples.length === 0 || !(share >= 0 && share <= 1)) {
    throw new RangeError(`Cannot take percentile ${share} of ${samples.length} samples`);
  }
  const sorted = Float64Array.from(samples).sort();
  const position = share * (sorted.length - 1);
  const below = sorted[Math.floor(position)]!;
  const above = sorted[Math.ceil(position)]!;
  return below + (above - below) * (position - Math.floor(position));
}

/** The middle value, or the mean of the two middle ones. @throws {RangeError} when there is no sample */
export function median(samples: ArrayLike<number>): number {
  return percentile(samples, 0.5);
}

/** What is reported of a measurement. */
export interface Summary {
  /** Median of the rounds' medians. */
  median: number;
  /** Median of the rounds' 99th percentiles. */
  p99: number;
}

/** Sums rounds up: by medians, so that a round that something disturbed changes nothing. @throws {RangeError} when there is none */
export function summarise(rounds: ArrayLike<number>[]): Summary {
  return {
    median: median(rounds.map(median)),
    p99: median(rounds.map((samples) => percentile(samples, 0.99))),
  };
}

/**
 * Takes measurements in turn, one of each per round, so that whatever changes with time changes all of them alike.
 *
 * @param rounds How often each is taken
 * @param cases What takes one round's samples, by name
 * @returns each one's rounds
 */
export async function interleaved<Name extends string>(
  rounds: number,
  cases: Record<Name, () => ArrayLike<number> | Promise<ArrayLike<number>>>,
): Promise<Record<Name, ArrayLike<number>[]>> {
  const names = Object.keys(cases) as Name[];
  const taken = Object.fromEntries(names.map((name) => [name, [] as ArrayLike<number>[]]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) taken[name]!.push(await cases[name]());
  }
  return taken as Record<Name, ArrayLike<number>[]>;
}
