// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  DeviceState,
  type DeviceStateOptions,
  namedCounters,
  QUEUE_COUNTERS,
  REPLAY_BYTES,
} from "../../lib/virtio/state.ts";
import { MainState, RingState } from "../../lib/virtio/state_writers.ts";
import { createState, SOUND_CONFIG, VENDOR_ID } from "./register_fixture.ts";
import { running } from "./state_fixture.ts";

const BASE: DeviceStateOptions = {
  name: "b",
  deviceId: 25,
  vendorId: VENDOR_ID,
  mmioVersion: 2,
  queueSizes: [64],
  deviceFeatures: 0n,
  config: SOUND_CONFIG,
};

Deno.test("a new state holds what it was created with, and zeros", () => {
  const { ring: state } = createState({ mmioVersion: 1, deviceFeatures: 0x8000_0001_3000_0002n });
  assertEquals(state.deviceId, 25);
  assertEquals(state.vendorId, VENDOR_ID);
  assertEquals(state.mmioVersion, 1);
  assertEquals(state.queueCount, 4);
  assertEquals(state.deviceFeatures, 0x8000_0001_3000_0002n);
  assertEquals(state.driverFeatures, 0n);
  assertEquals([state.status, state.interruptStatus, state.epoch, state.configGeneration], [
    0,
    0,
    0,
    0,
  ]);
  assertEquals(state.config, SOUND_CONFIG);
  assertEquals(state.replay, new Uint8Array(REPLAY_BYTES));
  for (const queue of state.queues) {
    assertEquals([queue.numMax, queue.num, queue.ready, queue.nextAvail], [64, 0, false, 0]);
    assertEquals(queue.inflight, new Uint32Array(64));
  }
});

Deno.test("create() clears the memory", () => {
  const dirty = new ArrayBuffer(DeviceState.sizeFor(1, 4));
  new Uint8Array(dirty).fill(0xff);
  const options = {
    name: "b",
    deviceId: 4,
    vendorId: 1,
    mmioVersion: 2,
    queueSizes: [4],
    deviceFeatures: 1n << 32n,
    config: new Uint8Array(),
  } as const;
  MainState.create(dirty, options);
  const clean = new ArrayBuffer(dirty.byteLength);
  MainState.create(clean, options);
  assertEquals(new Uint8Array(dirty), new Uint8Array(clean));
  assertEquals(RingState.open(dirty).queues[0]!.inflight, new Uint32Array(4));
});

Deno.test("the layout in memory stays the same, for a next process of another version", () => {
  const { memory, state } = running();
  const u32 = (at: number) => new DataView(memory).getUint32(at, true);
  assertEquals(new TextDecoder().decode(new Uint8Array(memory, 0, 4)), "viol");
  assertEquals([4, 8, 12, 16, 20, 24, 28, 32, 36].map(u32), [
    2,
    memory.byteLength,
    4,
    64,
    25,
    2,
    VENDOR_ID,
    16,
    0xe40c292c, // FNV-1a of "a"
  ]);
  assertEquals([64, 68, 72, 76].map(u32), [0xf, 0, 0, 1]); // status, interrupts, generation, epoch
  assertEquals([80, 84, 88, 92].map(u32), [0x30000000, 1, 0, 1]); // features
  assertEquals(new DataView(memory).getFloat64(128 + 8 * 8, true), 7); // interrupts
  assertEquals(new Uint8Array(memory, 320, 16), SOUND_CONFIG);
  assertEquals(new Uint8Array(memory, 832, 3), Uint8Array.of(1, 2, 3));
  const queue0 = [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40].map((at) => u32(1920 + at));
  assertEquals(queue0, [64, 64, 0, 1, 0x40000000, 0, 0x40001000, 0, 0x40002000, 0, 1]);
  assertEquals(u32(1920 + 64), 4); // chains taken
  assertEquals(u32(1920 + 68), 1); // in this epoch
  assertEquals(new DataView(memory).getFloat64(1920 + 128 + 8 * 8, true), 4); // chains counted
  assertEquals(u32(1920 + 256 + 4 * 5), 0x80000000); // the first chain
  assertEquals(u32(1920 + 256), 0x80000002); // the third
  const block = 256 + 4 * 64;
  assertEquals(u32(1920 + block + 16), 0x40010000); // queue 1
  assertEquals(memory.byteLength, 1920 + 4 * block);
  assertEquals(DeviceState.sizeFor(4, 64), memory.byteLength);
  assertEquals(state.queues.length, 4);
});

Deno.test("sizeFor() keeps blocks apart whatever the size of the queues", () => {
  for (const [count, size] of [[1, 1], [3, 2], [64, 1024], [1, 32768]] as const) {
    const queueSizes = new Array<number>(count).fill(size);
    const { ring: state } = createState({ queueSizes });
    state.queues.forEach((queue) => (queue.inflight as Uint32Array).fill(0xffffffff));
    for (const queue of state.queues) {
      assertEquals([queue.numMax, queue.num, queue.epoch, queue.nextSequence], [size, 0, 0, 0]);
      assert(Array.from(queue.counters).every((counter) => counter === 0));
    }
  }
});

Deno.test("queues of different sizes keep their own", () => {
  const { memory } = createState({ queueSizes: [2, 1024, 64] });
  assertEquals(RingState.open(memory).queues.map((queue) => queue.inflight.length), [
    2,
    1024,
    64,
  ]);
});

const BAD_OPTIONS: [string, Partial<DeviceStateOptions>][] = [
  ["0 queues", { queueSizes: [] }],
  ["65 queues", { queueSizes: new Array<number>(65).fill(1) }],
  ["queue size 0", { queueSizes: [64, 0] }],
  ["queue size 48", { queueSizes: [48, 64] }],
  ["queue size 65536", { queueSizes: [65536] }],
  ["queue size 2.5", { queueSizes: [2.5] }],
  ["queue size -64", { queueSizes: [-64] }],
  ["expected 64 bits", { deviceFeatures: 1n << 64n }],
  ["expected 64 bits", { deviceFeatures: -1n }],
  ["257 bytes of config space", { config: new Uint8Array(257) }],
];

for (const [reason, options] of BAD_OPTIONS) {
  Deno.test(`create() refuses ${Object.keys(options)[0]}: ${reason}`, () => {
    const all = { ...BASE, ...options };
    const memory = new ArrayBuffer(1 << 20);
    assertThrows(() => MainState.create(memory, all), RangeError, reason);
    assertThrows(() => RingState.open(memory), RangeError, "magic 0x0");
  });
}

Deno.test("create() refuses memory that is too small", () => {
  const bytes = DeviceState.sizeFor(1, 64);
  assertThrows(
    () => MainState.create(new ArrayBuffer(bytes - 1), BASE),
    RangeError,
    `${bytes - 1} bytes of memory, expected ${bytes}`,
  );
});

Deno.test("a state can have the maximum of queues, config bytes and status bits", () => {
  const config = Uint8Array.from({ length: 256 }, (_, i) => 255 - i);
  const { memory, access } = createState({ queueSizes: new Array<number>(64).fill(32768), config });
  access.orStatus(0xff);
  const successor = RingState.open(memory);
  assertEquals(successor.queues.length, 64);
  assertEquals(successor.config, config);
  assertEquals(successor.status, 0xff);
});

Deno.test("open() finds a running device as it was left", () => {
  const { memory, state } = running();
  const successor = RingState.open(memory);
  assertEquals(successor.status, 0xf);
  assertEquals(successor.driverFeatures, 1n << 32n);
  assertEquals(successor.queues.map((queue) => queue.ready), [true, true, false, false]);
  const queue = successor.queues[0]!;
  queue.resumeProgress();
  assertEquals(queue.nextAvail, 4);
  assertEquals(queue.headsInFlight(), [5, 0, 9]);
  assertEquals(namedCounters(QUEUE_COUNTERS, queue.counters).chains, 4);
  queue.giveBack(5);
  assertEquals(state.queues[0]!.headsInFlight(), [0, 9]); // it is the same memory
});

const f64 = (value: number) => {
  const words = new Uint32Array(Float64Array.of(value).buffer);
  return [words[0]!, words[1]!] as const;
};

const BLOCK = 256 + 4 * 64;

/** What is written where into a running device's memory, as u32, and what open() must say. */
const DAMAGE: [string, number, readonly number[]][] = [
  ["magic 0x0, expected 0x6c6f6976", 0, [0]],
  ["layout 3, expected 2", 4, [3]],
  ["layout 1, expected 2", 4, [1]],
  ["size 3967, expected 3968", 8, [3967]],
  ["0 queues", 12, [0]],
  ["65 queues", 12, [65]],
  ["expected 4480", 12, [5]],
  ["4294967295 queues", 12, [0xffffffff]],
  ["largest queue size 0", 16, [0]],
  ["largest queue size 63", 16, [63]],
  ["largest queue size 65536", 16, [65536]],
  ["size 3968, expected 3200", 16, [4]],
  ["virtio-mmio version 3", 24, [3]],
  ["virtio-mmio version 0", 24, [0]],
  ["257 bytes of config space", 32, [257]],
  ["status 0x10f", 64, [0x10f]],
  ["page size 4095", 64 + 4 * 12, [4095]],
  ["a counter of the device", 128, f64(NaN)],
  ["a counter of the device", 128, f64(-1)],
  ["a counter of the device", 128 + 23 * 8, f64(0.5)],
  ["a counter of queue 3", 1920 + 3 * BLOCK + 128, f64(Infinity)],
  ["queue 0 has largest size 128", 1920, [128]],
  ["queue 0 has largest size 0", 1920, [0]],
  ["queue 3 has largest size 3", 1920 + 3 * BLOCK, [3]],
  ["queue 0 has size 0,", 1920 + 4, [0]],
  ["queue 1 has size 128,", 1920 + BLOCK + 4, [128]],
  ["queue 1 has its descriptor table at 0x40010001", 1920 + BLOCK + 16, [0x40010001]],
  ["queue 0 has its used ring at 0xffffffff40002000", 1920 + 36, [0xffffffff]],
  ["queue 2 has size 0,", 1920 + 2 * BLOCK + 12, [1]],
  ["queue 0 has a chain in flight without the top bit set", 1920 + 256 + 4, [3]],
  ["queue 0 has two chains in flight with one sequence number", 1920 + 256 + 4, [0x80000002]],
];

for (const [reason, at, words] of DAMAGE) {
  Deno.test(`open() refuses damage at byte ${at}: ${reason}`, () => {
    const { memory } = running();
    new Uint32Array(memory).set(words, at / 4);
    assertThrows(() => RingState.open(memory), RangeError, reason);
  });
}

Deno.test("open() refuses a chain in flight beyond the ring that the driver set up", () => {
  const { memory, ring } = running();
  new Uint32Array(memory)[(1920 + 4) / 4] = 32;
  RingState.open(memory);
  ring.queues[0]!.takeOn(32);
  assertThrows(
    () => RingState.open(memory),
    RangeError,
    "queue 0 of size 32 has a chain in flight beyond it",
  );
});

Deno.test("the features of the first back-end stay, whatever is offered later", () => {
  const features = 0x8000_0001_3000_0002n;
  const { main } = createState({ deviceFeatures: 1n << 32n, profileFeatures: features });
  main.offerFeatures(0n);
  assertEquals([main.profileFeatures, main.deviceFeatures], [features, 0n]);
  assertEquals(createState({ deviceFeatures: 5n }).main.profileFeatures, 5n);
});

Deno.test("a state knows which node it belongs to", () => {
  const { memory } = createState({ name: "/dev/loopback-237" });
  const state = RingState.open(memory);
  const names = ["/dev/loopback-237", "/dev/loopback-238", "/dev/loopback", ""];
  assertEquals(names.map((name) => state.isOf(name)), [true, false, false, false]);
});

Deno.test("open() refuses every shorter piece of a state", () => {
  const { memory } = running();
  for (let length = 0; length < memory.byteLength; length += 4) {
    assertThrows(
      () => RingState.open(memory.slice(0, length)),
      RangeError,
      `${length} bytes of memory, expected`,
    );
  }
  RingState.open(memory);
});

Deno.test("open() of a state with any damaged word either works or says what is wrong", () => {
  const { memory } = running();
  const words = new Uint32Array(memory);
  for (let i = 0; i < words.length; i++) {
    const good = words[i]!;
    for (const bad of [0, 1, 0x7fffffff, 0x80000001, 0xffffffff]) {
      words[i] = bad;
      try {
        const { queues } = RingState.open(memory);
        for (const queue of queues) queue.resumeProgress();
      } catch (error) {
        assert(error instanceof RangeError && error.message.startsWith("Cannot open"), `${error}`);
      }
      words[i] = good;
    }
  }
});
