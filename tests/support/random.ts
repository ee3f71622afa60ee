// SPDX-License-Identifier: Apache-2.0
/**
 * Random numbers that can be had again: each test that draws some prints its seed, and VIOLA_SEED=SEED repeats it.
 *
 * @module
 */

/** Draws from one seed: the same in every run (xorshift32). */
export class Draws {
  #state: number;

  /** @param seed An integer from 1 to 2^32 − 1 */
  constructor(readonly seed: number) {
    // Neighbouring seeds begin alike: spread them over all bits, and never begin at 0.
    this.#state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1;
  }

  /** An integer from 0 to 2^32 − 1. */
  word(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return this.#state >>> 0;
  }

  /** A number in [0, below), with a fraction. */
  number(below: number): number {
    return this.word() / 2 ** 32 * below;
  }

  /** An integer in [0, below). */
  integer(below: number): number {
    return Math.floor(this.number(below));
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => this.word());
    return new Uint8Array(words.buffer, 0, length);
  }
}

/**
 * A seed as somebody wrote it, or one of chance.
 *
 * @param name Where it was written, for the error: "VIOLA_SEED"
 * @throws {Error} when it is no seed
 */
export function seedOf(name: string, text: string | undefined): number {
  const seed = Number(text ?? (crypto.getRandomValues(new Uint32Array(1))[0] || 1));
  if (Number.isInteger(seed) && seed >= 1 && seed < 2 ** 32) return seed;
  throw new Error(`Cannot take ${name}=${text}, expected an integer from 1 to 2^32 - 1`);
}

/**
 * Draws for a test, by a seed of their own or by VIOLA_SEED. The seed is printed.
 *
 * @throws {Error} when VIOLA_SEED is no such number
 */
export function seeded(): Draws {
  const seed = seedOf("VIOLA_SEED", Deno.env.get("VIOLA_SEED"));
  // deno-lint-ignore no-console -- whoever sees the test fail needs it
  console.log(`VIOLA_SEED=${seed} draws the same again`);
  return new Draws(seed);
}
