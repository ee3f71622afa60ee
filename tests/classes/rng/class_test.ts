// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { rng } from "../../../lib/classes/rng/class.ts";

Deno.test("rng: its id, queues and config space are the standard's", () => {
  const { id, queues, config } = rng;
  const profile = { features: 0n, queueCount: 256, config: new Uint8Array(256) };
  const texts = queues(profile).map(({ name, kind, size }) => `${name} ${kind} ${size}`);
  assertEquals(id, 4);
  assertEquals(texts, ["request request 64"]);
  const { min, max, access, required } = config;
  assertEquals([min, max, access, required], [0, 0, "cached", false]);
});
