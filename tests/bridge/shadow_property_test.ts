// SPDX-License-Identifier: Apache-2.0
// Chains of every shape through a shadow queue, whatever the two sides agree on with it: each reaches the back-end, and
// comes back to the driver once and whole, although both look only when they are told to.
import { assert, assertEquals } from "@std/assert";
import { KICK, LOOK } from "../../lib/bridge/lane_queue.ts";
import { SlotLayout } from "../../lib/bridge/slots.ts";
import { ShadowQueue } from "../../lib/bridge/shadow_queue.ts";
import { DescriptorPool } from "../../lib/virtio/descriptor_pool.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  Chain,
  DriverRing,
  encodeDescriptor,
  type RingLayout,
  splitRingLayout,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../../lib/virtio/split_ring.ts";
import { DeviceState, QUEUE_WORDS, type RingQueue } from "../../lib/virtio/state.ts";
import { AccessState, MainState, RingState } from "../../lib/virtio/state_writers.ts";
import { randomNumbers } from "../virtio/ring_fixture.ts";
import { BackEnd } from "./shadow_fixture.ts";

const SIZE = 16;
/** The driver's memory: rings, then of each head a table and room for a chain. */
const GUEST = 0x8000_0000;
const TABLES = GUEST + 0x1_0000;
const TABLE_BYTES = 16 * 64;
const DATA = GUEST + 0x2_0000;
const DATA_BYTES = 0x400;

type Random = (below: number) => number;

/** What a back-end is. */
interface Kind {
  readonly size: number;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

/** A chain of the driver's: its number, the guest addresses and lengths of its segments. */
interface Offered {
  readonly number: number;
  readonly segments: readonly { address: number; length: number; writable: boolean }[];
  done: boolean;
}

/** A driver that writes chains as no single driver does: in the ring, in a table, or first in the one and then the other. */
class Driver {
  readonly buffer = new ArrayBuffer(DATA - GUEST + SIZE * DATA_BYTES);
  readonly bytes = new Uint8Array(this.buffer);
  readonly memory = new GuestMemory([{ guest: GUEST, buffer: this.buffer }]);
  readonly layout: RingLayout = { index: 0, size: SIZE, ...splitRingLayout(GUEST, SIZE) };
  readonly ring: DriverRing;
  readonly #pool = new DescriptorPool(SIZE);
  readonly #offered = new Map<number, Offered>();
  #next = 0;

  constructor(
    readonly random: Random,
    readonly eventIdx: boolean,
    readonly most: number,
    start: number,
  ) {
    const options = { indirect: true, eventIdx, deviceName: "card0" };
    this.ring = new DriverRing(this.memory, this.layout, options, start);
  }

  get pending(): number {
    return this.#offered.size;
  }

  /** Offers a chain of up to {@linkcode most} segments. @returns whether there was room */
  offer(): boolean {
    const { random } = this;
    const count = 1 + random(this.most);
    const direct = random(Math.min(count, this.#pool.freeCount) + 1);
    const hasTable = direct < count;
    const needed = hasTable ? direct + 1 : direct;
    if (needed > this.#pool.freeCount) return false;
    const head = this.#pool.take(needed);
    const segments = this.#segments(head, count);
    let index = head;
    for (let i = 0; i < direct; i++) {
      const next = this.#pool.after(index);
      this.#describe(null, index, segments, i, next);
      index = next;
    }
    if (hasTable) this.#writeTable(index, head, segments.slice(direct));
    this.#fill(segments[0]!);
    this.#offered.set(head, { number: this.#next++, segments, done: false });
    this.ring.offer(head);
    this.ring.publish();
    return true;
  }

  #segments(head: number, count: number): Offered["segments"] {
    let address = DATA + head * DATA_BYTES;
    const readable = 1 + this.random(count);
    return Array.from({ length: count }, (_, i) => {
      const length = (i === 0 ? 4 : 1) + this.random(Math.floor(DATA_BYTES / count) - 8);
      const segment = { address, length, writable: i >= readable };
      address += length + this.random(3);
      return segment;
    });
  }

  #describe(
    table: DataView | null,
    index: number,
    segments: Offered["segments"],
    i: number,
    next: number,
  ): void {
    const { address, length, writable } = segments[i]!;
    const isLast = i + 1 === segments.length;
    const flags = (writable ? VIRTQ_DESC_F_WRITE : 0) | (isLast ? 0 : VIRTQ_DESC_F_NEXT);
    if (table === null) this.ring.writeDescriptor(index, address, length, flags, next);
    else encodeDescriptor(table, index, address, length, flags, next);
  }

  /** The descriptors of a table in an order of its own, as a driver may link them; the first is where it begins. */
  #writeTable(index: number, head: number, segments: Offered["segments"]): void {
    const at = TABLES + head * TABLE_BYTES;
    const table = new DataView(this.buffer, at - GUEST, TABLE_BYTES);
    const order = segments.map((_, i) => i === 0 ? 0 : segments.length - i);
    segments.forEach((_, i) => this.#describe(table, order[i]!, segments, i, order[i + 1] ?? 0));
    this.ring.writeDescriptor(index, at, 16 * segments.length, VIRTQ_DESC_F_INDIRECT, 0);
  }

  /** The first segment carries the chain's number. */
  #fill({ address, length }: { address: number; length: number }): void {
    const at = address - GUEST;
    for (let i = 0; i < length; i++) this.bytes[at + i] = this.#next + i;
    new DataView(this.buffer).setUint32(at, this.#next, true);
  }

  /** Takes what came back, as a driver does that was interrupted. @returns how many */
  take(): number {
    const used = { head: 0, length: 0 };
    let count = 0;
    do {
      while (this.ring.takeUsed(used)) {
        this.#check(used.head, used.length);
        count++;
      }
    } while (this.ring.enableInterrupts());
    return count;
  }

  #check(head: number, length: number): void {
    const { number, segments } = this.#offered.get(head)!;
    const writable = segments.filter((segment) => segment.writable);
    const room = writable.reduce((sum, segment) => sum + segment.length, 0);
    assertEquals(length, room, `chain ${number}`);
    let offset = 0;
    for (const { address, length } of writable) {
      const part = this.bytes.subarray(address - GUEST, address - GUEST + length);
      assert(part.every((byte, i) => byte === answer(number, offset + i)), `chain ${number}`);
      offset += length;
    }
    this.#offered.delete(head);
    this.#pool.give(head);
  }
}

function answer(number: number, i: number): number {
  return (number * 7 + i) & 0xff;
}

/** Serves what is offered, as a back-end does that was rung, and keeps some of it for later. */
class Server {
  readonly back: BackEnd;
  readonly #held: number[] = [];

  constructor(queue: ShadowQueue, { size, ...features }: Kind, readonly random: Random) {
    this.back = new BackEnd(queue, size, 0x4_0000, { ...features, deviceName: "the back-end" });
  }

  take(): void {
    const { ring, chain } = this.back;
    do while (ring.pop(chain)) this.#held.push(chain.head); while (ring.enableNotifications());
  }

  /** Gives some of it back. @returns whether viola is to be called */
  give(): boolean {
    const { ring, chain } = this.back;
    for (let left = this.random(this.#held.length + 1); left > 0; left--) {
      const [head] = this.#held.splice(this.random(this.#held.length), 1);
      ring.walk(head!, chain);
      const first = new DataView(new ArrayBuffer(4));
      chain.gather(0, new Uint8Array(first.buffer));
      const bytes = Uint8Array.from(
        { length: chain.writableBytes },
        (_, i) => answer(first.getUint32(0, true), i),
      );
      chain.scatter(0, bytes);
      ring.complete(head!, bytes.length);
    }
    return ring.needsInterrupt();
  }
}

/** The queue's state, as if `start` chains had come and gone. */
function stateAt(start: number): RingQueue {
  const shared = new ArrayBuffer(DeviceState.sizeFor(1, SIZE));
  MainState.create(shared, {
    name: "test",
    deviceId: 4,
    vendorId: 1,
    mmioVersion: 2,
    queueSizes: [SIZE],
    deviceFeatures: 0n,
    config: new Uint8Array(),
  });
  const setUp = AccessState.open(shared).queues[0]!;
  setUp.setWord(QUEUE_WORDS.num, SIZE);
  setUp.makeReady();
  const queue = RingState.open(shared).queues[0]!;
  queue.resumeProgress();
  for (let i = 0; i < start; i++) {
    queue.takeOn(0);
    queue.giveBack(0);
  }
  return queue;
}

interface Plan {
  readonly seed: number;
  readonly chains: number;
  /** Segments of a chain at most. */
  readonly most: number;
  /** Whether the driver's ring uses event indices, and where it begins. */
  readonly eventIdx: boolean;
  readonly start: number;
  /** Back-ends, one after the other, in turn. */
  readonly kinds: readonly Kind[];
  /** Rounds that one lives for. */
  readonly life: number;
}

function run({ seed, chains, most, eventIdx, start, kinds, life }: Plan): void {
  const random = randomNumbers(seed);
  const driver = new Driver(random, eventIdx, most, start);
  const state = stateAt(start);
  const chain = new Chain();
  const queue = new ShadowQueue({
    state,
    memory: driver.memory,
    layout: driver.layout,
    options: { indirect: true, eventIdx, deviceName: "card0" },
    scratch: { chain, layout: new SlotLayout(chain.capacity) },
    watch: null,
    isDue: () => true,
  });
  let server = new Server(queue, kinds[0]!, random);
  let marks = LOOK;
  let [offered, returned] = [0, 0];
  const kick = (): void => {
    if (queue.takeKick()) server.take();
  };
  for (let round = 1, idle = 0; returned < chains; round++) {
    if (offered < chains && random(2) === 0 && driver.offer()) {
      offered++;
      idle = 0;
      if (driver.ring.needsKick()) marks |= KICK;
    }
    if (round % life === 0) {
      queue.detach();
      server = new Server(queue, kinds[(round / life) % kinds.length]!, random);
      queue.resubmit();
      server.take(); // one that is new is rung
      marks |= LOOK | 2;
    }
    marks = queue.serve(marks);
    kick();
    if (server.give()) marks |= 2;
    const before = returned + offered;
    if (queue.takeInterrupt()) returned += driver.take();
    idle = returned + offered > before ? 0 : idle + 1;
    assert(idle < 2000, `seed ${seed}: ${driver.pending} chains stand still in round ${round}`);
  }
  assertEquals([offered, state.headsInFlight()], [chains, []]);
}

const FEATURES = [true, false].flatMap((indirect) =>
  [true, false].map((eventIdx) => ({ indirect, eventIdx }))
);

for (const { indirect, eventIdx } of FEATURES) {
  const tables = indirect ? "tables" : "no tables";
  const how = eventIdx ? "event indices" : "flags";
  Deno.test(`any chain goes through to a back-end with ${tables} and ${how}, over 65535`, () => {
    for (const driverIdx of [true, false]) {
      const kinds = [{ size: 1024, indirect, eventIdx }];
      const plan = { chains: 800, most: 40, eventIdx: driverIdx, kinds, life: Infinity };
      for (const seed of [1, 2]) run({ ...plan, seed, start: 65000 });
    }
  });
}

Deno.test("a ring that is too small for all that is in flight is filled, and the rest waits", () => {
  for (const [size, most] of [[2, 2], [16, 16], [64, 40]] as const) {
    const kinds = [{ size, indirect: false, eventIdx: true }];
    run({ seed: 3, chains: 800, most, eventIdx: true, start: 0, kinds, life: Infinity });
  }
});

Deno.test("back-ends of every kind take over from each other, and nothing is lost", () => {
  const kinds = [16, 64, 1024].flatMap((size) =>
    FEATURES.map((features) => ({ size: Math.max(size, features.indirect ? 2 : 64), ...features }))
  );
  for (const seed of [4, 5, 6]) {
    run({ seed, chains: 1500, most: 40, eventIdx: seed % 2 === 0, start: 65000, kinds, life: 37 });
  }
});

Deno.test("the back-end's ring goes over 65535, too", () => {
  const kinds = [{ size: SIZE, indirect: false, eventIdx: true }];
  run({ seed: 7, chains: 70_000, most: 2, eventIdx: true, start: 0, kinds, life: Infinity });
});
