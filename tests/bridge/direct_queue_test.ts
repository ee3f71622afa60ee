// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DirectQueue } from "../../lib/bridge/direct_queue.ts";
import { CALL, KICK } from "../../lib/bridge/lane_queue.ts";
import { RingError } from "../../lib/virtio/error.ts";
import type { Chain } from "../../lib/virtio/split_ring.ts";
import { QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import { createState } from "../virtio/register_fixture.ts";
import { DATA, RawRing } from "../virtio/ring_fixture.ts";

const RING = { index: 2, slots: null } as never;
const [TRACKED, UNTRACKED] = [{ isTracked: true }, { isTracked: false }];

/** A ring of 8 with `used` elements used and `avail` offered, each head in its turn. */
function ringAt(used: number, avail: number): RawRing {
  const ring = new RawRing(8);
  for (let head = 0; head < 8; head++) {
    ring.desc(head, DATA, 16);
    ring.availRing(head, head);
    ring.usedRing(head, [head, 0]);
  }
  ring.usedIdx(used);
  ring.availIdx(avail);
  return ring;
}

/** A queue whose chains are due by their class as `isDue` says; `access` is where the driver resets it. */
function queueOf(
  ring: RawRing,
  isDue = (_: Chain) => true,
  isMapped = true,
  eventIdx = false,
) {
  const { access, ring: rings } = createState();
  access.queues[2]!.makeReady();
  const state = rings.queues[2]!;
  const memory = isMapped ? ring.memory : null;
  const layout = { ...ring.layout, index: 2 };
  const queue = new DirectQueue({ state, memory, layout, options: ring.options(eventIdx), isDue });
  return { queue, access: access.queues[2]!, counters: state.counters };
}

Deno.test("a back-end begins at the used index, also past 65535", () => {
  for (const [used, avail] of [[0, 0], [5, 7], [0xfffe, 2]] as const) {
    const { queue } = queueOf(ringAt(used, avail));
    assertEquals(queue.attach(RING, UNTRACKED), used);
    assertEquals(queue.resubmit(), 0); // the first: nothing of it was another's
    queue.detach();
    assertEquals(queue.attach(RING, UNTRACKED), used);
    assertEquals(queue.resubmit(), (avail - used) & 0xffff);
  }
});

/** Fills a ring of 8: heads as they became available and were used, from index 0 on. */
function ringOf(avail: readonly number[], used: readonly number[]): RawRing {
  const ring = new RawRing(8);
  avail.forEach((head, i) => ring.availRing(i % 8, head));
  used.forEach((head, i) => ring.usedRing(i % 8, [head, 0]));
  ring.availIdx(avail.length);
  ring.usedIdx(used.length);
  return ring;
}

const UNCERTAIN: [name: string, avail: number[], used: number[]][] = [
  ["the second of three came first", [0, 1, 2], [1]],
  ["the last came first", [0, 1, 2, 3], [0, 3]],
  ["an old one is missing", [0, 1, 2, 3, 4, 5, 6, 7, 1, 2], [1, 2, 3, 4, 5, 6]],
  ["all but the oldest, again and again", [0, 1, 2, 1, 2, 1, 2, 1], [1, 2, 1, 2, 1, 2]],
  ["two changed places", [0, 1, 2, 3], [1, 0]],
  ["one is twice among those in flight", [0, 1, 2, 3, 4, 5, 6, 7, 1], [1]],
];

for (const [name, avail, used] of UNCERTAIN) {
  Deno.test(`out of order: ${name}: only a back-end that tracks its chains resumes`, () => {
    const { queue } = queueOf(ringOf(avail, used));
    const error = assertThrows(() => queue.attach(RING, UNTRACKED), RingError);
    assertEquals(
      error.message,
      "Cannot resume queue 2 of card0: requests were completed out of order, and with direct memory viola cannot " +
        "know which are in flight when a back-end ends that does not track them (INFLIGHT_SHMFD)",
    );
    assertEquals(queue.attach(RING, TRACKED), used.length);
  });
}

const CERTAIN: [name: string, avail: number[], used: number[]][] = [
  ["nothing was used", [3, 1, 2], []],
  ["each in its turn", [0, 1, 2, 3], [0, 1]],
  ["out of order where a ring shows it no more", [0, 1, 2, 3, 4, 5, 6, 7, 1, 0, 2], [
    1,
    0,
    2,
    3,
    4,
    5,
    6,
  ]],
  ["all came, more than once around", [0, 1, 2, 3, 4, 5, 6, 7, 0, 1], [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    0,
    1,
  ]],
  ["the ring is full", [0, 1, 2, 3, 4, 5, 6, 7], []],
];

for (const [name, avail, used] of CERTAIN) {
  Deno.test(`what is in flight is certain: ${name}`, () => {
    const { queue } = queueOf(ringOf(avail, used));
    assertEquals(queue.attach(RING, UNTRACKED), used.length);
  });
}

Deno.test("where viola sees no memory it begins at 0, and knows nothing", () => {
  const { queue } = queueOf(ringAt(5, 7), undefined, false);
  assertEquals([queue.attach(RING, UNTRACKED), queue.attach(RING, UNTRACKED), queue.resubmit()], [
    0,
    0,
    0,
  ]);
  assertEquals([queue.look(), queue.look()], ["settled", "settled"]);
});

Deno.test("calls are passed on as interrupts, each counted; kicks are the access Worker's", () => {
  const { queue, counters } = queueOf(ringAt(0, 1));
  queue.attach(RING, UNTRACKED);
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

Deno.test("a chain is due when none was returned since the last look, and its class says so", () => {
  const ring = ringAt(3, 4);
  let isDue = true;
  const { queue } = queueOf(ring, ({ readableBytes }) => isDue && readableBytes === 16);
  assertEquals(queue.look(), "moving"); // it looks for the first time
  assertEquals([queue.look(), queue.look()], ["due", "due"]);
  isDue = false;
  assertEquals(queue.look(), "settled");
  isDue = true;
  ring.availIdx(5);
  ring.usedIdx(4);
  assertEquals([queue.look(), queue.look()], ["moving", "due"]);
  ring.usedIdx(5);
  assertEquals(queue.look(), "settled");
});

Deno.test("a queue is not settled while its driver would not kick for the next chain", () => {
  const ring = ringAt(4, 4);
  const { queue } = queueOf(ring);
  ring.usedFlags(1); // VIRTQ_USED_F_NO_NOTIFY
  assertEquals([queue.look(), queue.look()], ["moving", "moving"]);
  ring.usedFlags(0);
  assertEquals(queue.look(), "settled");

  const indexed = ringAt(4, 4);
  const withEvents = queueOf(indexed, undefined, true, true).queue;
  indexed.availEvent(3);
  assertEquals(withEvents.look(), "moving");
  indexed.availEvent(4);
  assertEquals(withEvents.look(), "settled");
});

Deno.test("looking changes nothing", () => {
  const ring = ringAt(1, 3);
  const before = ring.hex(0, ring.bytes.length);
  const { queue } = queueOf(ring);
  for (let i = 0; i < 3; i++) queue.look();
  assertEquals([queue.attach(RING, UNTRACKED), queue.attach(RING, UNTRACKED), queue.resubmit()], [
    1,
    1,
    2,
  ]);
  assertEquals(ring.hex(0, ring.bytes.length), before);
});

Deno.test("a driver's malformed ring is reported", () => {
  const ring = ringAt(0, 1);
  ring.availIdx(20);
  const { queue } = queueOf(ring);
  assertThrows(() => queue.look(), RingError, "available idx is 20");
});
