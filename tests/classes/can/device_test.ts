// SPDX-License-Identifier: Apache-2.0
// A CAN controller at its queues. "CAN Device" is the chapter of that name in the draft of virtio 1.4.
import { assert, assertEquals } from "@std/assert";
import type { Bus } from "../../../lib/classes/can/bus.ts";
import { MOST_WAITING } from "../../../lib/classes/can/receiver.ts";
import {
  F_CAN_CLASSIC,
  F_CAN_FD,
  F_LATE_TX_ACK,
  F_RTR_FRAMES,
  RESULT_NOT_OK,
  RESULT_OK,
  VQ_TX,
} from "../../../lib/classes/can/wire.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { CanBench } from "./bench.ts";
import { FakeBus, frame, rtr, txBytes } from "./frames.ts";

const FD = { isFd: true };

Deno.test("a controller sends only while it is started", () => {
  using bench = new CanBench();
  const refused = bench.send(frame(1));
  assertEquals(bench.results(), [[refused, RESULT_NOT_OK]]);
  assertEquals(bench.start(), RESULT_OK);
  const sent = bench.send(frame(2));
  assertEquals(bench.results(), [[sent, RESULT_OK]]);
  assertEquals(bench.stop(), RESULT_OK);
  const late = bench.send(frame(3));
  assertEquals(bench.results(), [[late, RESULT_NOT_OK]]);
  assertEquals(bench.bus.sent, [frame(2)]);
  const { sent: count, notSent, state } = bench.counters;
  assertEquals([count, notSent, state], [1, 2, "stopped"]);
});

Deno.test("START of a started controller succeeds and connects once", () => {
  using bench = new CanBench();
  assertEquals([bench.stop(), bench.start(), bench.start()], [RESULT_OK, RESULT_OK, RESULT_OK]);
  assertEquals(bench.bus.connections, 1);
  assertEquals([bench.stop(), bench.stop()], [RESULT_OK, RESULT_OK]);
  assertEquals(bench.bus.events, null);
});

Deno.test("other control requests are refused", () => {
  using bench = new CanBench();
  for (const type of [0, 0x0200, 0x0203, 0xffff]) assertEquals(bench.control(type), RESULT_NOT_OK);
  bench.wiring.offer(2, 1, [Uint8Array.of(1)], [1]); // half a type
  assertEquals(bench.counters.state, "stopped");
});

Deno.test("START is refused when the bus cannot be used, and the reason reported", () => {
  using bench = new CanBench();
  bench.bus.problem = "the cable is cut";
  assertEquals(bench.start(), RESULT_NOT_OK);
  assertEquals(bench.told("error"), [
    "Cannot start the controller of fake0: the cable is cut",
  ]);
  bench.bus.problem = "";
  assertEquals(bench.start(), RESULT_OK);
});

Deno.test("kinds of frames that were not negotiated are neither sent nor received", () => {
  const kinds = { classic: frame(1), fd: frame(2, [], FD), rtr: rtr(3, 1) };
  const table: [features: bigint, names: (keyof typeof kinds)[]][] = [
    [bit(F_CAN_CLASSIC), ["classic"]],
    [bit(F_CAN_FD), ["fd"]],
    [bit(F_CAN_CLASSIC) | bit(F_RTR_FRAMES), ["classic", "rtr"]],
    [bit(F_CAN_CLASSIC) | bit(F_CAN_FD), ["classic", "fd"]],
    [0n, []],
  ];
  for (const [features, names] of table) {
    using bench = new CanBench({}, features);
    bench.start();
    bench.offer(5);
    for (const one of Object.values(kinds)) bench.send(one);
    bench.arrive(...Object.values(kinds));
    const expected = names.map((name) => kinds[name]);
    assertEquals(bench.bus.sent, expected);
    assertEquals(bench.received(), expected);
    const results = bench.results().map(([, result]) => result);
    assertEquals(results.filter((result) => result === RESULT_OK).length, names.length);
    assertEquals(bench.counters.ignored, 3 - names.length);
  }
});

Deno.test("FD frames are offered where the bus has them", () => {
  for (const hasFd of [true, false]) {
    const bus = new FakeBus();
    bus.hasFd = hasFd;
    using bench = new CanBench({}, 0n, bus);
    assertEquals((bench.bench.device.features & bit(F_CAN_FD)) !== 0n, hasFd);
  }
});

Deno.test("malformed transmit requests are refused", () => {
  using bench = new CanBench();
  bench.start();
  const bytes = txBytes(frame(1, [1, 2, 3]));
  const lies = [bytes.slice(0, 1), bytes.slice(0, 16), bytes.with(0, 2), bytes.with(2, 9)];
  for (const lie of lies) bench.sendBytes(lie);
  const results = bench.results().map(([, result]) => result);
  assertEquals(results, lies.map(() => RESULT_NOT_OK));
  assertEquals(bench.bus.sent, []);
});

Deno.test("with LATE_TX_ACK a frame is answered when it was sent, without it when it was accepted", () => {
  for (const isLate of [true, false]) {
    using bench = new CanBench({}, bit(F_CAN_CLASSIC) | (isLate ? bit(F_LATE_TX_ACK) : 0n));
    bench.bus.sending = "accepted";
    bench.start();
    const tokens = [bench.send(frame(1)), bench.send(frame(2)), bench.send(frame(3))];
    const answered = () => bench.results().map(([token, result]) => [token, result === RESULT_OK]);
    const all = tokens.map((token) => [token, true]);
    assertEquals(answered(), isLate ? [] : all);
    bench.bus.events!.sent(2);
    assertEquals(answered(), isLate ? all.slice(0, 2) : []);
    bench.bus.events!.failed();
    assertEquals(answered(), isLate ? [[tokens[2]!, false]] : []);
  }
});

Deno.test("frames wait for room in the bus, in their order, longer each time", () => {
  using bench = new CanBench();
  const { clock } = bench.bench;
  bench.start();
  bench.bus.sending = "full";
  let attempts = 0;
  bench.bus.onSend = () => attempts++;
  const tokens = Array.from({ length: 20 }, (_, i) => bench.send(frame(i)));
  assertEquals([attempts, bench.results()], [1, []]);
  clock.pass(1000);
  assert(attempts > 10 && attempts < 30, `${attempts} attempts in a second`);
  bench.bus.sending = "sent";
  clock.pass(64);
  assertEquals(bench.results(), tokens.map((token) => [token, RESULT_OK]));
  assertEquals(bench.bus.sent.map(({ id }) => id), tokens.map((_, i) => i));
});

Deno.test("frames that cannot be sent fail, and those after them are sent", () => {
  using bench = new CanBench();
  bench.start();
  bench.bus.sending = "failed";
  const failed = bench.send(frame(1));
  bench.bus.sending = "sent";
  const sent = bench.send(frame(2));
  assertEquals(bench.results(), [[failed, RESULT_NOT_OK], [sent, RESULT_OK]]);
});

Deno.test("STOP answers what was not sent", () => {
  using bench = new CanBench();
  bench.start();
  bench.bus.sending = "accepted";
  const accepted = bench.send(frame(1));
  bench.bus.sending = "full";
  const waiting = bench.send(frame(2));
  bench.stop();
  assertEquals(bench.results(), [[accepted, RESULT_NOT_OK], [waiting, RESULT_NOT_OK]]);
});

Deno.test("a frame that the bus still sends after its queue stopped is not taken for a later one", () => {
  for (const abandoned of [false, true]) {
    using bench = new CanBench();
    const { wiring, bench: { device } } = bench;
    bench.start();
    bench.bus.sending = "accepted";
    const first = bench.send(frame(1));
    device.stopRing(VQ_TX, abandoned);
    assertEquals(bench.results(), abandoned ? [] : [[first, RESULT_NOT_OK]]);
    device.startRing(wiring.rings[VQ_TX]!);
    const second = bench.send(frame(2));
    bench.bus.events!.sent(1);
    assertEquals(bench.results(), []);
    bench.bus.events!.sent(1);
    assertEquals(bench.results(), [[second, RESULT_OK]]);
  }
});

Deno.test("received frames wait for buffers, in their order", () => {
  using bench = new CanBench();
  bench.start();
  const frames = Array.from({ length: 100 }, (_, i) => frame(i, [i]));
  bench.arrive(...frames.slice(0, 50));
  assertEquals(bench.received(), []);
  bench.offer(50);
  assertEquals(bench.received(), frames.slice(0, 50));
  bench.arrive(...frames.slice(50));
  bench.offer(50);
  assertEquals(bench.received(), frames.slice(50));
  assertEquals([bench.counters.received, bench.counters.dropped], [100, 0]);
});

Deno.test("frames without a buffer for too long are dropped, counted and reported", () => {
  using bench = new CanBench();
  bench.start();
  const frames = Array.from({ length: MOST_WAITING + 7 }, (_, i) => frame(i & 0x7ff));
  bench.arrive(...frames);
  assertEquals(bench.told("dropped"), [
    "Received frames are dropped: the driver offers no buffers for them in time",
  ]);
  const received = [];
  for (let offered = 0; offered < MOST_WAITING; offered += 64) {
    bench.offer(64);
    received.push(...bench.received());
  }
  assertEquals(received, frames.slice(0, MOST_WAITING));
  assertEquals(bench.told("dropped").slice(1), ["7 received frames were dropped"]);
  assertEquals(bench.counters.dropped, 7);
});

Deno.test("a bus that can hold frames back does so while there is no room", () => {
  using bench = new CanBench();
  let resumed = 0;
  const bus: Bus = bench.bus;
  bus.resume = () => void resumed++;
  bench.start();
  bench.offer(1);
  resumed = 0;
  const isFull = () => bench.bus.events!.isFull();
  assertEquals(isFull(), false);
  bench.arrive(...Array.from({ length: MOST_WAITING / 2 + 1 }, (_, i) => frame(i)));
  assertEquals([isFull(), resumed], [true, 0]);
  bench.offer(1);
  assertEquals([isFull(), resumed], [false, 1]);
});

Deno.test("frames that the host lost count as dropped", () => {
  using bench = new CanBench();
  bench.start();
  bench.bus.events!.lost(3);
  bench.arrive();
  assertEquals(bench.told("dropped").at(-1), "3 received frames were dropped");
  assertEquals(bench.counters.dropped, 3);
});

Deno.test("a buffer that is too small for a frame comes back empty, and is reported", () => {
  using bench = new CanBench();
  bench.start();
  bench.offer(1, 17);
  bench.offer(1);
  bench.arrive(frame(1, [1, 2]), frame(2, [3, 4]));
  assertEquals(bench.received(), [null, frame(2, [3, 4])]);
  assert(bench.told("error")[0]!.includes("room for 17 bytes, expected 18"));
  assertEquals(bench.counters.dropped, 1);
});

Deno.test("filters pass the same frames as candump's", () => {
  using bench = new CanBench({ filters: ["100:700", "7ff:7ff"] });
  bench.start();
  bench.offer(10);
  bench.arrive(...[0x0ff, 0x100, 0x1ff, 0x200, 0x7fe, 0x7ff].map((id) => frame(id)));
  assertEquals(bench.received().map((one) => one!.id), [0x100, 0x1ff, 0x7ff]);
  assertEquals(bench.counters.ignored, 3);
});

Deno.test("bus-off: the driver is interrupted, frames come back, START recovers", () => {
  using bench = new CanBench();
  bench.start();
  assertEquals([bench.status, bench.bench.configChanges], [0, 0]);
  bench.bus.sending = "accepted";
  const sent = bench.send(frame(1));
  bench.bus.events!.busOff("too many errors");
  assertEquals([bench.status, bench.bench.configChanges], [1, 1]);
  const refused = bench.send(frame(2));
  assertEquals(bench.results(), [[sent, RESULT_NOT_OK], [refused, RESULT_NOT_OK]]);
  assertEquals(bench.bus.events, null);
  assertEquals(bench.told("state").at(-1), "too many errors");

  bench.bus.sending = "sent";
  assertEquals(bench.start(), RESULT_OK);
  assertEquals([bench.status, bench.bench.configChanges], [0, 2]);
  const later = bench.send(frame(3));
  assertEquals(bench.results(), [[later, RESULT_OK]]);
});

Deno.test("bus-off can be asked for, and ends with STOP and with a reset, too", () => {
  using bench = new CanBench();
  bench.bench.device.call("busOff", []);
  assertEquals(bench.counters.state, "stopped", "only a started controller becomes bus-off");
  for (const end of [() => bench.stop(), () => bench.bench.device.disconnected()]) {
    bench.bench.device.featuresAccepted(bit(F_CAN_CLASSIC));
    bench.start();
    bench.bench.device.call("busOff", []);
    assertEquals([bench.counters.state, bench.status], ["bus-off", 1]);
    end();
    assertEquals([bench.counters.state, bench.status], ["stopped", 0]);
  }
});

Deno.test("a bus that fails during a send leaves nothing open", () => {
  using bench = new CanBench();
  bench.start();
  bench.bus.sending = "failed";
  bench.bus.onSend = () => bench.bus.events!.busOff("the interface is gone");
  const tokens = [bench.send(frame(1))];
  assertEquals(bench.results(), tokens.map((token) => [token, RESULT_NOT_OK]));
  assertEquals(bench.counters, {
    state: "bus-off",
    ...{ sent: 0, notSent: 1, ignored: 0, received: 0, dropped: 0 },
  });
});

Deno.test("when the driver goes the controller is stopped", () => {
  using bench = new CanBench();
  bench.start();
  bench.arrive(frame(1));
  for (const index of [0, 1, 2]) bench.bench.device.stopRing(index, true);
  bench.bench.device.disconnected();
  assertEquals([bench.bus.events, bench.counters.state], [null, "stopped"]);
});
