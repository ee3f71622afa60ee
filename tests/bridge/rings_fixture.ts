// SPDX-License-Identifier: Apache-2.0
/**
 * A device as the ring Worker serves it, on one thread: so that what it has done by some moment is known.
 *
 * @module
 */
import { createMemory, EventFd, Mapping, signalEvent, viewMemory } from "../../ffi/mod.ts";
import { ACTIVATION_GUEST, ActivationMemory } from "../../lib/bridge/activation_memory.ts";
import type { Activation, LaneDevice } from "../../lib/bridge/lane_messages.ts";
import { createArming } from "../../lib/bridge/arming.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import { SoftLoopback, SoftNode } from "../../lib/loopback/mod.ts";
import type { QueueKind } from "../../lib/virtio/device_class.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  DeviceRing,
  DriverQueue,
  DriverRing,
  splitRingLayout,
} from "../../lib/virtio/split_ring.ts";
import { DeviceState, QUEUE_WORDS } from "../../lib/virtio/state.ts";
import { AccessState, MainState } from "../../lib/virtio/state_writers.ts";

const SIZE = 64;
/** Bytes between the rings of two queues in the driver's memory; its buffer follows them. */
const RING_BYTES = 0x4000;

/** A device of some queues, each with a driver and a back-end that do what a test says. */
export class RingsBench implements Disposable {
  readonly #stack = new DisposableStack();
  readonly device: LaneDevice;
  readonly #activation: ActivationMemory;
  readonly #queues: readonly DriverQueue<null>[];
  readonly #buffer: number;
  /** The eventfd that the back-end hears. */
  readonly heard = this.#stack.use(EventFd.create());

  constructor(readonly id: number, priority: number, kinds: readonly QueueKind[]) {
    const node = this.#stack.use(new SoftNode(1 << 20));
    const { port } = this.#stack.use(SoftLoopback.attach(node));
    const bytes = DeviceState.sizeFor(kinds.length, SIZE);
    const mapping = this.#stack.use(
      Mapping.create(this.#stack.use(createMemory("state", bytes)), bytes),
    );
    const main = MainState.create(viewMemory(mapping), {
      name: "test",
      deviceId: 4,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes: kinds.map(() => SIZE),
      deviceFeatures: 0n,
      config: new Uint8Array(0),
    });
    this.device = {
      id,
      name: `device ${id}`,
      priority,
      memory: "isolated",
      config: "cached",
      port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      arming: createArming(),
      restored: false,
      queues: kinds.map((kind, i) => ({ name: `queue ${i}`, kind, size: SIZE })),
      featureNames: {},
      replay: null,
      kicks: kinds.map(() => this.#stack.use(EventFd.create()).number),
    };
    const [{ guest, ...range }] = port.memory as [typeof port.memory[0]];
    const memory = new GuestMemory([{ guest, buffer: viewMemory(range) }]);
    const access = AccessState.open(viewMemory(mapping));
    const options = { indirect: false, eventIdx: false, deviceName: "the driver" };
    this.#queues = kinds.map((_, index) => {
      const layout = { index, size: SIZE, ...splitRingLayout(guest + index * RING_BYTES, SIZE) };
      setUp(access.queues[index]!, layout);
      return new DriverQueue<null>(new DriverRing(memory, layout, options));
    });
    this.#buffer = guest + kinds.length * RING_BYTES;
    this.#activation = this.#stack.use(new ActivationMemory(this.device, main, 0n));
  }

  /** What a back-end is attached by. */
  get activation(): Activation {
    const { id, heard } = this;
    const rings = this.#activation.rings.map((ring) => ({ ...ring, kick: heard.number }));
    return { ...this.#activation.describe(id, 0), rings };
  }

  /** The driver wants so many things of a queue. */
  ask(count: number, queue = 0): void {
    const segment = { address: this.#buffer, length: 64, writable: true };
    for (let i = 0; i < count; i++) this.#queues[queue]!.add([segment], null);
    signalEvent(this.device.kicks[queue]!);
  }

  /** How many chains of a queue the back-end has been offered. */
  offered(queue = 0): number {
    const ring = this.#activation.rings[queue]!;
    const { mapping } = this.#activation.memory!;
    const bytes = new Uint16Array(viewMemory(mapping));
    return Atomics.load(bytes, (ring.avail - ACTIVATION_GUEST) / 2 + 1);
  }

  /** How many chains of a queue the driver gets back. */
  returned(queue = 0): number {
    let count = 0;
    while (this.#queues[queue]!.take() !== null) count++;
    return count;
  }

  /** The back-end's end of a queue. */
  backEnd(queue: number): DeviceRing {
    const buffer = viewMemory(this.#activation.memory!.mapping);
    const memory = new GuestMemory([{ guest: ACTIVATION_GUEST, buffer }]);
    const options = { indirect: false, eventIdx: false, deviceName: "the back-end" };
    return new DeviceRing(memory, this.#activation.rings[queue]!, options);
  }

  /** The back-end signals a queue. */
  call(queue: number): void {
    signalEvent(this.#activation.rings[queue]!.call);
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** What a driver says of its queue. */
function setUp(
  queue: AccessState["queues"][number],
  layout: { desc: number; avail: number; used: number },
): void {
  queue.setWord(QUEUE_WORDS.num, SIZE);
  for (const part of ["desc", "avail", "used"] as const) {
    queue.setWord(QUEUE_WORDS[part], layout[part] % 2 ** 32);
    queue.setWord(QUEUE_WORDS[part] + 1, Math.floor(layout[part] / 2 ** 32));
  }
  queue.makeReady();
}
