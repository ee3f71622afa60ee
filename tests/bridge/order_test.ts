// SPDX-License-Identifier: Apache-2.0
// A driver may wait for a request in a loop, with a lock held that it takes again when it handles an event. So it must not see
// an event before the requests that the back-end gave back before it. On one thread; the back-end signals only the event.
import { assertEquals } from "@std/assert";
import { createMemory, EventFd, Mapping, signalEvent, viewMemory } from "../../ffi/mod.ts";
import { ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import type { LaneDevice } from "../../lib/bridge/lane_messages.ts";
import { createArming } from "../../lib/bridge/arming.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import { RingLane } from "../../lib/bridge/ring_lane.ts";
import { ShadowQueue } from "../../lib/bridge/shadow_queue.ts";
import { SoftLoopback, SoftNode } from "../../lib/loopback/mod.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  Chain,
  DeviceRing,
  DriverQueue,
  DriverRing,
  splitRingLayout,
} from "../../lib/virtio/split_ring.ts";
import { DeviceState, QUEUE_WORDS } from "../../lib/virtio/state.ts";
import { AccessState, MainState } from "../../lib/virtio/state_writers.ts";
import { withoutLeaks } from "../support/leaks.ts";

const SIZE = 64;
/** The queues, in this order as a console's: the events' queue is the first that is served. */
const [EVENTS, REQUESTS, WATCHES] = [0, 1, 2] as const;
const KINDS = ["event", "request", "watch"] as const;
const NO_FEATURES = { indirect: false, eventIdx: false };

/** A device with a queue of each kind in a lane of its own, its driver, and its back-end. */
class Bench implements Disposable {
  readonly #stack = new DisposableStack();
  readonly lane = this.#stack.adopt(new RingLane(() => {}), (lane) => lane.close());
  readonly #device: LaneDevice;
  readonly #activation: ActivationMemory;
  readonly #driver: DriverQueue<number>[];
  readonly #buffer: number;

  constructor() {
    const node = this.#stack.use(new SoftNode(1 << 20));
    const { port } = this.#stack.use(SoftLoopback.attach(node));
    const bytes = DeviceState.sizeFor(KINDS.length, SIZE);
    const fd = this.#stack.use(createMemory("state", bytes));
    const mapping = this.#stack.use(Mapping.create(fd, bytes));
    const main = MainState.create(viewMemory(mapping), {
      name: "test",
      deviceId: 3,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes: KINDS.map(() => SIZE),
      deviceFeatures: 0n,
      config: new Uint8Array(0),
    });
    this.#device = {
      id: 1,
      name: "console",
      priority: 0,
      memory: "isolated",
      config: "cached",
      port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      arming: createArming(),
      restored: false,
      queues: KINDS.map((kind) => ({ name: kind, kind, size: SIZE })),
      featureNames: {},
      replay: null,
      kicks: KINDS.map(() => this.#stack.use(EventFd.create()).number),
    };
    const [{ guest, ...range }] = port.memory as [typeof port.memory[0]];
    const memory = new GuestMemory([{ guest, buffer: viewMemory(range) }]);
    const access = AccessState.open(viewMemory(mapping));
    this.#driver = KINDS.map((_, index) => {
      const layout = splitRingLayout(guest + 0x4000 * index, SIZE);
      setUp(access, index, layout);
      const options = { ...NO_FEATURES, deviceName: "the driver" };
      return new DriverQueue(new DriverRing(memory, { index, size: SIZE, ...layout }, options));
    });
    this.#buffer = guest + 0x1_0000;
    this.#activation = this.#stack.use(new ActivationMemory(this.#device, main, 0n));
  }

  /** Puts the device in its lane, with a back-end that is live. */
  async start(): Promise<void> {
    const { handlers } = this.lane;
    await handlers.add(this.#device);
    assertEquals(handlers.attach(this.#activation.describe(1, 0)), [0, 0, 0]);
    handlers.replay(1);
    handlers.resume(1);
  }

  /** The driver offers so many chains. */
  offer(queue: number, count: number): void {
    const segment = { address: this.#buffer, length: 8, writable: queue === EVENTS };
    for (let i = 0; i < count; i++) this.#driver[queue]!.add([segment], i);
    signalEvent(this.#device.kicks[queue]!);
  }

  turn(): void {
    this.lane.turn(this.lane.epoll.wait(1000));
  }

  /** The back-end's end of a queue. */
  backEnd(index: number): DeviceRing {
    const memory = new GuestMemory([{
      guest: 0x1_0000,
      buffer: viewMemory(this.#activation.memory!.mapping),
    }]);
    const options = { ...NO_FEATURES, deviceName: "the back-end" };
    return new DeviceRing(memory, this.#activation.rings[index]!, options);
  }

  /** The back-end signals a queue. */
  call(index: number): void {
    signalEvent(this.#activation.rings[index]!.call);
  }

  /** How many chains the driver gets back. */
  returned(queue: number): number {
    let count = 0;
    while (this.#driver[queue]!.take() !== null) count++;
    return count;
  }

  [Symbol.dispose](): void {
    void this.lane.handlers.remove(1);
    this.#stack.dispose();
  }
}

/** What a driver says of a queue. */
function setUp(
  { queues }: AccessState,
  index: number,
  layout: { desc: number; avail: number; used: number },
): void {
  const queue = queues[index]!;
  queue.setWord(QUEUE_WORDS.num, SIZE);
  for (const part of ["desc", "avail", "used"] as const) {
    queue.setWord(QUEUE_WORDS[part], layout[part] % 2 ** 32);
    queue.setWord(QUEUE_WORDS[part] + 1, Math.floor(layout[part] / 2 ** 32));
  }
  queue.makeReady();
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
      bench.offer(EVENTS, 1);
      bench.offer(REQUESTS, count);
      bench.offer(WATCHES, count);
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
    bench.offer(EVENTS, 2);
    bench.offer(REQUESTS, 1);
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
