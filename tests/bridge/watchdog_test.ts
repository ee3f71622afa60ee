// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { Watchdog } from "../../lib/bridge/watchdog.ts";
import { RING_QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import { createState, SOUND_QUEUES } from "../virtio/register_fixture.ts";

const LOOKS = Watchdog.LOOKS;

/** A sound card's watchdog, looked at again and again. */
function bench(isDue: (queue: number) => boolean) {
  const { ring, main } = createState();
  const asked: number[] = [];
  const watchdog = new Watchdog(SOUND_QUEUES, main);
  const look = () =>
    watchdog.stuck((queue) => {
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
  assertEquals(await looks(1), [2]);
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
  assertEquals(await looks(LOOKS), [...Array(LOOKS - 1).fill(null), 0]);
});

Deno.test("event queues wait as long as there is nothing to tell", async () => {
  const { looks, asked } = bench((queue) => queue === 1);
  assertEquals(await looks(20), Array(20).fill(null));
  assertEquals(asked.includes(1), false);
});

Deno.test("one stuck queue is found beside others that work", async () => {
  const { looks, complete } = bench(() => true);
  let found: (number | null)[] = [];
  for (let i = 0; i <= LOOKS; i++) {
    complete(0);
    complete(2);
    found = await looks(1);
  }
  assertEquals(found, [3]);
});
