// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  DEVICE_COUNTERS,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  isPowerOfTwo,
  isQueueSize,
  namedCounters,
  QUEUE_COUNTERS,
} from "../../lib/virtio/state.ts";
import { RingState } from "../../lib/virtio/state_writers.ts";
import { createState, SOUND_CONFIG } from "./register_fixture.ts";
import { running } from "./state_fixture.ts";

Deno.test("chains in flight are known in the order in which they were taken, over every wrap", () => {
  for (const start of [0, 0xfffe, 0x7ffffffd, 0xfffffffd]) {
    const { memory, ring } = createState();
    const queue = ring.queues[0]!;
    new DataView(memory).setUint32(1920 + 64, start, true);
    const heads = [7, 3, 60, 0, 21, 4];
    for (const head of heads) queue.takeOn(head);
    assertEquals(queue.headsInFlight(), heads);
    assertEquals(queue.nextSequence, (start + 6) >>> 0);
    assertEquals(queue.nextAvail, (start + 6) & 0xffff);
    queue.giveBack(60);
    queue.giveBack(7);
    assertEquals(queue.headsInFlight(), [3, 0, 21, 4]);
    queue.takeOn(60);
    assertEquals(queue.headsInFlight(), [3, 0, 21, 4, 60]);
    assert(queue.isInFlight(60) && !queue.isInFlight(7) && !queue.isInFlight(64));
  }
});

Deno.test("a process that dies between recording a chain and counting it has not taken the chain", () => {
  for (const start of [0, 0xffff, 0x7fffffff, 0xffffffff]) {
    const { memory } = createState();
    new DataView(memory).setUint32(1920 + 64, start, true);
    RingState.open(memory).queues[0]!.takeOn(9);
    const uncounted = memory.slice(0);
    new DataView(uncounted).setUint32(1920 + 64, start, true);
    const queue = RingState.open(uncounted).queues[0]!;
    queue.resumeProgress();
    assertEquals(queue.headsInFlight(), []);
    assertEquals(queue.nextSequence, start);
    queue.takeOn(9);
    assertEquals(queue.headsInFlight(), [9]);
    assertEquals(RingState.open(memory).queues[0]!.headsInFlight(), [9]);
  }
});

Deno.test("progress is kept within a life of the queue and cleared in the next", () => {
  const { state, ring } = running();
  const queue = ring.queues[0]!;
  queue.resumeProgress();
  assertEquals([queue.nextAvail, queue.headsInFlight()], [4, [5, 0, 9]]);
  const [epoch, device] = [queue.epoch, state.epoch];
  state.reset();
  assertEquals([queue.epoch, state.epoch], [epoch + 1, device + 1]);
  // The isolate that touches the ring may not know yet: what it writes now is of the old life.
  queue.takeOn(33);
  queue.resumeProgress();
  assertEquals([queue.nextAvail, queue.headsInFlight()], [0, []]);
  queue.takeOn(1);
  queue.resumeProgress();
  assertEquals([queue.nextAvail, queue.headsInFlight()], [1, [1]]);
  state.queues[0]!.reset();
  queue.resumeProgress();
  assertEquals([queue.nextAvail, queue.headsInFlight()], [0, []]);
  assertEquals(state.epoch, device + 1); // one queue's reset is not the device's
});

Deno.test("after a reset and the death of the process, the next process finds no progress", () => {
  const { memory, state } = running();
  state.reset();
  const queue = RingState.open(memory).queues[0]!;
  queue.resumeProgress();
  assertEquals([queue.nextAvail, queue.headsInFlight()], [0, []]);
});

Deno.test("reset() clears only what the driver has set", () => {
  const { state, ring, main } = running();
  state.setGuestPageSize(4096);
  main.publishConfig(new Uint8Array(16).fill(5));
  state.reset();
  assertEquals(state.guestPageSize, 4096);
  assertEquals(state.config, new Uint8Array(16).fill(5));
  assertEquals(state.configGeneration, 1);
  assertEquals(ring.replay.subarray(0, 3), Uint8Array.of(1, 2, 3));
  assertEquals(state.deviceFeatures, 0x1_3000_0000n);
  assertEquals(namedCounters(DEVICE_COUNTERS, state.counters), {
    accesses: 29, // negotiation 8, two queues 20, DRIVER_OK
    notifications: 0,
    resets: 2,
    badAccesses: 0,
    interrupts: 7,
    connects: 0,
    losses: 0,
    replays: 0,
  });
});

Deno.test("status and interrupt bits are set and cleared one by one", () => {
  const { access: state, ring } = createState();
  state.orStatus(0x01);
  state.orStatus(0x40);
  assertEquals(state.status, 0x41);
  ring.raiseInterruptStatus(INTERRUPT_USED_BUFFER);
  ring.raiseInterruptStatus(INTERRUPT_CONFIG_CHANGE);
  state.acknowledgeInterrupt(INTERRUPT_USED_BUFFER);
  assertEquals(state.interruptStatus, INTERRUPT_CONFIG_CHANGE);
  state.acknowledgeInterrupt(0xffffffff);
  assertEquals(state.interruptStatus, 0);
});

Deno.test("publishConfig() moves the generation and leaves the version being read alone", () => {
  const { memory, main: state } = createState();
  const reader = RingState.open(memory);
  const seen = reader.config;
  state.publishConfig(new Uint8Array(16).fill(1));
  assertEquals(seen, SOUND_CONFIG);
  assertEquals(reader.config, new Uint8Array(16).fill(1));
  assertEquals(reader.configGeneration, 1);
  for (const length of [0, 15, 17]) {
    assertThrows(
      () => state.publishConfig(new Uint8Array(length)),
      RangeError,
      `${length} bytes, expected 16`,
    );
  }
  assertEquals(state.configGeneration, 1);
  new DataView(memory).setUint32(72, 0xffffffff, true);
  state.publishConfig(new Uint8Array(16).fill(2));
  assertEquals([state.configGeneration, state.config[0]], [0, 2]); // the generation wraps
});

Deno.test("addresses of 2^53 and more are refused", () => {
  const { memory, state } = running();
  const queue = state.queues[0]!;
  new DataView(memory).setUint32(1920 + 20, 0x1fffff, true);
  assertEquals(queue.desc, 0x1fffff_40000000);
  new DataView(memory).setUint32(1920 + 20, 0x200000, true);
  assertThrows(() => queue.desc, RangeError, "descriptor table at 0x20000040000000");
});

Deno.test("isPowerOfTwo() and isQueueSize() are right at their limits", () => {
  for (let n = 0; n < 32; n++) assert(isPowerOfTwo(2 ** n));
  for (
    const n of [0, 3, 2 ** 31 - 1, 2 ** 31 + 1, 2 ** 32, -1, -(2 ** 31), 0.5, 1.5, NaN, Infinity]
  ) {
    assert(!isPowerOfTwo(n), `${n}`);
  }
  assert(isQueueSize(1) && isQueueSize(32768) && !isQueueSize(65536) && !isQueueSize(0));
});

Deno.test("no two counters share a place, and each fits", () => {
  const { main: state } = createState();
  for (
    const [places, counters] of [
      [DEVICE_COUNTERS, state.counters],
      [QUEUE_COUNTERS, state.queues[0]!.counters],
    ] as const
  ) {
    const list = Object.values(places);
    assertEquals(new Set(list).size, list.length);
    assert(list.every((place) => place < counters.length));
  }
});
