// SPDX-License-Identifier: Apache-2.0
import { RING_COUNTERS, RING_QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import { Driver, NEGOTIATE_2, setUp2 } from "./register_fixture.ts";

/** A device in full swing: queues 0 and 1 set up, three chains of queue 0 in flight. */
export function running(): Driver {
  const driver = new Driver().run(NEGOTIATE_2 + setUp2(0) + setUp2(1) + "w 070 f");
  const { ring } = driver;
  const queue = ring.queues[0]!;
  queue.resumeProgress();
  for (const head of [5, 63, 0, 9]) queue.takeOn(head);
  queue.giveBack(63);
  for (let i = 0; i < 7; i++) ring.count(RING_COUNTERS.interrupts);
  queue.count(RING_QUEUE_COUNTERS.chains, 4);
  ring.replay.set([1, 2, 3]);
  return driver;
}
