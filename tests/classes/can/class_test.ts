// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { can } from "../../../lib/classes/can/class.ts";

Deno.test("can: its id, queues and config space are the standard's", () => {
  const { id, queues, config } = can;
  const profile = { features: 0n, queueCount: 256, config: new Uint8Array(256) };
  const texts = queues(profile).map(({ name, kind, size }) => `${name} ${kind} ${size}`);
  assertEquals(id, 36);
  assertEquals(texts, ["tx request 64", "rx event 64", "control request 64"]);
  const { min, max, access, required } = config;
  assertEquals([min, max, access, required], [2, 2, "cached", true]);
});
