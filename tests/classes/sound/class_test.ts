// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { sound } from "../../../lib/classes/sound/class.ts";

Deno.test("sound: its id, queues and config space are the standard's", () => {
  const { id, queues, config } = sound;
  const profile = { features: 0n, queueCount: 256, config: new Uint8Array(256) };
  const texts = queues(profile).map(({ name, kind, size }) => `${name} ${kind} ${size}`);
  assertEquals(id, 25);
  assertEquals(texts, ["control request 64", "event event 64", "tx stream 64", "rx stream 64"]);
  const { min, max, access, required } = config;
  assertEquals([min, max, access, required], [12, 16, "cached", true]);
});
