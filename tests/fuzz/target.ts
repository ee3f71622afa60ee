// SPDX-License-Identifier: Apache-2.0
/**
 * What is fuzzed: a part of viola, the inputs it may be given, and what must hold for each of them.
 *
 * @module
 */
import fc from "fast-check";
import { until } from "../support/process.ts";
import { openDescriptors } from "../vhost_user/harness.ts";

/** What became of an input that was handled as it should be. */
export type Verdict = "accepted" | "refused";

/** One part of viola that is fuzzed. */
export interface Target {
  readonly name: string;
  /** For fast-check; `count` is told the verdict on each input. */
  property(count: (verdict: Verdict) => void): fc.IAsyncProperty<[unknown]>;
}

/**
 * Makes a target.
 *
 * @param inputs What is drawn
 * @param judge Handles one input, always in the same way; throws when something does not hold that must
 */
export function target<Input>(
  name: string,
  inputs: fc.Arbitrary<Input>,
  judge: (input: Input) => Verdict | Promise<Verdict>,
): Target {
  return {
    name,
    property: (count) =>
      fc.asyncProperty<[unknown]>(
        inputs as fc.Arbitrary<unknown>,
        async (input) => {
          count(await judge(input as Input));
        },
      ),
  };
}

/** Usually the one, now and then the other. */
export function mostly<T>(
  usual: fc.Arbitrary<T>,
  odd: fc.Arbitrary<T>,
  weight = 8,
): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: odd });
}

/** Any u32, often one at an edge. */
export const ANY_U32: fc.Arbitrary<number> = fc.oneof(
  fc.nat({ max: 16 }),
  fc.nat({ max: 31 }).map((n) => (2 ** n) >>> 0),
  fc.constantFrom(0xffff, 0xffff_ffff, 0x7fff_ffff, 0x8000_0000),
  fc.nat({ max: 0xffff_ffff }),
);

/** Any u64, often one at an edge. */
export const ANY_U64: fc.Arbitrary<bigint> = fc.oneof(
  ANY_U32.map(BigInt),
  fc.nat({ max: 63 }).map((n) => 1n << BigInt(n)),
  fc.constantFrom((1n << 64n) - 1n, (1n << 64n) - 4096n, (1n << 53n) - 1n, 1n << 53n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);

/** Up to so many bytes of anything. */
export function anyBytes(most: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  return fc.uint8Array({ maxLength: most }) as fc.Arbitrary<Uint8Array<ArrayBuffer>>;
}

/** Fails unless the error is one of those that the part under test documents. */
export function expectError(
  error: unknown,
  ...classes: readonly (abstract new (...args: never[]) => Error)[]
): void {
  if (!classes.some((one) => error instanceof one)) throw error;
}

/** How long what closes aside may take, in milliseconds. */
const SETTLE_MS = 500;
/** What the runtime makes once and keeps, at a time of its own, is no leak: a leak is there each time. */
const ATTEMPTS = 3;

/**
 * Runs `body` and fails if it leaves descriptors or mappings of memory files behind.
 *
 * @returns what it returned
 */
export async function withNothingLeft<T>(body: () => T | Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const [descriptors, mappings] = [openDescriptors(), mappedFiles()];
    const result = await body();
    const isClean = (): boolean => openDescriptors() <= descriptors && mappedFiles() <= mappings;
    const what = "descriptors and mappings to be gone";
    const error = await until(isClean, what, SETTLE_MS).then(() => null, (error) => error);
    if (error === null) return result;
    if (attempt === ATTEMPTS) throw error;
  }
}

function mappedFiles(): number {
  return Deno.readTextFileSync("/proc/self/maps").split("/memfd:").length;
}
