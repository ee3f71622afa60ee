// SPDX-License-Identifier: Apache-2.0
// Devices of a lane want something at the same moment: the one of higher priority is served first. On one thread, so that
// a moment is one.
import { assertEquals } from "@std/assert";
import {
  createMemory,
  Epoll,
  EPOLLET,
  EPOLLIN,
  EventFd,
  Mapping,
  signalEvent,
  viewMemory,
} from "../../ffi/mod.ts";
import { ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import type { LaneDevice } from "../../lib/bridge/lane_messages.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import { RingLane } from "../../lib/bridge/ring_lane.ts";
import { SoftLoopback, SoftNode } from "../../lib/loopback/mod.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { DriverQueue, DriverRing, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import { DeviceState, QUEUE_WORDS } from "../../lib/virtio/state.ts";
import { AccessState, MainState } from "../../lib/virtio/state_writers.ts";
import { withoutLeaks } from "../support/leaks.ts";

const SIZE = 64;

/** An entropy device in a lane: a driver that only asks, and a back-end that only hears. */
class Bench implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #device: LaneDevice;
  readonly #activation: ActivationMemory;
  readonly #queue: DriverQueue<null>;
  readonly #buffer: number;
  /** The eventfd that the back-end hears. */
  readonly heard = this.#stack.use(EventFd.create());

  private constructor(readonly lane: RingLane, readonly id: number, priority: number) {
    const node = this.#stack.use(new SoftNode(1 << 20));
    const { port } = this.#stack.use(SoftLoopback.attach(node));
    const bytes = DeviceState.sizeFor(1, SIZE);
    const mapping = this.#stack.use(
      Mapping.create(this.#stack.use(createMemory("state", bytes)), bytes),
    );
    const main = MainState.create(viewMemory(mapping), {
      name: "test",
      deviceId: 4,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes: [SIZE],
      deviceFeatures: 0n,
      config: new Uint8Array(0),
    });
    this.#device = {
      id,
      name: `device ${id}`,
      priority,
      memory: "isolated",
      config: "cached",
      port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      restored: false,
      queues: [{ name: "request", kind: "request", size: SIZE }],
      featureNames: {},
      replay: null,
      kicks: [this.#stack.use(EventFd.create()).number],
    };
    const [{ guest, ...range }] = port.memory as [typeof port.memory[0]];
    const memory = new GuestMemory([{ guest, buffer: viewMemory(range) }]);
    const layout = { index: 0, size: SIZE, ...splitRingLayout(guest, SIZE) };
    setUp(AccessState.open(viewMemory(mapping)), layout);
    const options = { indirect: false, eventIdx: false, deviceName: "the driver" };
    this.#queue = new DriverQueue<null>(new DriverRing(memory, layout, options));
    this.#buffer = guest + 0x1_0000;
    this.#activation = this.#stack.use(new ActivationMemory(this.#device, main, 0n));
  }

  /** Puts a device in a lane, with a back-end that is live. */
  static async start(lane: RingLane, id: number, priority: number): Promise<Bench> {
    const bench = new Bench(lane, id, priority);
    await lane.handlers.add(bench.#device);
    const rings = bench.#activation.rings.map((ring) => ({ ...ring, kick: bench.heard.number }));
    assertEquals(lane.handlers.attach({ ...bench.#activation.describe(id, 0), rings }), [0]);
    lane.handlers.replay(id);
    lane.handlers.resume(id);
    return bench;
  }

  /** The driver wants so many things. */
  ask(count: number): void {
    const segment = { address: this.#buffer, length: 64, writable: true };
    for (let i = 0; i < count; i++) this.#queue.add([segment], null);
    signalEvent(this.#device.kicks[0]!);
  }

  /** How many chains the back-end has been offered. */
  get offered(): number {
    const [ring] = this.#activation.rings;
    const bytes = new Uint16Array(viewMemory(this.#activation.memory!.mapping));
    return Atomics.load(bytes, (ring!.avail - 0x1_0000) / 2 + 1);
  }

  [Symbol.dispose](): void {
    void this.lane.handlers.remove(this.id);
    this.#stack.dispose();
  }
}

/** What a driver says of its queue. */
function setUp(
  { queues: [queue] }: AccessState,
  layout: { desc: number; avail: number; used: number },
): void {
  queue!.setWord(QUEUE_WORDS.num, SIZE);
  for (const part of ["desc", "avail", "used"] as const) {
    queue!.setWord(QUEUE_WORDS[part], layout[part] % 2 ** 32);
    queue!.setWord(QUEUE_WORDS[part] + 1, Math.floor(layout[part] / 2 ** 32));
  }
  queue!.makeReady();
}

/** The order in which back-ends are rung: that in which epoll finds their eventfds ready. */
class Order implements Disposable {
  readonly #epoll = Epoll.create();

  constructor(benches: readonly Bench[]) {
    for (const { id, heard } of benches) this.#epoll.add(heard.number, EPOLLIN | EPOLLET, id);
    this.#epoll.wait(0); // what was rung before
  }

  /** Who was rung since this was last asked. */
  take(): number[] {
    const n = this.#epoll.wait(0);
    return Array.from({ length: n }, (_, i) => this.#epoll.found[2 * i]!);
  }

  [Symbol.dispose](): void {
    this.#epoll.close();
  }
}

const [LOW, HIGH, OTHER] = [1, 2, 3] as const;

async function withLane(body: (lane: RingLane) => Promise<void>): Promise<void> {
  await withoutLeaks(async () => {
    const lane = new RingLane(() => {});
    await body(lane);
    lane.close();
  });
}

Deno.test("of devices with work at the same moment the more urgent is served first, equals in turn", async () => {
  await withLane(async (lane) => {
    using low = await Bench.start(lane, LOW, 0);
    using high = await Bench.start(lane, HIGH, 1);
    using other = await Bench.start(lane, OTHER, 0);
    using order = new Order([low, high, other]);
    const rounds: [asking: Bench[], order: number[]][] = [
      [[low, high, other], [HIGH, LOW, OTHER]],
      [[other, low, high], [HIGH, LOW, OTHER]],
      [[low, other], [LOW, OTHER]],
      [[low], [LOW]],
      [[other, low], [OTHER, LOW]],
    ];
    for (const [asking, expected] of rounds) {
      for (const bench of asking) bench.ask(1);
      lane.turn(lane.epoll.wait(1000));
      assertEquals(order.take(), expected);
    }
    assertEquals([low.offered, high.offered, other.offered], [5, 2, 4]);
  });
});

Deno.test("what becomes urgent while another has more than a batch is served before the rest of it", async () => {
  await withLane(async (lane) => {
    using low = await Bench.start(lane, LOW, 0);
    using high = await Bench.start(lane, HIGH, 1);
    const seen: number[] = [];
    low.ask(60);
    const n = lane.epoll.wait(1000);
    high.ask(1); // heard of only after the first batch
    const { wait } = lane.epoll;
    lane.epoll.wait = (timeoutMs) => {
      seen.push(low.offered + 100 * high.offered);
      return wait.call(lane.epoll, timeoutMs);
    };
    lane.turn(n);
    assertEquals(seen.slice(0, 2), [16, 116]);
    assertEquals([low.offered, high.offered], [60, 1]);
  });
});
