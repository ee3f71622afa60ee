// SPDX-License-Identifier: Apache-2.0
// A bridged device with all its parts in this process: a software node, whose registers a test writes, and a back-end.
import { assert, assertEquals } from "@std/assert";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { EVENT_RATE } from "../../lib/virtio/event_limit.ts";
import { STATUS_DEVICE_NEEDS_RESET } from "../../lib/virtio/state.ts";
import { until } from "../support/process.ts";
import { benchTest, CONFIG, SELECTOR, Selector, STATUS, VERSION_1 } from "./device_fixture.ts";

for (const memory of ["isolated", "direct"] as const) {
  benchTest(
    `a driver is served, and again by the next back-end: ${memory}`,
    { memory },
    async (bench) => {
      bench.start();
      await bench.event("started");
      await bench.bringUp();
      assertEquals(bench.events.map(({ kind }) => kind), ["connected", "started", "running"]);
      assertEquals(bench.selector.rings, 1);
      bench.stop();
      await bench.event("lost");
      bench.start();
      const { text } = await bench.event("resumed");
      assertEquals(text, "resumed: 0 in-flight requests resubmitted, 0 control requests replayed");
      const counters = bench.device.counters()!;
      assertEquals([counters["connects"], counters["losses"]], [2, 1]);
    },
  );

  benchTest(
    `a driver that resets the device is served again: ${memory}`,
    { memory },
    async (bench) => {
      bench.start();
      await bench.event("started");
      for (let life = 0; life < 3; life++) {
        const since = bench.events.length;
        await bench.bringUp();
        await bench.event("running", since);
      }
      const kinds = new Set(bench.events.map(({ kind }) => kind));
      assertEquals(kinds, new Set(["connected", "started", "running", "reset"]));
    },
  );
}

benchTest(
  "a driver that resets and starts without pause is reported up to the limit",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    const lives = 2 * EVENT_RATE.burst;
    for (let life = 0; life < lives; life++) await bench.bringUp();
    const { resets } = bench.device.counters()! as { resets: number };
    assert(resets >= lives, `${resets}`);
    const reported = bench.events.filter(({ kind }) => kind === "reset");
    assert(reported.length >= EVENT_RATE.burst && reported.length < lives, `${reported.length}`);
    bench.stop();
    await bench.event("lost");
    const texts = bench.events.map(({ text }) => text);
    const isTold = / \(\d+ reports? before this (was|were) left out\)$/;
    assert(texts.some((text) => isTold.test(text)), texts.at(-1));
  },
);

benchTest(
  "forwarded: what is read after a write is the back-end's answer to it",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    for (const when of ["before DRIVER_OK", "after"]) {
      if (when === "after") await bench.bringUp();
      for (const value of [1, 21, 100]) {
        await bench.write(CONFIG, 1, value);
        assertEquals(bench.port.read(CONFIG + 4, 1), 2 * value, when);
      }
    }
  },
);

/** Takes what it is sent for its first bytes, wherever it was written, as vhost-device-input 0.1.0 does, and forgets it. */
class Inattentive extends Selector {
  readonly sent: string[] = [];

  override writeConfig(_: number, bytes: Uint8Array): void {
    this.sent.push(`${bytes.subarray(0, 2)} of ${bytes.length}`);
    this.config[4] = 10 * bytes[0]! + bytes[1]!;
  }
}

benchTest(
  "forwarded: a back-end is sent the whole config space, and the driver reads what it wrote",
  {},
  async (bench) => {
    const selector = new Inattentive(VERSION_1 | 1n, 1);
    bench.start(selector);
    await bench.event("started");
    await bench.write(CONFIG, 1, 7);
    await bench.write(CONFIG + 1, 1, 3);
    assertEquals(selector.sent, ["7,0 of 8", "7,3 of 8"]);
    assertEquals([0, 1, 4].map((at) => bench.port.read(CONFIG + at, 1)), [7, 3, 73]);
  },
);

/** Forgets its config space with each reset, as the standard has it. */
class Forgetful extends Selector {
  override disconnected(): void {
    this.config.fill(0);
  }
}

benchTest(
  "forwarded: what a driver wrote is forgotten when it resets the device",
  {},
  async (bench) => {
    const selector = new Forgetful(VERSION_1 | 1n, 1);
    bench.start(selector);
    await bench.event("started");
    await bench.bringUp();
    await bench.write(CONFIG, 1, 7);
    await bench.write(STATUS, 4, 0);
    await until(() => bench.port.read(CONFIG, 1) === 0, "the back-end's config space");
    await bench.bringUp();
    await bench.write(CONFIG + 1, 1, 3);
    assertEquals([...selector.config].slice(0, 2), [0, 3]);
    assertEquals([0, 1].map((at) => bench.port.read(CONFIG + at, 1)), [0, 3]);
  },
);

benchTest(
  "forwarded: a new back-end is told what the driver wrote to the last one",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    await bench.write(CONFIG, 1, 9);
    bench.stop();
    await bench.event("lost");
    const next = new Selector(VERSION_1 | 1n, 1);
    bench.start(next);
    await until(() => next.config[0] === 9, "the write");
    await until(() => bench.port.read(CONFIG + 4, 1) === 18, "its answer");
  },
);

benchTest(
  "forwarded: a write is answered where no back-end is, and told to the next",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    bench.stop();
    await bench.event("lost");
    await bench.write(CONFIG, 1, 9);
    bench.start();
    await until(() => bench.port.read(CONFIG + 4, 1) === 18, "the back-end's answer");
  },
);

const CACHED: DeviceClass = { ...SELECTOR, config: { ...SELECTOR.config, access: "cached" } };

benchTest(
  "cached: a write is answered at once and passed on",
  { deviceClass: CACHED },
  async (bench) => {
    bench.start();
    await bench.event("started");
    bench.port.write(CONFIG, 1, 33); // nobody else has a turn meanwhile
    await until(() => bench.selector.config[0] === 33, "the write to arrive");
  },
);

benchTest(
  "how many queues there are is asked of the first back-end",
  { queueCount: 2 },
  async (bench) => {
    bench.start();
    await bench.event("started");
    const { queues } = bench.device.counters() as { queues: { queue: string }[] };
    assertEquals(queues.map(({ queue }) => queue), ["request 0", "request 1"]);
  },
);

benchTest(
  "a back-end that lacks what the driver relies on: it must reset, and is offered the rest",
  {},
  async (bench) => {
    bench.start();
    await bench.event("started");
    await bench.bringUp();
    bench.stop();
    await bench.event("lost");
    bench.start(new Selector(VERSION_1, 1));
    const { text } = await bench.event("error");
    assert(text.includes("lacks features that the driver relies on"), text);
    await until(
      () => (bench.port.read(STATUS, 4) & STATUS_DEVICE_NEEDS_RESET) !== 0,
      "DEVICE_NEEDS_RESET",
    );
    const since = bench.events.length;
    await bench.write(STATUS, 4, 0);
    bench.port.write(0x014, 4, 0);
    assertEquals(bench.port.read(0x010, 4), 0);
    bench.port.write(0x014, 4, 1);
    assertEquals(bench.port.read(0x010, 4), 1);
    await bench.bringUp(VERSION_1);
    await bench.event("running", since);
  },
);
