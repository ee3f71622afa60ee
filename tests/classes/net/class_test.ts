// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { net } from "../../../lib/classes/net/class.ts";

Deno.test("net: its id, queues and config space are the standard's", () => {
  const { id, queues, config } = net;
  const profile = { features: 0n, queueCount: 256, config: new Uint8Array(12) };
  const texts = queues(profile).map(({ name, kind, size }) => `${name} ${kind} ${size}`);
  assertEquals(id, 1);
  assertEquals(texts, ["rx 0 event 256", "tx 0 request 256"]);
  const { min, max, access, required } = config;
  assertEquals([min, max, access, required], [12, 12, "cached", false]);
});
