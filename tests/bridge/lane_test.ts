// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import { createMemory, EventFd, Mapping, viewMemory } from "../../ffi/mod.ts";
import { createArming, disarm } from "../../lib/bridge/arming.ts";
import { createMemoryUse } from "../../lib/bridge/memory_use.ts";
import { Lane } from "../../lib/bridge/lane.ts";
import type { AccessEvent, LaneDevice, RingEvent } from "../../lib/bridge/lane_messages.ts";
import { Bridge } from "../../lib/bridge/mod.ts";
import { SoftGuestPort, SoftLoopback, SoftNode } from "../../lib/loopback/mod.ts";
import { DeviceState } from "../../lib/virtio/state.ts";
import { MainState } from "../../lib/virtio/state_writers.ts";
import { until } from "../support/process.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { SOUND_CONFIG, SOUND_QUEUES } from "../virtio/register_fixture.ts";

const STATUS = 0x70;
const QUEUE_NOTIFY = 0x50;
/** QUEUE_SEL, NUM, the low words of DESC, DRIVER and DEVICE, READY. */
const QUEUE_2 = [[0x30, 2], [0x38, 16], [0x80, 0], [0x90, 4096], [0xa0, 8192], [0x44, 1]] as const;

/** A sound card without a back-end on a soft node, in a lane. */
class Bench implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly accesses: AccessEvent[] = [];
  readonly ringEvents: RingEvent[] = [];
  readonly failures: string[] = [];
  readonly node = this.#stack.use(new SoftNode(1 << 20));
  readonly loopback = this.#stack.use(SoftLoopback.attach(this.node));
  readonly guest = this.#stack.use(new SoftGuestPort(this.node.wires, 2000));
  readonly state: MainState;
  readonly device: LaneDevice;

  constructor(id: number, readonly lane: Lane, memory: "isolated" | "direct" = "isolated") {
    const bytes = DeviceState.sizeFor(4, 64);
    const fd = this.#stack.use(createMemory("state", bytes));
    const mapping = this.#stack.use(Mapping.create(fd, bytes));
    this.state = MainState.create(viewMemory(mapping), {
      name: "test",
      deviceId: 25,
      vendorId: 1,
      mmioVersion: 2,
      queueSizes: [64, 64, 64, 64],
      deviceFeatures: 1n << 32n,
      config: SOUND_CONFIG,
    });
    const kicks = [0, 1, 2, 3].map(() => this.#stack.use(EventFd.create()).number);
    this.device = {
      id,
      name: `card${id}`,
      priority: id,
      memory,
      config: "cached",
      port: this.loopback.port,
      state: mapping.range,
      memoryUse: createMemoryUse(),
      arming: createArming(),
      restored: false,
      queues: SOUND_QUEUES,
      featureNames: {},
      replay: null,
      kicks,
    };
  }

  add(device: LaneDevice = this.device): Promise<void> {
    return this.lane.add(device, {
      access: (event) => this.accesses.push(event),
      ring: (event) => this.ringEvents.push(event),
      failed: ({ message }) => this.failures.push(message),
    });
  }

  /** DRIVER_OK, without a queue unless its registers are given. It is held. */
  async begin(queue: readonly (readonly [number, number])[] = []): Promise<void> {
    this.guest.write(0x24, 4, 1);
    this.guest.write(0x20, 4, 1);
    for (const status of [1, 3, 0xb]) this.guest.write(STATUS, 4, status);
    for (const [register, value] of queue) this.guest.write(register, 4, value);
    const before = this.held;
    this.guest.beginWrite(STATUS, 4, 0xf);
    await until(() => this.held > before, "DRIVER_OK to be reported");
    assert(this.guest.pending);
  }

  /** DRIVER_OK, and its answer. */
  async start(queue: readonly (readonly [number, number])[] = []): Promise<void> {
    await this.begin(queue);
    await this.lane.access.call("release", this.device.id);
    await until(() => !this.guest.pending, "DRIVER_OK to be answered");
  }

  /** How many accesses were held. */
  get held(): number {
    return this.accesses.filter((event) => "held" in event && event.held).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lane.remove(this.device.id);
    await this.#stack.disposeAsync();
  }
}

function laneTest(name: string, body: (lane: Lane) => Promise<void>): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using lane = new Lane({ name: "test" });
      await body(lane);
    }));
}

laneTest(
  "a lane answers accesses of all its devices while nobody else does anything",
  async (lane) => {
    await using a = new Bench(1, lane);
    await using b = new Bench(2, lane);
    await Promise.all([a.add(), b.add()]);
    for (let i = 0; i < 100; i++) {
      for (const { guest } of [a, b]) assertEquals(guest.read(0, 4), 0x74726976);
    }
    await a.start();
    assertEquals([a.guest.read(STATUS, 4), b.guest.read(STATUS, 4)], [0xf, 0]);
    assertEquals(a.accesses.at(-1), { id: 1, kind: "status", status: 0xf, held: true });
    assertEquals(b.accesses, []);
  },
);

laneTest(
  "DRIVER_OK is answered when it is released, but once in a life of the driver",
  async (lane) => {
    await using bench = new Bench(1, lane);
    await bench.add();
    await bench.start();
    bench.guest.write(STATUS, 4, 0xf);
    bench.guest.write(STATUS, 4, 0);
    await bench.start();
    assertEquals(bench.held, 2);
  },
);

laneTest("a DRIVER_OK that one process held is held by the next process", async (lane) => {
  await using bench = new Bench(1, lane);
  await bench.add();
  await bench.start();
  bench.guest.write(STATUS, 4, 0);
  await bench.begin();
  await lane.remove(1);
  assert(bench.guest.pending);
  await bench.add({ ...bench.device, restored: true });
  await until(() => bench.held === 3, "DRIVER_OK to be reported again");
  assert(bench.guest.pending);
  await lane.access.call("release", 1);
  await until(() => !bench.guest.pending, "DRIVER_OK to be answered");
  assertEquals(bench.guest.read(STATUS, 4), 0xf);
});

laneTest(
  "a reset is answered at once, but with direct memory when it is released",
  async (lane) => {
    for (const memory of ["isolated", "direct"] as const) {
      await using bench = new Bench(1, lane, memory);
      await bench.add();
      await bench.start();
      if (memory === "isolated") bench.guest.write(STATUS, 4, 0);
      else {
        using impatient = new SoftGuestPort(bench.node.wires, 20);
        let text = "";
        try {
          impatient.write(STATUS, 4, 0);
        } catch (error) {
          text = (error as Error).message;
        }
        assert(text.includes("no answer within 20 ms"), text);
        await lane.access.call("release", 1);
        await lane.access.call("release", 1);
        impatient.write(STATUS, 4, 0); // no driver runs: answered at once
      }
      await until(() => bench.accesses.some(({ kind }) => kind === "reset"), "the reset's report");
      assertEquals(bench.state.epoch, memory === "isolated" ? 1 : 2);
      const resets = bench.accesses.filter((event) => event.kind === "reset");
      assertEquals(resets[0], { id: 1, kind: "reset", held: memory === "direct" });
    }
  },
);

laneTest(
  "DEVICE_NEEDS_RESET is set only in the epoch that it is requested for",
  async (lane) => {
    await using bench = new Bench(1, lane);
    await bench.add();
    await bench.start();
    bench.guest.write(STATUS, 4, 0);
    await bench.start();
    await lane.access.call("needReset", 1, 0);
    assertEquals(bench.guest.read(STATUS, 4), 0xf);
    await lane.access.call("needReset", 1, 1);
    assertEquals(bench.guest.read(STATUS, 4), 0x4f);
    assertEquals(bench.accesses.at(-1), { id: 1, kind: "status", status: 0x4f, held: false });
    await lane.rings.call("configInterrupt", 1);
    assert(bench.guest.waitInterrupt(1000));
    assertEquals(bench.guest.read(0x60, 4), 2);
  },
);

laneTest(
  "a kick of a device whose watchdog is not armed is reported, and no other",
  async (lane) => {
    await using bench = new Bench(1, lane);
    await bench.add();
    const kicks = () => bench.accesses.filter(({ kind }) => kind === "kicked");
    for (let round = 1; round <= 3; round++) {
      await bench.start(QUEUE_2);
      for (let i = 0; i < 3; i++) bench.guest.write(QUEUE_NOTIFY, 4, 2);
      bench.guest.write(STATUS, 4, 0); // its report comes after those of the kicks
      const resets = () => bench.accesses.filter(({ kind }) => kind === "reset").length;
      await until(() => resets() === round, "the reset's report");
      assertEquals(kicks(), Array(round).fill({ id: 1, kind: "kicked" }));
      disarm(bench.device.arming);
    }
  },
);

laneTest("a removed device is not touched, and can be added again", async (lane) => {
  await using bench = new Bench(1, lane);
  for (let i = 0; i < 3; i++) {
    await bench.add();
    assertEquals(bench.guest.read(0, 4), 0x74726976);
    await lane.remove(1);
    await lane.remove(1);
    using impatient = new SoftGuestPort(bench.node.wires, 5);
    let answered = true;
    try {
      impatient.read(0, 4);
    } catch {
      answered = false;
    }
    assert(!answered);
    await assertRejects(() => lane.rings.call("detach", 1), Error, "Cannot find device 1");
  }
});

laneTest("a device that cannot be added is not added, and the lane keeps serving", async (lane) => {
  await using good = new Bench(1, lane);
  await good.add();
  await using bad = new Bench(2, lane);
  const state = bad.device.state;
  new Uint32Array(viewMemory(state))[0] = 0; // no state's magic
  await assertRejects(() => bad.add(), Error, "Cannot open device state");
  await assertRejects(() => lane.rings.call("configInterrupt", 2), Error, "Cannot find device 2");
  // epoll takes no plain file: the access Worker, the second to be asked, refuses.
  new Uint32Array(viewMemory(state))[0] = 0x6c6f6976;
  const port = { ...bad.device.port, doorbell: bad.node.wires.page };
  await assertRejects(() => bad.add({ ...bad.device, port }), Error, "EPERM");
  await assertRejects(() => lane.rings.call("configInterrupt", 2), Error, "Cannot find device 2");
  assertEquals(good.guest.read(0, 4), 0x74726976);
  assertEquals([good.failures, bad.failures], [[], []]);
});

Deno.test("a closed lane refuses calls with a message, and can be closed again", async () => {
  await withoutLeaks(async () => {
    const lane = new Lane({ name: "test" });
    await lane.close();
    await lane.close();
    await assertRejects(
      () => lane.rings.call("configInterrupt", 1),
      Error,
      "the ring Worker of lane test",
    );
    await assertRejects(() => lane.remove(1), Error, "it is closed");
  });
});

Deno.test("a lane's threads run on their CPUs", async () => {
  await withoutLeaks(async () => {
    await using lane = new Lane({ name: "test", cpus: [0, 0] });
    await lane.ready;
    const masks = [...Deno.readDirSync("/proc/self/task")].map(({ name }) =>
      Deno.readTextFileSync(`/proc/self/task/${name}/status`).match(
        /Cpus_allowed_list:\s*(\S+)/,
      )![1]
    );
    if (navigator.hardwareConcurrency > 1) {
      assertEquals(masks.filter((mask) => mask === "0").length, 2);
    }
  });
});

const REFUSED: [string, { cpus?: number[]; realtime?: number }, string][] = [
  ["no CPU", { cpus: [] }, "Cannot pin a thread to CPU"],
  ["a CPU that cannot be named", { cpus: [53] }, "expected 0 to 52"],
  ["a priority that there is none of", { realtime: 100 }, "real-time priority 100"],
];

for (const [name, options, text] of REFUSED) {
  Deno.test(`a lane is refused ${name}, and so is its bridge`, async () => {
    await withoutLeaks(async () => {
      const lane = { name: "fast", ...options };
      await assertRejects(() => new Lane(lane).ready, Error, text);
      const lanes = [{ name: "other" }, lane];
      await using bridge = await Bridge.start({ lanes, onEvent: () => {} });
      await assertRejects(() => bridge.ready(), Error, text);
    });
  });
}
