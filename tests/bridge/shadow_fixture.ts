// SPDX-License-Identifier: Apache-2.0
/** A shadow queue with the driver on one side and a back-end on the other, on one thread. */
import { RequestWatch } from "../../lib/bridge/request_watch.ts";
import { SlotLayout } from "../../lib/bridge/slots.ts";
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
  /** Between viola and the driver: tables of up to so many descriptors, none for 0. */
  tables?: number;
  eventIdx?: boolean;
  replay?: ReplayRole;
  queue?: number;
  /** Where the driver's ring stands when it is taken up. */
  start?: number;
}

/** What a back-end is, where it is not as the driver is. */
export interface BackEndOptions {
  size?: number;
  indirect?: boolean;
  eventIdx?: boolean;
}

/** One life of a back-end. */
export class BackEnd {
  readonly ring: DeviceRing;
  readonly chain = new Chain();
  /** All that it was given. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly layout: RingLayout;

  /** Makes its memory, and has a queue take it up: from then on the ring in it is the back-end's to look at. */
  constructor(queue: ShadowQueue, size: number, room: number, options: RingOptions) {
    const { desc, avail, used, bytes } = splitRingLayout(BACK_END, size);
    this.layout = { index: queue.index, size, desc, avail, used };
    const start = Math.ceil(bytes / 4096) * 4096;
    const buffer = new ArrayBuffer(start + room);
    this.bytes = new Uint8Array(buffer);
    const memory = new GuestMemory([{ guest: BACK_END, buffer }]);
    const slots = { start, end: start + room, first: 0 };
    const { indirect, eventIdx, deviceName: name } = options;
    queue.attach(
      { ...this.layout, call: -1, kick: -1, slots },
      { name, memory, indirect, eventIdx, isTracked: false },
    );
    this.ring = new DeviceRing(memory, this.layout, options);
  }

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
    const { tables: entries = 16, start = 0 } = options;
    const buffer = new ArrayBuffer(DRIVER_BYTES);
    this.memory = new GuestMemory([{ guest: DRIVER, buffer }]);
    const { desc, avail, used } = splitRingLayout(DRIVER, size);
    this.layout = { index, size, desc, avail, used };
    this.ringOptions = { indirect: entries > 0, eventIdx, deviceName: "card0" };
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
    this.queueState.resumeProgress();
    for (let i = 0; i < start; i++) {
      this.queueState.takeOn(0);
      this.queueState.giveBack(0);
    }
    const ring = new DriverRing(this.memory, this.layout, this.ringOptions, start);
    const tables = { memory: this.memory, address: DRIVER + 0x4000, entries };
    this.driver = new DriverQueue<string>(ring, entries > 0 ? tables : undefined);
    this.replay = new DeviceReplay(replay, this.state.replay, 0);
    this.queue = this.open();
  }

  /** The driver's memory. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.memory.regions[0]!.u8;
  }

  /** By head: the mark of a chain in flight, to be damaged. */
  get marks(): Uint32Array {
    return this.queueState.inflight as Uint32Array;
  }

  /** Takes the queue up as a ring Worker does, the first time or after another died. */
  open(): ShadowQueue {
    const { replay } = this;
    const chain = new Chain();
    return this.queue = new ShadowQueue({
      state: this.queueState,
      memory: this.memory,
      layout: this.layout,
      options: this.ringOptions,
      scratch: { chain, layout: new SlotLayout(chain.capacity) },
      watch: this.layout.index === replay.queue ? new RequestWatch(replay) : null,
      isDue: ({ head }) => this.due.has(head),
    });
  }

  /** Heads of chains that should have come back by now. */
  readonly due = new Set<number>();

  attach({ size = this.layout.size, ...features }: BackEndOptions = {}): BackEnd {
    const options = { ...this.ringOptions, ...features, deviceName: "the back-end of card0" };
    return new BackEnd(this.queue, size, this.options.room ?? 1 << 16, options);
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
    this.queue.collect(batch);
    this.queue.forward(batch);
  }
}
