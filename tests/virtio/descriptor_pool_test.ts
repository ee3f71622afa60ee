// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { DescriptorPool } from "../../lib/virtio/descriptor_pool.ts";
import { randomNumbers } from "./ring_fixture.ts";

/** The descriptors of a chain that was taken. */
function chainOf(pool: DescriptorPool, head: number, count: number): number[] {
  const chain = [head];
  while (chain.length < count) chain.push(pool.after(chain.at(-1)!));
  return chain;
}

Deno.test("descriptors are taken as linked lists and returned by the first of each list", () => {
  const pool = new DescriptorPool(8);
  const [a, b] = [pool.take(3), pool.take(5)];
  assertEquals([chainOf(pool, a, 3), chainOf(pool, b, 5)], [[0, 1, 2], [3, 4, 5, 6, 7]]);
  assertEquals(pool.freeCount, 0);
  pool.give(a);
  assertEquals(pool.freeCount, 3);
  pool.give(b);
  assertEquals(chainOf(pool, pool.take(8), 8).toSorted(), [0, 1, 2, 3, 4, 5, 6, 7]);
});

Deno.test("no descriptor is in two chains, whatever comes and goes", () => {
  for (const size of [1, 2, 64, 32768]) {
    const pool = new DescriptorPool(size);
    const random = randomNumbers(size);
    const chains: number[][] = [];
    for (let round = 0; round < 5000; round++) {
      if (chains.length > 0 && random(2) === 0) {
        pool.give(chains.splice(random(chains.length), 1)[0]![0]!);
      } else if (pool.freeCount > 0) {
        const count = 1 + random(Math.min(pool.freeCount, 20));
        chains.push(chainOf(pool, pool.take(count), count));
      }
      const taken = chains.flat();
      assertEquals(new Set(taken).size, taken.length);
      assertEquals(pool.freeCount, size - taken.length);
      if (taken.length > 2000) break;
    }
  }
});
