// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { MemoryGrant } from "../../lib/bridge/memory_grant.ts";
import type { Loopback } from "../../lib/loopback/mod.ts";
import type { FrontEnd, MemorySlot } from "../../lib/vhost_user/mod.ts";

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

const OWN: MemorySlot = { guest: 0x1_0000, user: 0x1_0000, size: 0x2000, offset: 0, fd: 9 };

Deno.test("every back-end is given the driver's memory, where that may be mapped again", () => {
  const grant = new MemoryGrant();
  for (let life = 0; life < 3; life++) {
    const slots = grant.slots(connection(), [OWN], loopback(Infinity));
    assertEquals(slots, [OWN, { ...SHARE, user: SHARE.guest }]);
  }
});

Deno.test("where it may be mapped once, one connection has it, and no other", () => {
  const grant = new MemoryGrant();
  const first = connection();
  assertEquals(grant.slots(first, [], loopback(1))!.length, 1);
  assertEquals(grant.slots(first, [], loopback(1)), undefined);
  assertThrows(
    () => grant.slots(connection(), [], loopback(1)),
    Error,
    "/dev/loopback-1 allows 1 with direct memory until the machine is restarted",
  );
});
