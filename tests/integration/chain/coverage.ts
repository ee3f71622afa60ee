// SPDX-License-Identifier: Apache-2.0
/**
 * What became of numbered frames on their way through back-ends that die.
 *
 * @module
 */

/** The numbers found, compared with 0 … count − 1. */
export interface Coverage {
  /** Numbers that are nowhere. */
  missing: number[];
  /** Frames that are there once more than needed, all in all. */
  repeated: number;
  /** Stretches that begin anew at an earlier number: one per back-end that died at most. */
  jumpsBack: number;
  /** Numbers that come after a gap: frames lost in between, unless a later stretch brings them. */
  jumpsAhead: number;
}

/** @param numbers The frames' numbers in the order in which they are in the file */
export function coverageOf(numbers: readonly number[], count: number): Coverage {
  const seen = new Uint8Array(count);
  let [repeated, jumpsBack, jumpsAhead] = [0, 0, 0];
  numbers.forEach((number, i) => {
    if (seen[number]! > 0) repeated++;
    seen[number] = 1;
    const expected = i === 0 ? 0 : numbers[i - 1]! + 1;
    if (number < expected) jumpsBack++;
    if (number > expected) jumpsAhead++;
  });
  const missing = [...seen.keys()].filter((number) => seen[number] === 0);
  return { missing, repeated, jumpsBack, jumpsAhead };
}
