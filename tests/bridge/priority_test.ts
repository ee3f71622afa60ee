// SPDX-License-Identifier: Apache-2.0
// Two devices of a lane want something at the same moment: the one of higher priority is served first.
import { assertEquals } from "@std/assert";
import {
  createMemory,
  Epoll,
  EPOLLET,
  EPOLLIN,
  EventFd,
  Mapping,
  takeEvent,
  viewMemory,
  writeFd,
} from "../../ffi/mod.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import { Lane } from "../../lib/bridge/lane.ts";
import type { LaneDevice } from "../../lib/bridge/lane_messages.ts";
import { ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import { GuestPages } from "../../lib/guest/pages.ts";
import { NO_PROGRESS, Progress } from "../../lib/guest/progress.ts";
import { MmioDevice, REGISTER, type VirtQueue } from "../../lib/guest/transport.ts";
import { SoftLoopback, SoftNode } from "../../lib/loopback/mod.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../lib/virtio/features.ts";
import { DeviceState } from "../../lib/virtio/state.ts";
import { MainState } from "../../lib/virtio/state_writers.ts";
import { EagerPort } from "../support/eager_port.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { until } from "../support/process.ts";

const RNG = 4;

function hasEvent({ number }: EventFd): boolean {
  using epoll = Epoll.create();
  epoll.add(number, EPOLLIN, 0);
  return epoll.wait(0) > 0;
}

/** An entropy device in a lane: a driver that only asks, and a back-end that only hears. */
class Bench implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #node = this.#stack.use(new SoftNode(1 << 20));
  readonly #loopback = this.#stack.use(SoftLoopback.attach(this.#node));
  readonly #port = this.#stack.use(new EagerPort(this.#node.wires));
  readonly #state: MainState;
  readonly #device: LaneDevice;
  readonly #driver: MmioDevice;
  #queue: VirtQueue<null> | null = null;
  #activation: ActivationMemory | null = null;
  /** The eventfd that the back-end hears; whoever rings it when it is full waits. */
  readonly heard = this.#stack.use(EventFd.createBlocking());

  constructor(readonly lane: Lane, readonly id: number, priority: number) {
    const bytes = DeviceState.sizeFor(1, 64);
    const fd = this.#stack.use(createMemory("state", bytes));
    const mapping = this.#stack.use(Mapping.create(fd, bytes));
    this.#state = MainState.create(viewMemory(mapping), {
      name: "test",
      deviceId: RNG,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes: [64],
      deviceFeatures: bit(VIRTIO_F_VERSION_1),
      config: new Uint8Array(0),
    });
    this.#device = {
      id,
      name: `device ${id}`,
      priority,
      memory: "isolated",
      config: "cached",
      port: this.#loopback.port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      restored: false,
      queues: [{ name: "request", kind: "request", size: 64 }],
      featureNames: {},
      replay: null,
      kicks: [this.#stack.use(EventFd.create()).number],
    };
    const { memory, guestBase, memorySize } = this.#port;
    const pages = new GuestPages(memory, guestBase, memorySize);
    this.#driver = new MmioDevice(this.#port, pages, this.#device.name, new Progress(NO_PROGRESS));
  }

  /** Has the driver find the device, and joins it to its back-end. */
  async start(): Promise<void> {
    const { lane, id } = this;
    const failed = (error: Error): never => {
      throw error;
    };
    await lane.add(this.#device, { access: () => {}, ring: () => {}, failed });
    this.#driver.identify();
    this.#queue = this.#driver.bind(RNG, 0n, () => this.#driver.setUpQueue("input", () => {}));
    const isAnswered = async (): Promise<boolean> => {
      await lane.release(id);
      return !this.#port.pending;
    };
    await until(isAnswered, "DRIVER_OK to be answered");
    const activation = this.#activation = new ActivationMemory(this.#device, this.#state, 0n);
    const rings = activation.rings.map((ring) => ({ ...ring, kick: this.heard.number }));
    const { epoch } = this.#state;
    assertEquals(await lane.attach({ ...activation.describe(id, epoch), rings }), [0]);
    await lane.prepare(id);
    await lane.go(id);
    this.free(); // a back-end is rung when it is new
  }

  /** The driver wants something. When this returns the ring Worker was told. */
  ask(): void {
    const address = this.#driver.pages.allocate(64);
    this.#queue!.add([{ address, length: 64, writable: true }], null);
    this.#driver.write(REGISTER.queueNotify, 0);
  }

  /** How many chains the back-end has been offered. */
  get offered(): number {
    const [ring] = this.#activation!.rings;
    const bytes = new Uint16Array(viewMemory(this.#activation!.memory!.mapping));
    return Atomics.load(bytes, (ring!.avail - 0x1_0000) / 2 + 1);
  }

  /** From now on whoever rings the back-end waits, until it is {@linkcode free}d. */
  fill(): void {
    this.free();
    const brim = new BigUint64Array([2n ** 64n - 2n]);
    assertEquals(writeFd(this.heard.number, new Uint8Array(brim.buffer), 0, 8), 8);
  }

  /** Empties the eventfd. */
  free(): void {
    if (hasEvent(this.heard)) takeEvent(this.heard.number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.free();
    await this.lane.remove(this.id);
    this.#activation?.close();
    await this.#stack.disposeAsync();
  }
}

/** The order in which back-ends are rung: that in which epoll finds their eventfds ready. */
class Order implements Disposable {
  readonly #epoll = Epoll.create();

  constructor(benches: readonly Bench[]) {
    for (const { id, heard } of benches) this.#epoll.add(heard.number, EPOLLIN | EPOLLET, id);
  }

  /** Waits for so many rings. @returns who was rung */
  next(count: number): number[] {
    const ids: number[] = [];
    while (ids.length < count) {
      const n = this.#epoll.wait(5000);
      if (n === 0) throw new Error(`Only ${ids} of ${count} were rung within 5 s`);
      for (let i = 0; i < n; i++) ids.push(this.#epoll.found[2 * i]!);
    }
    return ids;
  }

  [Symbol.dispose](): void {
    this.#epoll.close();
  }
}

const [BUSY, LOW, HIGH] = [1, 2, 3] as const;

Deno.test("of two devices with work at the same moment the more urgent is served first", async () => {
  await withoutLeaks(async () => {
    await using lane = new Lane({ name: "test" });
    await using busy = new Bench(lane, BUSY, 0);
    await using low = new Bench(lane, LOW, 0);
    await using high = new Bench(lane, HIGH, 1);
    for (const bench of [busy, low, high]) await bench.start();
    using order = new Order([low, high]);
    let rounds = 0;
    for (const asking of [[low, high], [high, low], [low, high]]) {
      // The ring Worker is in the middle of serving another when both ask.
      busy.fill();
      busy.ask();
      rounds++;
      await until(() => busy.offered === rounds, "the ring Worker to be at work");
      for (const bench of asking) bench.ask();
      assertEquals([low.offered, high.offered], [rounds - 1, rounds - 1]);
      busy.free();
      assertEquals(order.next(2), [HIGH, LOW]);
      await until(() => low.offered === rounds && high.offered === rounds, "both to be served");
    }
  });
});
