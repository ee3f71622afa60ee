// SPDX-License-Identifier: Apache-2.0
import { DEVICE_CLASSES, sound } from "../../lib/classes/mod.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type AttachOptions, planAttach } from "../../cli/attach.ts";
import { Failure } from "../../cli/exit.ts";
import { oneOf } from "../../lib/scene/words.ts";

const CLASSES = oneOf(DEVICE_CLASSES.map(({ name }) => name));
const ONE = { socket: ["/tmp/a"], loopback: ["/dev/loopback-237"] };
const TWO = { socket: ["/tmp/a", "/tmp/b"], loopback: ["soft:/tmp/0", "soft:/tmp/1"] };

Deno.test("planAttach() uses defaults for options that are not given", () => {
  assertEquals(planAttach(["sound"], ONE), {
    devices: [{
      name: "sound",
      class: sound,
      socket: "/tmp/a",
      loopback: "/dev/loopback-237",
      memory: "isolated",
      mmioVersion: "auto",
      priority: 0,
      lane: "main",
    }],
    lanes: [{ name: "main" }],
  });
});

Deno.test("planAttach() has devices kept as --keep or --no-keep says, else as the bridge thinks best", () => {
  for (const keep of [true, false, undefined]) {
    const { devices } = planAttach(["sound", "rng"], keep === undefined ? TWO : { ...TWO, keep });
    assertEquals(devices.map((device) => device.keep), [keep, keep]);
  }
});

Deno.test("planAttach() takes the limits of requests in seconds", () => {
  assertEquals(planAttach(["sound"], { ...ONE, streamLimit: "2" }).patience, { streamMs: 2000 });
  const both = planAttach(["rng"], { ...ONE, streamLimit: "1", requestLimit: "60" });
  assertEquals(both.patience, { streamMs: 1000, requestMs: 60_000 });
  for (const requestLimit of ["0", "x", "1.5", "86401"]) {
    assertThrows(() => planAttach(["rng"], { ...ONE, requestLimit }), Failure, "--request-limit");
  }
});

Deno.test("planAttach() gives the n-th value to the n-th device, and a single one to all", () => {
  const plan = planAttach(["sound", "sound"], {
    ...TWO,
    memory: ["direct"],
    mmioVersion: ["2", "1"],
    priority: ["0", "-3"],
    lane: ["music", "alarm"],
    cpus: ["0", "1,2"],
    realtime: ["50"],
  });
  assertEquals(plan.devices.map(({ name }) => name), ["sound0", "sound1"]);
  assertEquals(plan.devices.map(({ socket }) => socket), TWO.socket);
  assertEquals(plan.devices.map(({ loopback }) => loopback), TWO.loopback);
  assertEquals(plan.devices.map(({ memory }) => memory), ["direct", "direct"]);
  assertEquals(plan.devices.map(({ mmioVersion }) => mmioVersion), [2, 1]);
  assertEquals(plan.devices.map(({ priority }) => priority), [0, -3]);
  assertEquals(plan.lanes, [
    { name: "music", cpus: [0], realtime: 50 },
    { name: "alarm", cpus: [1, 2], realtime: 50 },
  ]);
});

Deno.test("planAttach() names devices apart, and makes one lane of a name", () => {
  const socket = ["a", "b", "c"];
  const loopback = ["soft:0", "soft:1", "soft:2"];
  const plan = planAttach(["sound", "rng", "sound"], {
    socket,
    loopback,
    lane: ["x"],
    cpus: ["3"],
  });
  assertEquals(plan.devices.map(({ name }) => name), ["sound0", "rng", "sound1"]);
  assertEquals(plan.lanes, [{ name: "x", cpus: [3] }]);
});

Deno.test("planAttach() refuses options that contradict, with exit status 1", () => {
  const table: [string[], AttachOptions, RegExp][] = [
    [["sound"], {}, /Cannot attach 1 device: --socket is missing, expected 1/],
    [["sound"], { socket: ["a"] }, /--loopback is missing/],
    [["sound", "rng"], ONE, /Cannot attach 2 devices: 1 × --socket given, expected 2/],
    [["sound"], TWO, /Cannot attach 1 device: 2 × --socket given, expected 1/],
    [["sound", "rng"], { ...TWO, socket: ["a", "a"] }, /--socket a is given twice/],
    [["sound", "rng"], { ...TWO, loopback: ["soft:x", "soft:x"] }, /soft:x is given twice/],
    [["sound", "rng"], { ...TWO, socket: ["./a", "a"] }, /--socket a is given twice/],
    [["sound", "rng"], { ...TWO, socket: ["/tmp/a", "/tmp/../tmp//a"] }, /is given twice/],
    [["sound", "rng"], { ...TWO, loopback: ["soft:/tmp/x", "soft:/tmp/./x"] }, /is given twice/],
    [["sound", "rng"], { ...TWO, loopback: ["/dev/null", "/dev//null"] }, /is given twice/],
    [
      ["tuba"],
      ONE,
      new RegExp(`Cannot attach "tuba": it is not a device class, expected ${CLASSES}$`),
    ],
    [["sound"], { ...ONE, memory: ["some"] }, /--memory "some": expected isolated or direct/],
    [["sound"], { ...ONE, mmioVersion: ["3"] }, /--mmio-version "3": expected 1, 2 or auto/],
    [["sound"], { ...ONE, priority: ["high"] }, /--priority "high": expected a number/],
    [["sound"], { ...ONE, priority: ["1", "2"] }, /2 × --priority for 1 device/],
    [["sound"], { ...ONE, cpus: ["0-3"] }, /--cpus "0-3": expected numbers/],
    [["sound"], { ...ONE, cpus: ["64"] }, /--cpus "64": expected a number from 0 to 52/],
    [["sound"], { ...ONE, realtime: ["0"] }, /--realtime "0": expected a number from 1 to 99/],
    [["sound", "rng"], { ...TWO, cpus: ["0", "1"] }, /lane "main": its devices disagree/],
    [["sound", "rng"], { ...TWO, realtime: ["1", "2"] }, /lane "main": its devices disagree/],
  ];
  for (const [classes, options, message] of table) {
    const error = assertThrows(() => planAttach(classes, options), Failure);
    assertEquals(error.status, 1);
    assert(message.test(error.message), error.message);
  }
});

Deno.test("planAttach() takes the same name in two folders for two places", () => {
  const socket = ["/none/a", "/nowhere/a"];
  const plan = planAttach(["sound", "rng"], { socket, loopback: ["soft:/tmp/a", "/tmp/a"] });
  assertEquals(plan.devices.map((device) => device.socket), socket);
});

Deno.test("planAttach() takes devices of other classes by their id, behind the named ones", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeFile(file, Uint8Array.of(1, 2, 3));
    const other = { virtioId: ["8", "20"], queues: ["64,64,128", "16"] };
    const places = { socket: ["a", "b", "c"], loopback: ["soft:0", "soft:1", "soft:2"] };
    const { devices } = planAttach(["sound"], { ...places, ...other, config: [file] });
    assertEquals(devices.map(({ name }) => name), ["sound", "virtio8", "virtio20"]);
    const [, scsi, crypto] = devices.map((device) => device.class);
    const profile = { features: 0n, queueCount: 256, config: new Uint8Array() };
    assertEquals(scsi!.queues(profile).map(({ size }) => size), [64, 64, 128]);
    assertEquals([crypto!.id, crypto!.config.fixed], [20, Uint8Array.of(1, 2, 3)]);
    const plain = planAttach([], { ...ONE, virtioId: ["8"], queues: ["64"] }).devices[0]!.class;
    assertEquals([plain.config.max, plain.config.fixed], [0, new Uint8Array()]);
    const sized = { ...ONE, virtioId: ["8"], queues: ["64"], configSize: ["36"] };
    const { min, max, required } = planAttach([], sized).devices[0]!.class.config;
    assertEquals([min, max, required], [36, 36, true]);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("planAttach() refuses invalid devices of other classes", () => {
  const table: [AttachOptions, RegExp][] = [
    [{}, /no CLASS is given/],
    [{ queues: ["64"] }, /--queues without --virtio-id/],
    [{ config: ["x"] }, /--config without --virtio-id/],
    [{ virtioId: ["8"] }, /--queues is missing/],
    [{ virtioId: ["0"], queues: ["64"] }, /--virtio-id "0": expected a number from 1/],
    [
      { virtioId: ["25"], queues: ["64"] },
      /--virtio-id 25: that is class sound, expected viola attach sound/,
    ],
    [{ virtioId: ["8"], queues: ["63"] }, /--queues "63": it has a size of 63/],
    [{ virtioId: ["8"], queues: ["64;64"] }, /--queues "64;64": expected numbers/],
    [{ virtioId: ["8"], queues: [Array(65).fill("1").join()] }, /it has 65 queues/],
    [{ virtioId: ["8"], queues: ["64"], configSize: ["257"] }, /--config-size "257"/],
    [
      { virtioId: ["8"], queues: ["64"], config: ["/none"] },
      /--config \/none: .*ENOENT|os error 2/,
    ],
    [{ virtioId: ["8"], queues: ["64"], config: ["/dev/null"] }, /\/dev\/null: it is not a file/],
    [
      { virtioId: ["8"], queues: ["64"], config: ["x"], configSize: ["1"] },
      /both --config-size and --config/,
    ],
    [{ virtioId: ["8"], queues: ["1", "2"] }, /2 × --queues for 1 device/],
  ];
  for (const [options, message] of table) {
    const error = assertThrows(() => planAttach([], { ...ONE, ...options }), Failure);
    assertEquals(error.status, 1);
    assert(message.test(error.message), error.message);
  }
});
