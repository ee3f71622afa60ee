// SPDX-License-Identifier: Apache-2.0
/**
 * Parties to a ring, each for a thread of its own: a driver, a device, and a driver that writes anything.
 *
 * @module
 */
import {
  Epoll,
  EPOLLIN,
  type MappedRange,
  signalEvent,
  takeEvent,
  viewMemory,
} from "../../ffi/mod.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  Chain,
  DeviceRing,
  DriverQueue,
  DriverRing,
  type RingLayout,
  splitRingLayout,
} from "../../lib/virtio/split_ring.ts";
import { randomNumbers } from "./ring_fixture.ts";

/** What a party is told. */
export interface Task {
  role: "driver" | "device" | "scribbler";
  range: MappedRange;
  /** Numbers of the eventfds. */
  kick: number;
  call: number;
  eventIdx: boolean;
  /** How many requests. */
  count: number;
}

export const GUEST = 0x4000_0000;
export const SIZE = 16;
/** Behind the ring: one slot of 16 bytes per descriptor, question and answer. */
export const DATA = 0x4000;
/** Behind that: a word that is not 0 when the scribbler is to stop. */
export const STOP = 0x7000;
const DEADLINE_MS = 10_000;

/** Where their ring lies. */
export const LAYOUT: RingLayout = { index: 0, size: SIZE, ...splitRingLayout(GUEST, SIZE, 4096) };

/** Spins for a moment now and then, so that the two threads meet at every point. */
function dawdle(random: (below: number) => number): void {
  if (random(8) === 0) { for (let n = random(2000); n > 0; n--); }
}

/** Waits for an eventfd; that nothing comes means a wake-up was lost. */
function sleep(epoll: Epoll, event: number, who: string): void {
  if (epoll.wait(DEADLINE_MS) === 0) throw new Error(`${who} slept for ever: a wake-up was lost`);
  takeEvent(event);
}

function drive({ range, kick, call, eventIdx, count }: Task): void {
  const memory = new GuestMemory([{ guest: GUEST, buffer: viewMemory(range) }]);
  const { view } = memory.regions[0]!;
  const options = { indirect: false, eventIdx, deviceName: "stress" };
  const ring = new DriverRing(memory, LAYOUT, options, 0xfff0);
  const queue = new DriverQueue<{ slot: number; question: number }>(ring);
  const free = Array.from({ length: SIZE / 2 }, (_, i) => DATA + 16 * i);
  const random = randomNumbers(1);
  using epoll = Epoll.create();
  epoll.add(call, EPOLLIN, 0);
  signalEvent(kick); // The ring is there.
  for (let asked = 0, answered = 0; answered < count;) {
    ring.disableInterrupts();
    // Small batches, for as many sleeps as can be; a large one now and then, for a full ring.
    const batch = random(32) === 0 ? SIZE : 1 + random(2);
    for (let n = batch; n > 0 && asked < count && free.length > 0; n--) {
      const slot = free.pop()!;
      view.setFloat64(slot, asked, true);
      const question = { address: GUEST + slot, length: 8, writable: false };
      const answer = { address: GUEST + slot + 8, length: 8, writable: true };
      if (!queue.add([question, answer], { slot, question: asked++ })) throw new Error("no room");
    }
    if (ring.needsKick()) signalEvent(kick);
    dawdle(random);
    for (let taken = queue.take(); taken !== null; taken = queue.take()) {
      const { token: { slot, question }, length } = taken;
      const answer = view.getFloat64(slot + 8, true);
      if (answer !== 3 * question + 1 || length !== 8) {
        throw new Error(`question ${question} was answered ${answer} in ${length} bytes`);
      }
      free.push(slot);
      answered++;
    }
    const idle = free.length === 0 || asked === count;
    if (idle && answered < count && !ring.enableInterrupts()) sleep(epoll, call, "the driver");
  }
}

function serve({ range, kick, call, eventIdx, count }: Task): void {
  const memory = new GuestMemory([{ guest: GUEST, buffer: viewMemory(range) }]);
  using epoll = Epoll.create();
  epoll.add(kick, EPOLLIN, 0);
  sleep(epoll, kick, "the device"); // Until the ring is there.
  const options = { indirect: false, eventIdx, deviceName: "stress" };
  const ring = new DeviceRing(memory, LAYOUT, options, { nextAvail: 0xfff0 });
  const chain = new Chain(SIZE);
  const bytes = new Uint8Array(8);
  const number = new Float64Array(bytes.buffer);
  const random = randomNumbers(2);
  for (let answered = 0; answered < count;) {
    ring.disableNotifications();
    for (; ring.pop(chain); answered++) {
      chain.gather(0, bytes);
      number[0] = 3 * number[0]! + 1;
      ring.complete(chain.head, chain.scatter(0, bytes));
      if (random(3) === 0 && ring.needsInterrupt()) signalEvent(call);
      dawdle(random);
    }
    if (ring.needsInterrupt()) signalEvent(call);
    if (!ring.enableNotifications() && answered < count) sleep(epoll, kick, "the device");
  }
}

/** Writes over the descriptors, now inside memory and now outside, of all lengths and kinds, until told to stop. */
function scribble({ range }: Task): void {
  const buffer = viewMemory(range);
  const table = new DataView(buffer);
  const stop = new Int32Array(buffer, STOP, 1);
  const random = randomNumbers(3);
  const lengths = [16, 16, 0x1000, 0xffff_0000];
  const tops = [0, 0, 0, 1];
  while (Atomics.load(stop, 0) === 0) {
    const at = 16 * random(SIZE);
    table.setUint32(at, GUEST + DATA + random(range.length), true);
    table.setUint32(at + 4, tops[random(4)]!, true);
    table.setUint32(at + 8, lengths[random(4)]!, true);
    table.setUint16(at + 12, random(4), true);
    table.setUint16(at + 14, random(SIZE + 1), true);
  }
}

/** What each party does; it throws when the other does not do its part. */
export const ROLES: Record<Task["role"], (task: Task) => void> = {
  driver: drive,
  device: serve,
  scribbler: scribble,
};
