// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { RunQueue } from "./queue.ts";

Deno.test("RunQueue gives each scenario to one machine once, and the remaining ones to the next machine", () => {
  const queue = new RunQueue(["car", "rng"], 2);
  const first = new Set<string>();
  for (let next = queue.take(first); next !== null; next = queue.take(first)) first.add(next);
  assertEquals([...first], ["car", "rng"]);
  assertEquals(queue.left, ["car", "rng"]);
  assertEquals(queue.take(new Set(["car"])), "rng");
  assertEquals(queue.take(new Set()), "car");
  assertEquals([queue.take(new Set()), queue.left], [null, []]);
});
