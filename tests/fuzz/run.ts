// SPDX-License-Identifier: Apache-2.0
/**
 * Fuzzes targets for a time, each for the same share of it. Inputs come in batches: the batch n of a run with seed S is
 * the first batch of a run with seed S + n, so that each failure has a short seed of its own.
 *
 * @module
 */
import fc from "fast-check";
import type { Target } from "./target.ts";

/** Inputs of a batch. */
const BATCH = 100;
/** How long one input may take before it counts as a hang, in milliseconds. */
const INPUT_MS = 10_000;
/** How long a smaller input is searched for, in milliseconds. */
const SHRINK_MS = 20_000;

/** How many inputs a target was given, and what became of them. */
export interface Tally {
  readonly target: Target;
  accepted: number;
  refused: number;
  /** Milliseconds spent. */
  ms: number;
  batches: number;
}

/** An input for which something does not hold. */
export class FuzzFailure extends Error {
  override readonly name = "FuzzFailure";

  /** @param seed Of the run whose first batch holds the input */
  constructor(readonly target: string, readonly seed: number, input: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    super(
      `${target} fails\nrepeat with: deno task fuzz --target "${target}" --seed ${seed}\n` +
        `smallest input: ${input}\n${reason}`,
      { cause },
    );
  }
}

/**
 * Fuzzes.
 *
 * @param seed An integer from 0 to 2^32 − 1
 * @param ms For how long, in milliseconds; each target has one batch at least
 * @throws {FuzzFailure} for the first input found that fails, as small as it can be made
 */
export async function fuzz(targets: readonly Target[], seed: number, ms: number): Promise<Tally[]> {
  const end = performance.now() + ms;
  const tallies = targets.map((target): Tally => ({
    target,
    accepted: 0,
    refused: 0,
    ms: 0,
    batches: 0,
  }));
  while (true) {
    const next = tallies.reduce((least, tally) => tally.ms < least.ms ? tally : least);
    if (performance.now() >= end && next.batches > 0) return tallies;
    await runBatch(next, (seed + next.batches) >>> 0);
  }
}

async function runBatch(tally: Tally, seed: number): Promise<void> {
  const start = performance.now();
  const property = tally.target.property((verdict) => {
    tally[verdict]++;
  });
  const result = await fc.check(property, {
    seed: seed | 0, // fast-check takes 32 bits with a sign
    numRuns: BATCH,
    timeout: INPUT_MS,
    interruptAfterTimeLimit: INPUT_MS + SHRINK_MS,
    markInterruptAsFailure: false,
  });
  if (result.failed) {
    const [input] = result.counterexample ?? [];
    throw new FuzzFailure(tally.target.name, seed, fc.stringify(input), result.errorInstance);
  }
  tally.batches++;
  tally.ms += performance.now() - start;
}

/** A line of counts for each target. */
export function tallyText(tallies: readonly Tally[]): string {
  const width = Math.max(...tallies.map(({ target }) => target.name.length));
  return tallies.map(({ target, accepted, refused }) =>
    `${target.name.padEnd(width)}  ${accepted + refused} inputs, ` +
    `${refused} refused, ${accepted} accepted`
  ).join("\n");
}
