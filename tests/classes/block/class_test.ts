// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { block } from "../../../lib/classes/block/class.ts";
import { F_MQ } from "../../../lib/classes/block/wire.ts";

const MQ = 1n << BigInt(F_MQ);

/** The queues of a back-end whose config space says `stated`. */
function queuesOf(features: bigint, stated: number, queueCount = 256): string[] {
  const config = new Uint8Array(60);
  new DataView(config.buffer).setUint16(34, stated, true);
  return block.queues({ features, queueCount, config })
    .map(({ name, kind, size }) => `${name} ${kind} ${size}`);
}

Deno.test("block: its id, queues and config space are the standard's", () => {
  assertEquals(block.id, 2);
  assertEquals(queuesOf(0n, 9), ["request 0 request 128"]);
  const { min, max, access, required } = block.config;
  assertEquals([min, max, access, required], [60, 60, "cached", true]);
});

Deno.test("block: with several queues it has as many as the back-end says, within reason", () => {
  const counts = [[1, 1], [4, 4], [16, 16], [17, 16], [65535, 16], [0, 1]] as const;
  for (const [stated, count] of counts) assertEquals(queuesOf(MQ, stated).length, count);
  assertEquals(queuesOf(MQ, 8, 2), ["request 0 request 128", "request 1 request 128"]);
});
