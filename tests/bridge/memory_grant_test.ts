// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import type { ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import { MemoryGrant } from "../../lib/bridge/memory_grant.ts";
import type { Loopback } from "../../lib/loopback/mod.ts";
import type { FrontEnd } from "../../lib/vhost_user/mod.ts";

/** A connection is told from another by what it is, and nothing of it is used. */
function connection(): FrontEnd {
  return {} as FrontEnd;
}

const SHARE = { guest: 0x4000_0000, size: 0x1000, offset: 0, fd: 7 };

function loopback(backEndLives: number): Loopback {
  return {
    port: { name: "/dev/loopback-1" },
    shares: [SHARE],
    backEndLives,
  } as unknown as Loopback;
}

const NONE = { memory: null } as ActivationMemory;
const OWN = {
  memory: { mapping: { length: 0x2000 }, fd: { number: 9 } },
} as unknown as ActivationMemory;
const OWN_SLOT = { guest: 0x1_0000, user: 0x1_0000, size: 0x2000, offset: 0, fd: 9 };

Deno.test("isolated: a back-end is given the activation's memory, and nothing of the driver's", () => {
  const grant = new MemoryGrant();
  assertEquals(grant.slots(connection(), OWN, loopback(1), "isolated"), [OWN_SLOT]);
  assertEquals(grant.slots(connection(), NONE, loopback(1), "isolated"), undefined);
});

Deno.test("direct: every back-end is given the driver's memory, where that may be mapped again", () => {
  const grant = new MemoryGrant();
  for (let life = 0; life < 3; life++) {
    const slots = grant.slots(connection(), OWN, loopback(Infinity), "direct");
    assertEquals(slots, [OWN_SLOT, { ...SHARE, user: SHARE.guest }]);
  }
});

Deno.test("direct: where it may be mapped once, one connection has it, and no other", () => {
  const grant = new MemoryGrant();
  const first = connection();
  assertEquals(grant.slots(first, NONE, loopback(1), "direct")!.length, 1);
  assertEquals(grant.slots(first, NONE, loopback(1), "direct"), undefined);
  assertThrows(
    () => grant.slots(connection(), NONE, loopback(1), "direct"),
    Error,
    "/dev/loopback-1 allows 1 with direct memory until the machine is restarted",
  );
});
