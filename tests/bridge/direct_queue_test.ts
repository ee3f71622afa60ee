// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DirectQueue } from "../../lib/bridge/direct_queue.ts";
import { CALL, KICK } from "../../lib/bridge/lane_queue.ts";
import { RingError } from "../../lib/virtio/error.ts";
import type { Chain } from "../../lib/virtio/split_ring.ts";
import { QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import { createState } from "../virtio/register_fixture.ts";
import { DATA, RawRing } from "../virtio/ring_fixture.ts";

/** A ring of 8 with `used` elements used and `avail` offered. */
function ringAt(used: number, avail: number): RawRing {
  const ring = new RawRing(8);
  ring.desc(0, DATA, 16);
  ring.usedIdx(used);
  ring.offer(used, ...Array((avail - used) & 0xffff).fill(0));
  return ring;
}

/** A queue whose chains are due by their class as `isDue` says; `access` is where the driver resets it. */
function queueOf(ring: RawRing, isDue = (_: Chain) => true, isMapped = true) {
  const { access, ring: rings } = createState();
  access.queues[2]!.makeReady();
  const state = rings.queues[2]!;
  const memory = isMapped ? ring.memory : null;
  const layout = { ...ring.layout, index: 2 };
  const queue = new DirectQueue({ state, memory, layout, options: ring.options(), isDue });
  return { queue, access: access.queues[2]!, counters: state.counters };
}

Deno.test("a back-end begins at the used index, also past 65535", () => {
  for (const [used, avail] of [[0, 0], [5, 7], [0xfffe, 2]] as const) {
    const { queue } = queueOf(ringAt(used, avail));
    assertEquals(queue.attach(), used);
    assertEquals(queue.reoffer(), 0); // the first: nothing of it was another's
    queue.detach();
    assertEquals(queue.attach(), used);
    assertEquals(queue.reoffer(), (avail - used) & 0xffff);
  }
});

Deno.test("where viola sees no memory it begins at 0, and knows nothing", () => {
  const { queue } = queueOf(ringAt(5, 7), undefined, false);
  assertEquals([queue.attach(), queue.attach(), queue.reoffer()], [0, 0, 0]);
  assert(!queue.isDue());
  assert(!queue.isDue());
});

Deno.test("calls are passed on as interrupts, each counted; kicks are the access Worker's", () => {
  const { queue, counters } = queueOf(ringAt(0, 1));
  queue.attach();
  assertEquals([queue.serve(KICK), queue.takeInterrupt()], [0, false]);
  assertEquals([queue.serve(CALL), queue.takeInterrupt(), queue.takeInterrupt()], [0, true, false]);
  assertEquals([queue.takeKick(), counters[QUEUE_COUNTERS.calls]], [false, 1]);
});

Deno.test("a queue that was reset is not current", () => {
  const { queue, access } = queueOf(ringAt(0, 1));
  assert(queue.current);
  access.reset();
  access.makeReady();
  assert(!queue.current);
});

Deno.test("a chain is due when none came back since this was last asked, and its class says so", () => {
  const ring = ringAt(3, 4);
  let isDue = true;
  const { queue } = queueOf(ring, ({ readableBytes }) => isDue && readableBytes === 16);
  assert(!queue.isDue()); // it looks for the first time
  assert(queue.isDue());
  assert(queue.isDue());
  isDue = false;
  assert(!queue.isDue());
  isDue = true;
  ring.usedIdx(4);
  assert(!queue.isDue());
  assert(!queue.isDue()); // nothing is there
});

Deno.test("looking changes nothing", () => {
  const ring = ringAt(1, 3);
  const before = ring.hex(0, ring.bytes.length);
  const { queue } = queueOf(ring);
  for (let i = 0; i < 3; i++) queue.isDue();
  assertEquals([queue.attach(), queue.attach(), queue.reoffer()], [1, 1, 2]);
  assertEquals(ring.hex(0, ring.bytes.length), before);
});

Deno.test("a driver's ring that is malformed is told", () => {
  const ring = ringAt(0, 1);
  ring.availIdx(20);
  const { queue } = queueOf(ring);
  queue.isDue();
  assertThrows(() => queue.isDue(), RingError, "available idx is 20");
});
