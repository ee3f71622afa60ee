// SPDX-License-Identifier: Apache-2.0
// An input device of the host as the source of events: its node is played by the test.
import { assertEquals, assertThrows } from "@std/assert";
import { device as role } from "../../../lib/classes/input/device.ts";
import { openEvdev, RETRY_NS } from "../../../lib/classes/input/evdev.ts";
import { encodeEvent } from "../../../lib/classes/input/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { ABS, DROPPED, FakeHost, HostBench, KEY, LED, REL, REP, SYN, type Triple } from "./host.ts";

const BEGIN = ["3 0 7", "0 0 0"];

Deno.test("input: a device of the host is what the kernel says of it", () => {
  const host = new FakeHost();
  assertEquals(openEvdev("/dev/input/event7", (() => host.open()) as never), {
    name: "Maus ü",
    serial: "",
    ids: { bustype: 3, vendor: 0x1234, product: 2, version: 0x100 },
    properties: [1],
    codes: new Map([[KEY, [30, 0x110]], [REL, [0, 1]], [ABS, [0]], [LED, [0]]]),
    axes: new Map([[0, { min: -5, max: 300, fuzz: 1, flat: 2, res: 3 }]]),
  });
  assertEquals(host.isOpen, false);
});

Deno.test("input: what is no device of the host is refused, with what to try", () => {
  for (const [evdev, text] of [["/dev/null", "ENOTTY"], ["/dev/input/none", "ENOENT"]] as const) {
    assertThrows(() => role.check({ evdev }), SpecError, text);
    assertThrows(() => role.check({ evdev }), SpecError, "/proc/bus/input/devices lists");
  }
  assertThrows(() => role.check({ evdev: "/dev/null", events: "f" }), SpecError, "one of them");
  assertThrows(() => role.check({ grab: "no" }), SpecError, "expected evdev too");
});

Deno.test("input: events of the host go to the driver, while there is one", () => {
  using bench = new HostBench();
  assertEquals(bench.host.isOpen, false);
  bench.begin();
  assertEquals([bench.host.isGrabbed, bench.received()], [true, BEGIN]);
  bench.host.events = [[KEY, 30, 1], [REL, 0, -3], [LED, 0, 1], [REP, 0, 1], [KEY, 99, 1], [
    SYN,
    0,
    0,
  ]];
  assertEquals(bench.received(), ["1 30 1", "2 0 -3", "0 0 0"]);
  bench.host.events = [[KEY, 30, 2], [SYN, 0, 0], [KEY, 30, 0], [SYN, 0, 0]];
  assertEquals(bench.received(), ["1 30 2", "0 0 0", "1 30 0", "0 0 0"]);
  bench.end();
  assertEquals([bench.host.isOpen, bench.bench.clock.alarm], [false, Infinity]);
  using shared = new HostBench(false).begin();
  assertEquals([shared.host.isOpen, shared.host.isGrabbed], [true, false]);
});

Deno.test("input: a driver is told what is pressed when it comes, and a second one too", () => {
  using bench = new HostBench();
  bench.host.pressed = [30];
  for (let life = 0; life < 2; life++) {
    assertEquals(bench.begin(10).received(), ["1 30 1", ...BEGIN]);
    bench.end();
    assertEquals(bench.received(), [], "the other buffers come back empty");
  }
});

Deno.test("input: events that the kernel had no room for are made up for", () => {
  using bench = new HostBench().begin();
  bench.host.events = [[KEY, 30, 1], [SYN, 0, 0]];
  assertEquals(bench.received(), [...BEGIN, "1 30 1", "0 0 0"]);
  bench.host.pressed = [0x110];
  bench.host.position = 100;
  bench.host.events = [[REL, 1, 1], [SYN, DROPPED, 0], [KEY, 30, 2], [SYN, 0, 0], [REL, 1, 5], [
    SYN,
    0,
    0,
  ]];
  assertEquals(bench.received(), [
    "2 1 1",
    ...["1 30 0", "1 272 1", "3 0 100", "0 0 0"],
    ...["2 1 5", "0 0 0"],
  ]);
});

Deno.test("input: events stay with the kernel while the driver has no buffers, and none is lost", () => {
  using bench = new HostBench().begin(2);
  assertEquals(bench.received(), BEGIN);
  bench.host.events = Array.from({ length: 200 }, (_, i) => [REL, 0, i] as Triple);
  assertEquals(bench.received(), []);
  assertEquals(bench.host.events.length, 200 - 64);
  const all: string[] = [];
  for (let i = 0; i < 5; i++) {
    bench.offer(50);
    all.push(...bench.received());
  }
  assertEquals(all, Array.from({ length: 200 }, (_, i) => `2 0 ${i}`));
  assertEquals(bench.bench.clock.alarm, Infinity);
});

Deno.test("input: LEDs that the driver sets are set on the host, and nothing else is", () => {
  using bench = new HostBench().begin();
  const set = (type: number, code: number) => {
    const bytes = new Uint8Array(8);
    encodeEvent(new DataView(bytes.buffer), { type, code, value: 1 });
    bench.wiring.offer(1, 1, [bytes], []);
    bench.wiring.queues[1]!.take();
  };
  for (const [type, code] of [[LED, 0], [LED, 1], [KEY, 30], [SYN, 0]] as const) set(type, code);
  assertEquals(bench.host.written, ["17 0 1"]);
});

Deno.test("input: of a device that is unplugged nothing stays pressed, and it is used when it is back", () => {
  using bench = new HostBench().begin();
  const { host, bench: { clock } } = bench;
  host.events = [[KEY, 30, 1], [SYN, 0, 0]];
  bench.received();
  host.failure = -19;
  assertEquals(bench.received(), ["1 30 0", "0 0 0"]);
  assertEquals(bench.reported("error"), [
    "Cannot read from /dev/input/event7: no such device (ENODEV)",
  ]);
  assertEquals(host.isOpen, false);
  host.failure = 0;
  host.name = "another";
  clock.pass(RETRY_NS / 1e6);
  assertEquals([host.isOpen, bench.received()], [false, []], "another device is not used");
  host.name = "Maus ü";
  clock.pass(RETRY_NS / 1e6);
  assertEquals([host.isOpen, bench.received()], [true, BEGIN]);
  assertEquals(bench.reported("error").length, 1);
  assertEquals(bench.reported("notice"), ["/dev/input/event7 is used again"]);
});

Deno.test("input: a device that somebody else has is waited for, and that is told once", () => {
  using bench = new HostBench();
  bench.host.isBusy = true;
  bench.begin();
  bench.bench.clock.pass(5 * RETRY_NS / 1e6);
  assertEquals(bench.reported("error"), [
    "Cannot take /dev/input/event7 for itself: device or resource busy (EBUSY)",
  ]);
  bench.host.isBusy = false;
  bench.bench.clock.pass(RETRY_NS / 1e6);
  assertEquals([bench.host.isGrabbed, bench.received()], [true, BEGIN]);
});
