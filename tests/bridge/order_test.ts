// SPDX-License-Identifier: Apache-2.0
// A driver may wait for a request in a loop, with a lock held that it takes again when it handles an event. So it must not see
// an event before the requests that the back-end gave back before it. On one thread; the back-end signals only the event.
import { assertEquals } from "@std/assert";
import { RingLane } from "../../lib/bridge/ring_lane.ts";
import { ShadowQueue } from "../../lib/bridge/shadow_queue.ts";
import { Chain, type DeviceRing } from "../../lib/virtio/split_ring.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { RingsBench } from "./rings_fixture.ts";

/** The queues, in this order as a console's: the events' queue is the first that is served. */
const [EVENTS, REQUESTS, WATCHES] = [0, 1, 2] as const;
const KINDS = ["event", "request", "watch"] as const;

/** A device with a queue of each kind in a lane of its own. */
class Bench extends RingsBench {
  readonly #lane = new RingLane(() => {});

  constructor() {
    super(1, 0, KINDS);
  }

  /** Puts the device in its lane, with a back-end that is live. */
  async start(): Promise<void> {
    const { handlers } = this.#lane;
    await handlers.add(this.device);
    assertEquals(handlers.attach(this.activation), [0, 0, 0]);
    handlers.replay(1);
    handlers.resume(1);
  }

  turn(): void {
    this.#lane.turn(this.#lane.epoll.wait(1000));
  }

  override [Symbol.dispose](): void {
    void this.#lane.handlers.remove(1);
    this.#lane.close();
    super[Symbol.dispose]();
  }
}

/** The back-end gives back all that it was offered. @returns how many */
function giveBack(ring: DeviceRing): number {
  const chain = new Chain();
  let count = 0;
  for (; ring.pop(chain); count++) ring.complete(chain.head, 0);
  return count;
}

async function withBench(body: (bench: Bench) => void): Promise<void> {
  await withoutLeaks(async () => {
    using bench = new Bench();
    await bench.start();
    body(bench);
  });
}

for (const count of [1, 40]) {
  Deno.test(`${count} requests that came back before an event are given back before it`, async () => {
    await withBench((bench) => {
      bench.ask(1, EVENTS);
      bench.ask(count, REQUESTS);
      bench.ask(count, WATCHES);
      bench.turn();
      for (const queue of [REQUESTS, WATCHES, EVENTS]) giveBack(bench.backEnd(queue));
      bench.call(EVENTS);
      bench.turn();
      const all = [EVENTS, REQUESTS, WATCHES].map((queue) => bench.returned(queue));
      assertEquals(all, [1, count, count]);
    });
  });
}

/** Calls back each time after the ring Worker has counted what the back-end returned in a queue. */
function onCount(body: (queue: number) => void): Disposable {
  const { countReturned } = ShadowQueue.prototype;
  ShadowQueue.prototype.countReturned = function () {
    const count = countReturned.call(this);
    body(this.index);
    return count;
  };
  return { [Symbol.dispose]: () => ShadowQueue.prototype.countReturned = countReturned };
}

Deno.test("an event that comes back after the others were counted waits until they are counted again", async () => {
  await withBench((bench) => {
    bench.ask(2, EVENTS);
    bench.ask(1, REQUESTS);
    bench.turn();
    const [events, requests] = [bench.backEnd(EVENTS), bench.backEnd(REQUESTS)];
    const chain = new Chain();
    events.pop(chain);
    events.complete(chain.head, 0);
    bench.call(EVENTS);
    const given = { events: 0, requests: 0 };
    const seen: (typeof given)[] = [];
    using _hook = onCount((queue) => {
      given.events += bench.returned(EVENTS);
      given.requests += bench.returned(REQUESTS);
      if (queue !== REQUESTS) return;
      seen.push({ ...given });
      giveBack(requests);
      giveBack(events);
    });
    bench.turn();
    assertEquals(seen.slice(0, 2), [{ events: 0, requests: 0 }, { events: 1, requests: 0 }]);
    assertEquals(
      [given.requests + bench.returned(REQUESTS), given.events + bench.returned(EVENTS)],
      [1, 2],
    );
  });
});
