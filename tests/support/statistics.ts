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
