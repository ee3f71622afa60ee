// SPDX-License-Identifier: Apache-2.0
// A network card at its queues. Sections are those of virtio 1.2.
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { net } from "../../../lib/classes/net/class.ts";
import { createNet, PATIENCE_NS } from "../../../lib/classes/net/device.ts";
import {
  checkNet,
  macOf,
  type NetCounters,
  type NetDeviceContract,
} from "../../../lib/classes/net/spec.ts";
import { F_MAC, F_MTU, F_STATUS } from "../../../lib/classes/net/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { DeviceBench } from "../../device/wiring.ts";
import { FakeLink, frame, MODERN, NetBench } from "./bench.ts";

const MAC = "02:11:22:33:44:55";

Deno.test("the config space has address, status and MTU", () => {
  using bench = new NetBench({ mac: MAC, mtu: 1400 });
  assertEquals(bench.config, [2, 0x11, 0x22, 0x33, 0x44, 0x55, 1, 0, 0, 0, 0x78, 5]);
  assertEquals(bench.bench.device.features & 0xff_ffffn, bit(F_MAC) | bit(F_MTU) | bit(F_STATUS));
});

Deno.test("frames are sent as they are, and come back with nothing written", () => {
  using bench = new NetBench();
  const tokens = [bench.send(frame(60)), bench.send(frame(1514)), bench.send(frame(14))];
  assertEquals(bench.returned(), tokens.map((token) => [token, 0]));
  assertEquals(bench.link.sent, [frame(60), frame(1514), frame(14)]);
  const inOne = bench.sendPieces([new Uint8Array([...new Uint8Array(12), ...frame(80, 1)])]);
  const head = bench.sendPieces([new Uint8Array(5), new Uint8Array(7), frame(80, 2)], [16]);
  assertEquals(bench.returned(), [[inOne, 0], [head, 0]]);
  assertEquals(bench.link.sent.slice(3), [frame(80, 1), frame(80, 2)]);
  assertEquals(bench.counters.sent, 5);
});

Deno.test("a header has 12 bytes, without VIRTIO_F_VERSION_1 10", () => {
  for (const features of [undefined, 0n]) {
    using bench = new NetBench({}, features);
    bench.send(frame());
    assertEquals(bench.returned().length, 1);
    assertEquals(bench.link.sent, [frame()]);
    bench.offer(1);
    bench.link.incoming.push(frame(70));
    const header = new Array<number>(10).fill(0).concat(features === 0n ? [] : [1, 0]);
    assertEquals(bench.received().map((bytes) => [...bytes]), [[...header, ...frame(70)]]);
  }
});

Deno.test("frames that ask for offloads are not sent, flags that are unknown are ignored", () => {
  using bench = new NetBench();
  for (const header of [[1], [0, 1], [0, 4], [0, 0x81], [3, 3]]) bench.send(frame(), header);
  assertEquals(bench.returned().length, 5);
  assertEquals(bench.link.sent, []);
  assertEquals(bench.counters.refused, 5);
  bench.send(frame(), [0xfe, 0, 9, 9, 9, 9, 9, 9, 9, 9, 7, 7]);
  assertEquals(bench.returned().length, 1);
  assertEquals(bench.link.sent, [frame()]);
});

Deno.test("frames that are too short or longer than the MTU are not sent", () => {
  using bench = new NetBench({ mtu: 100 });
  const tagged = (length: number) => frame(length).fill(0x81, 12, 13).fill(0, 13, 14);
  for (const one of [frame(13), frame(115), tagged(119), frame(4000)]) bench.send(one);
  bench.sendPieces([new Uint8Array(3)]);
  bench.sendPieces([], [20]);
  assertEquals(bench.returned().length, 6);
  assertEquals(bench.link.sent, []);
  for (const one of [frame(114), tagged(118)]) bench.send(one);
  assertEquals(bench.returned().length, 2);
  assertEquals(bench.link.sent, [frame(114), tagged(118)]);
  assertEquals(bench.counters.refused, 6);
});

Deno.test("frames that are longer than the MTU, or too short, do not reach the driver", () => {
  using bench = new NetBench({ mtu: 100 });
  bench.offer(3);
  bench.link.incoming.push(frame(115), frame(114), frame(13), frame(1518), frame(60));
  assertEquals(bench.received().map(({ length }) => length - 12), [114, 60]);
  assertEquals([bench.counters.received, bench.counters.dropped], [2, 3]);
});

Deno.test("received frames wait in the link until the driver offers buffers", () => {
  using bench = new NetBench();
  bench.link.incoming.push(frame(60, 1), frame(60, 2), frame(60, 3));
  assertEquals(bench.received(), []);
  bench.offer(1);
  assertEquals(bench.received().map((bytes) => bytes[12 + 14]), [1]);
  bench.offer(5);
  assertEquals(bench.received().map((bytes) => bytes[12 + 14]), [2, 3]);
  assertEquals(bench.counters.dropped, 0);
});

Deno.test("a buffer that is too small for a frame comes back empty, and the frame is lost", () => {
  using bench = new NetBench();
  bench.offer(1, 71);
  bench.offer(1, 72);
  bench.link.incoming.push(frame(60, 1), frame(60, 2));
  assertEquals(bench.received().map(({ length }) => length), [0, 72]);
  assertEquals(bench.counters.dropped, 1);
  assertEquals(bench.told("error").length + bench.told("notice").length, 1);
});

Deno.test("more frames than one turn takes are received in the next ones", () => {
  using bench = new NetBench();
  for (let i = 0; i < 600; i++) bench.link.incoming.push(frame(60, i & 0xff));
  const numbers: number[] = [];
  while (numbers.length < 600) {
    bench.offer(50);
    numbers.push(...bench.received().map((bytes) => bytes[12 + 14]!));
  }
  assertEquals(numbers, Array.from({ length: 600 }, (_, i) => i & 0xff));
});

Deno.test("a link that is full holds frames back for a second, then they are lost", () => {
  using bench = new NetBench();
  const { clock } = bench.bench;
  bench.link.sending = "full";
  const first = bench.send(frame(60, 1));
  const second = bench.send(frame(60, 2));
  assertEquals(bench.returned(), []);
  bench.link.sending = "sent";
  assertEquals(bench.returned(), [[first, 0], [second, 0]]);
  assertEquals(bench.link.sent, [frame(60, 1), frame(60, 2)]);
  bench.link.sending = "full";
  const third = bench.send(frame(60, 3));
  clock.pass(PATIENCE_NS / 1e6 - 1);
  assertEquals(bench.returned(), []);
  clock.pass(1);
  assertEquals(bench.returned(), [[third, 0]]);
  const fourth = bench.send(frame(60, 4));
  assertEquals(bench.returned(), [[fourth, 0]], "the link is still full");
  bench.link.sending = "sent";
  bench.send(frame(60, 5));
  assertEquals(bench.returned().length, 1);
  assertEquals([bench.counters.sent, bench.counters.lost], [3, 2]);
});

Deno.test("a queue that stops returns the frames that wait, one that is abandoned keeps them", () => {
  for (const abandoned of [false, true]) {
    using bench = new NetBench();
    bench.link.sending = "full";
    const token = bench.send(frame());
    assertEquals(bench.returned(), []);
    bench.bench.device.stopRing(1, abandoned);
    assertEquals(bench.returned(), abandoned ? [] : [[token, 0]]);
  }
});

Deno.test("the driver is told when the link goes up and down", () => {
  const link = new FakeLink();
  link.isUp = false;
  using bench = new NetBench({}, undefined, link);
  const status = () => bench.config.slice(6, 8);
  assertEquals([status(), bench.bench.configChanges], [[0, 0], 0]);
  for (const [i, isUp] of [true, false, true].entries()) {
    link.isUp = isUp;
    bench.bench.device.turn();
    assertEquals([status(), bench.bench.configChanges], [[Number(isUp), 0], i + 1]);
  }
  assertEquals(bench.told("link"), [
    "The link of fake0 is up",
    "The link of fake0 is down",
    "The link of fake0 is up",
  ]);
});

Deno.test("a card is connected from when the driver is there until its life ends", () => {
  const link = new FakeLink();
  const bench = new NetBench({}, undefined, link);
  assertEquals(link.connections, 1);
  bench.bench.device.featuresAccepted(0n);
  assertEquals(link.connections, 1);
  bench[Symbol.dispose]();
  assertEquals([link.connections, bench.config[6]], [0, 0]);
});

Deno.test("a link that is kept is connected before there is a driver, and until the device ends", () => {
  const link = new FakeLink();
  link.isKept = true;
  using bench = new DeviceBench<NetDeviceContract>({
    deviceClass: net,
    check: () => {},
    create: (spec, host) => createNet(spec, host, link),
  }, {});
  const { device } = bench;
  assertEquals([link.connections, bench.events], [1, []]);
  for (let life = 1; life <= 2; life++) {
    // What came while there was no driver is not for the next one.
    link.incoming.push(frame(60, 1), frame(60, 2));
    device.turn();
    device.featuresAccepted(MODERN);
    assertEquals([link.connections, link.incoming.length], [1, 0]);
    assertEquals((device.call("counters", []) as NetCounters).dropped, 2 * life);
    device.disconnected();
    assertEquals([link.connections, device.readConfig()[6]], [1, 1]);
  }
  link.isUp = false;
  device.disconnected();
  assertEquals(link.connections, 0);
  device.featuresAccepted(MODERN);
  assertEquals(link.connections, 1);
  device.close();
  assertEquals(link.connections, 0);
});

Deno.test("a link that cannot be used is reported, and frames are lost", () => {
  const link = new FakeLink();
  link.problem = "the cable is cut";
  using bench = new NetBench({}, undefined, link);
  assertEquals(bench.told("error"), ["Cannot connect the card to fake0: the cable is cut"]);
  bench.send(frame());
  assertEquals(bench.returned().length, 1);
  assertEquals([bench.counters.lost, bench.config[6]], [1, 0]);
});

Deno.test("invalid options are refused", () => {
  for (
    const spec of [
      { tap: "tap0", cable: "a" },
      { tap: "a/b" },
      { tap: "sixteen-letters-" },
      { cable: "../a" },
      { cable: "" },
      { mac: "01:00:00:00:00:01" },
      { mac: "00:00:00:00:00:00" },
      { mac: "02:00:00:00:01" },
      { mtu: 67 },
      { mtu: 65536 },
      { mtu: 1500.5 },
    ]
  ) assertThrows(() => checkNet(spec), SpecError);
  checkNet({ tap: "tap0", mac: MAC, mtu: 68 });
  checkNet({ cable: "body", mtu: 65535 });
});

Deno.test("an address that is not given is a single card's own, the same for the same socket", () => {
  const [a, b] = [macOf({}, "/run/net0.sock"), macOf({}, "/run/net1.sock")];
  assertEquals(macOf({}, "/run/net0.sock"), a);
  assertNotEquals(a, b);
  assertNotEquals(macOf({}, null), macOf({}, null));
  for (const mac of [a, b, macOf({}, null)]) assertEquals(mac[0]! & 3, 2);
});
