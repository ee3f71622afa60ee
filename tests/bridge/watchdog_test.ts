// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { checkMsOf, type QueueLimits, Watchdog } from "../../lib/bridge/watchdog.ts";
import { RING_QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import type { QueueClass } from "../../lib/virtio/device_class.ts";
import { createState, SOUND_QUEUES } from "../virtio/register_fixture.ts";

const LOOKS = Watchdog.CHECKS;
const LIMITS: QueueLimits = { streamMs: 5000, requestMs: Infinity };

/** A device's watchdog, looked at again and again: a sound card's, unless told otherwise. */
function bench(
  isDue: (queue: number) => boolean,
  queues: readonly QueueClass[] = SOUND_QUEUES,
  limits: QueueLimits = LIMITS,
) {
  const { ring, main } = createState({ queueSizes: queues.map(({ size }) => size) });
  const asked: number[] = [];
  const watchdog = new Watchdog(queues, main, limits);
  const look = () =>
    watchdog.check((queue) => {
      asked.push(queue);
      return Promise.resolve(isDue(queue));
    });
  const looks = async (count: number) => {
    const found = [];
    for (let i = 0; i < count; i++) found.push(await look());
    return found;
  };
  const complete = (queue: number) => {
    ring.queues[queue]!.count(RING_QUEUE_COUNTERS.completions);
  };
  return { looks, complete, asked };
}

Deno.test("a queue that owes answers for so many looks in a row is stuck", async () => {
  const { looks } = bench((queue) => queue === 2);
  // The first look finds what was given back before.
  assertEquals(await looks(LOOKS), Array(LOOKS).fill(null));
  assertEquals(await looks(1), [{ index: 2, ms: 5000, isStuck: true }]);
});

Deno.test("one that gives anything back is not, however slowly", async () => {
  const { looks, complete } = bench(() => true);
  for (let i = 0; i < 10; i++) {
    assertEquals(await looks(LOOKS - 1), Array(LOOKS - 1).fill(null));
    for (const queue of [0, 2, 3]) complete(queue);
  }
});

Deno.test("one that owes nothing is not, and what it did not owe does not count", async () => {
  let due = false;
  const { looks } = bench((queue) => due && queue === 0);
  assertEquals(await looks(20), Array(20).fill(null));
  due = true;
  const found = await looks(LOOKS);
  assertEquals(found, [...Array(LOOKS - 1).fill(null), { index: 0, ms: 5000, isStuck: true }]);
});

Deno.test("event queues wait as long as there is nothing to tell", async () => {
  const { looks, asked } = bench((queue) => queue === 1);
  assertEquals(await looks(20), Array(20).fill(null));
  assertEquals(asked.includes(1), false);
});

Deno.test("one stuck queue is found beside others that work", async () => {
  const { looks, complete } = bench(() => true);
  let found: unknown[] = [];
  for (let i = 0; i <= LOOKS; i++) {
    complete(0);
    complete(2);
    found = await looks(1);
  }
  assertEquals(found, [{ index: 3, ms: 5000, isStuck: true }]);
});

Deno.test("requests of a class without streams may take for ever, unless the user sets a limit", async () => {
  const queues: QueueClass[] = [{ name: "request", kind: "request", size: 64 }];
  const patient = bench(() => true, queues);
  const found = await patient.looks(1000);
  assertEquals(found[LOOKS], { index: 0, ms: 5000, isStuck: false });
  assertEquals(found[999], { index: 0, ms: 999_000, isStuck: false });

  const limited = bench(() => true, queues, { streamMs: 5000, requestMs: 8000 });
  const last = (await limited.looks(9)).slice(-2);
  assertEquals(last.map((still) => still?.isStuck), [false, true]);
});

Deno.test("it is looked five times in the shorter limit", () => {
  assertEquals(checkMsOf(LIMITS), 1000);
  assertEquals(checkMsOf({ streamMs: 5000, requestMs: 200 }), 40);
});
