// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Draws } from "./random.ts";

Deno.test("Draws are the same for the same seed, and others for others", () => {
  const words = (seed: number) => {
    const draws = new Draws(seed);
    return Array.from({ length: 4 }, () => draws.word());
  };
  assertEquals(words(7), words(7));
  assertNotEquals(words(7), words(8));
  assertEquals(words(1).length, new Set(words(1)).size);
});

Deno.test("Draws stay in their range, and reach all of it", () => {
  const draws = new Draws(1);
  const counts = new Array(10).fill(0);
  for (let i = 0; i < 10_000; i++) counts[draws.integer(10)]++;
  assert(counts.every((n) => n > 800 && n < 1200), `${counts}`);
  const numbers = Array.from({ length: 1000 }, () => draws.number(3));
  assert(numbers.every((n) => n >= 0 && n < 3));
  assertEquals(draws.bytes(7).length, 7);
});
