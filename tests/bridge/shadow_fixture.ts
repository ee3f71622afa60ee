// SPDX-License-Identifier: Apache-2.0
/** A shadow queue with the driver on one side and a back-end on the other, on one thread. */
import { SlotAllocator } from "../../lib/bridge/slots.ts";
import { ShadowQueue } from "../../lib/bridge/shadow_queue.ts";
import { DeviceReplay, STATELESS } from "../../lib/bridge/replay.ts";
import type { ReplayRole } from "../../lib/virtio/device_class.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  Chain,
  DeviceRing,
  DriverQueue,
  DriverRing,
  type RingLayout,
  type RingOptions,
  type Segment,
  splitRingLayout,
} from "../../lib/virtio/split_ring.ts";
import {
  type AccessQueue,
  DeviceState,
  QUEUE_WORDS,
  type RingQueue,
} from "../../lib/virtio/state.ts";
import { AccessState, MainState, RingState } from "../../lib/virtio/state_writers.ts";

/** Where the driver's memory begins; its rings, then its buffers. */
export const DRIVER = 0x4000_0000;
export const DATA = DRIVER + 0x8000;
const DRIVER_BYTES = 1 << 20;
/** Where the back-end's begins. */
export const BACK_END = 0x1_0000;

export interface BenchOptions {
  size?: number;
  /** Bytes of room for chains. */
  room?: number;
  eventIdx?: boolean;
  replay?: ReplayRole;
  queue?: number;
}

/** One life of a back-end. */
export class BackEnd {
  readonly ring: DeviceRing;
  readonly driverRing: DriverRing;
  readonly chain = new Chain();
  /** All that it was given. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly layout: RingLayout;

  constructor(index: number, size: number, readonly room: number, options: RingOptions) {
    const { desc, avail, used, bytes } = splitRingLayout(BACK_END, size);
    this.layout = { index, size, desc, avail, used };
    const start = Math.ceil(bytes / 4096) * 4096;
    const buffer = new ArrayBuffer(start + room);
    this.bytes = new Uint8Array(buffer);
    const memory = new GuestMemory([{ guest: BACK_END, buffer }]);
    this.driverRing = new DriverRing(memory, this.layout, options, 0);
    this.ring = new DeviceRing(memory, this.layout, options);
    this.slots = new SlotAllocator(start, start + room, size);
  }

  readonly slots: SlotAllocator;

  /** Takes all that is offered: each chain's readable bytes as text. */
  take(): { head: number; text: string; writable: number }[] {
    const taken = [];
    while (this.ring.pop(this.chain)) {
      const { head, readableBytes, writableBytes } = this.chain;
      const bytes = new Uint8Array(readableBytes);
      this.chain.gather(0, bytes);
      taken.push({ head, text: new TextDecoder().decode(bytes), writable: writableBytes });
    }
    return taken;
  }

  /** Gives a chain back with these bytes in its writable part; says that it wrote `length`. */
  give(head: number, text = "", length = text.length): void {
    const bytes = new TextEncoder().encode(text);
    this.ring.walk(head, this.chain);
    this.chain.scatter(0, bytes);
    this.ring.complete(head, length);
  }
}

export class ShadowBench {
  readonly memory: GuestMemory;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly state: RingState;
  readonly setUp: AccessQueue;
  readonly queueState: RingQueue;
  readonly layout: RingLayout;
  readonly ringOptions: RingOptions;
  readonly driver: DriverQueue<string>;
  readonly replay: DeviceReplay;
  queue: ShadowQueue;
  #next = DATA;

  constructor(readonly options: BenchOptions = {}) {
    const { size = 8, eventIdx = false, replay = STATELESS, queue: index = 0 } = options;
    const buffer = new ArrayBuffer(DRIVER_BYTES);
    this.bytes = new Uint8Array(buffer);
    this.memory = new GuestMemory([{ guest: DRIVER, buffer }]);
    const { desc, avail, used } = splitRingLayout(DRIVER, size);
    this.layout = { index, size, desc, avail, used };
    this.ringOptions = { indirect: true, eventIdx, deviceName: "card0" };
    const queueSizes = Array(index + 1).fill(size);
    const shared = new ArrayBuffer(DeviceState.sizeFor(index + 1, size));
    MainState.create(shared, {
      name: "test",
      deviceId: 4,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes,
      deviceFeatures: 0n,
      config: new Uint8Array(),
    });
    this.setUp = AccessState.open(shared).queues[index]!;
    this.setUp.setWord(QUEUE_WORDS.num, size);
    this.setUp.makeReady();
    this.state = RingState.open(shared);
    this.queueState = this.state.queues[index]!;
    const ring = new DriverRing(this.memory, this.layout, this.ringOptions, 0);
    const tables = { memory: this.memory, address: DRIVER + 0x4000, entries: 16 };
    this.driver = new DriverQueue<string>(ring, tables);
    this.replay = new DeviceReplay(replay, this.state.replay, 0);
    this.queue = this.open();
  }

  /** By head: the mark of a chain in flight, to be damaged. */
  get marks(): Uint32Array {
    return this.queueState.inflight as Uint32Array;
  }

  /** Takes the queue up as a ring Worker does, the first time or after another died. */
  open(): ShadowQueue {
    return this.queue = new ShadowQueue(
      this.queueState,
      this.memory,
      this.layout,
      this.ringOptions,
      new Chain(),
    );
  }

  attach(): BackEnd {
    const { size, index } = this.layout;
    const options = { ...this.ringOptions, deviceName: "the back-end of card0" };
    const backEnd = new BackEnd(index, size, this.options.room ?? 1 << 16, options);
    this.queue.attach(
      backEnd.driverRing,
      backEnd.slots,
      backEnd.bytes.buffer,
      BACK_END,
    );
    return backEnd;
  }

  /** Offers a chain: segments to read by their text, to write by their length. */
  offer(token: string, ...parts: (string | number)[]): Segment[] {
    const segments = parts.map((part): Segment => {
      const length = typeof part === "string" ? part.length : part;
      const address = this.#next;
      this.#next += length + 3; // at odd places
      if (typeof part === "string") {
        this.bytes.set(new TextEncoder().encode(part), address - DRIVER);
      }
      return { address, length, writable: typeof part === "number" };
    });
    if (!this.driver.add(segments, token)) throw new Error("the driver's ring is full");
    return segments;
  }

  /** Places what is offered next at the beginning again: what lies there has long come back. */
  rewind(): void {
    this.#next = DATA;
  }

  text({ address, length }: Segment): string {
    return new TextDecoder().decode(
      this.bytes.subarray(address - DRIVER, address - DRIVER + length),
    );
  }

  /** What came back to the driver. */
  taken(): [string, number][] {
    const all: [string, number][] = [];
    for (let one = this.driver.take(); one !== null; one = this.driver.take()) {
      all.push([one.token, one.length]);
    }
    return all;
  }

  /** One turn of the ring Worker. */
  turn(batch = 16): void {
    this.queue.collect(batch, this.replay);
    this.queue.forward(batch);
  }
}
