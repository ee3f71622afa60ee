// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { EventFd, signalEvent, takeEvent, UnixSocket } from "../../ffi/mod.ts";
import { MessageReader } from "../../lib/vhost_user/framing.ts";
import { BACK_END_MESSAGES, encodeMessage } from "../../lib/vhost_user/messages.ts";
import { Driver, openDescriptors, rung, VERSION_1 } from "./harness.ts";
import { until } from "../support/process.ts";
import { ALL, Bench, table } from "./back_end_fixture.ts";

// ---- what it does ----

Deno.test("the back-end offers features with bit 30, protocol features, queues and config space", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  assertEquals(await raw.ask("GET_FEATURES", undefined), "0000004001000000");
  assertEquals(await raw.ask("GET_PROTOCOL_FEATURES", undefined), "2932000000000000");
  raw.tell("SET_PROTOCOL_FEATURES", ALL);
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
  const config = { offset: 2, flags: 0, data: new Uint8Array(3) };
  assertEquals(await raw.ask("GET_CONFIG", config), "020000000300000000000000020304");
  assertEquals(
    await raw.ask("SET_CONFIG", { ...config, data: Uint8Array.of(9) }),
    "0000000000000000",
  );
  assertEquals(bench.device.config[2], 9);
});

Deno.test("a device without config space offers neither CONFIG nor a channel", async () => {
  await using bench = new Bench();
  bench.device.config = new Uint8Array();
  assertEquals(await bench.raw().ask("GET_PROTOCOL_FEATURES", undefined), "0930000000000000");
});

Deno.test("a read outside the config space gets an empty reply, and the session continues", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  assertEquals(await raw.ask("GET_CONFIG", { offset: 1, flags: 0, data: new Uint8Array(12) }), "");
  assertEquals(
    await raw.ask("GET_CONFIG", { offset: 0xffffffff, flags: 0, data: new Uint8Array(1) }),
    "",
  );
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
});

Deno.test("writes to a config space that cannot be written are ignored", async () => {
  await using bench = new Bench();
  Object.assign(bench.device, { writeConfig: undefined });
  const raw = await bench.agreed();
  const write = { offset: 0, flags: 0, data: Uint8Array.of(9) };
  assertEquals(await raw.ask("SET_CONFIG", write), "0000000000000000");
  assertEquals(bench.device.config[0], 0);
});

Deno.test("acknowledgements are sent once agreed on, and only if asked for", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  raw.tell("SET_OWNER", undefined, [], 0x9); // not agreed on: not answered
  assertEquals(await raw.ask("GET_FEATURES", undefined), "0000004001000000");
  raw.tell("SET_PROTOCOL_FEATURES", ALL);
  raw.tell("RESET_OWNER", undefined);
  assertEquals(await raw.ask("SET_OWNER", undefined), "0000000000000000");
});

Deno.test("a message in two halves is served once it is whole; others are served meanwhile", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  const message = encodeMessage(1, 0x1, new Uint8Array());
  raw.send(message.slice(0, 5));
  using event = EventFd.create();
  signalEvent(event.number);
  await rung(event, bench.reactor); // the loop is not held up
  raw.send(message.slice(5));
  assertEquals(await raw.reply(), "0000004001000000");
});

Deno.test("a ring runs when it is started and enabled, in either order", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(2);
  await raw.ring(driver, 0, ["SET_VRING_KICK"]);
  await raw.ring(driver, 1, ["SET_VRING_ENABLE", "SET_MEM_TABLE"]);
  const started = (): string[] => bench.device.log.filter((line) => !line.startsWith("features"));
  assertEquals(started(), []);
  const kick = driver.rings()[0]!.kick;
  await raw.ask("SET_VRING_KICK", { index: 0, noFd: false }, [kick]);
  await raw.ask("SET_VRING_ENABLE", { index: 1, num: 1 });
  assertEquals(started(), ["start 0", "start 1"]);
  await raw.ask("SET_VRING_ENABLE", { index: 0, num: 0 });
  await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 });
  assertEquals(started(), ["start 0", "start 1", "stop 0", "start 0"]);
});

Deno.test("without bit 30 rings are enabled from the start", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  await raw.ask("SET_FEATURES", VERSION_1);
  using driver = new Driver(1);
  await raw.ring(driver, 0, ["SET_VRING_ENABLE"]);
  assertEquals(bench.device.log.at(-1), "start 0");
});

Deno.test("kicks that came before the ring was enabled are not lost", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0, ["SET_VRING_ENABLE"]);
  driver.offer(0, "early");
  signalEvent(driver.kicks[0]!.number);
  await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 });
  assertEquals(await driver.answer(0, bench.reactor), "early");
});

Deno.test("the kick eventfd is never read, and every kick is seen", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  for (const text of ["one", "two", "three"]) {
    driver.offer(0, text);
    signalEvent(driver.kicks[0]!.number);
    assertEquals(await driver.answer(0, bench.reactor), text);
  }
  assertEquals(takeEvent(driver.kicks[0]!.number), 3);
});

Deno.test("GET_VRING_BASE stops the ring, tells where, and forgets its eventfds", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1, 65535);
  await raw.ring(driver, 0);
  for (const text of ["one", "two"]) {
    driver.offer(0, text);
    signalEvent(driver.kicks[0]!.number);
    await driver.answer(0, bench.reactor);
  }
  const before = openDescriptors();
  assertEquals(await raw.ask("GET_VRING_BASE", { index: 0, num: 0 }), "0000000001000000");
  assertEquals(openDescriptors(), before - 2);
  assertEquals(await raw.ask("GET_VRING_BASE", { index: 0, num: 0 }), "0000000001000000");
  assertEquals(bench.device.log.filter((line) => line === "stop 0").length, 1);
});

Deno.test("a replaced call eventfd is signalled at once, and from then on", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  using second = EventFd.create();
  await raw.ask("SET_VRING_CALL", { index: 0, noFd: false }, [second.number]);
  assertEquals(takeEvent(second.number), 1);
  driver.offer(0, "x");
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await rung(second, bench.reactor), 1);
  assertEquals(takeEvent(driver.calls[0]!.number), 0);
  await raw.ask("SET_VRING_CALL", { index: 0, noFd: true });
  assertEquals(takeEvent(second.number), 0);
});

Deno.test("a replaced kick eventfd is watched instead of the old one", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  using second = EventFd.create();
  await raw.ask("SET_VRING_KICK", { index: 0, noFd: false }, [second.number]);
  driver.offer(0, "x");
  signalEvent(second.number);
  assertEquals(await driver.answer(0, bench.reactor), "x");
});

Deno.test("a new memory table while rings run: they stop, and start again in it", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  driver.offer(0, "before");
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await driver.answer(0, bench.reactor), "before");
  await raw.ask("SET_MEM_TABLE", table(driver), [driver.fd.number]);
  assertEquals(bench.device.log.slice(-3), ["start 0", "stop 0", "start 0"]);
  driver.offer(0, "after");
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await driver.answer(0, bench.reactor), "after");
});

Deno.test("RESET_DEVICE stops and disables all rings, and resets the device", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(2);
  await raw.ring(driver, 0);
  await raw.ring(driver, 1, ["SET_MEM_TABLE"]);
  assertEquals(await raw.ask("RESET_DEVICE", undefined), "0000000000000000");
  assertEquals(bench.device.log.slice(-3), ["stop 0", "stop 1", "disconnected, 0 rings left"]);
  await raw.ring(driver, 0, ["SET_MEM_TABLE", "SET_VRING_ENABLE"]);
  assertEquals(bench.device.log.at(-1), "disconnected, 0 rings left");
  await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 });
  assertEquals(bench.device.log.at(-1), "start 0");
});

Deno.test("the channel carries CONFIG_CHANGE_MSG, and a blocking or full one blocks nothing", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  bench.server.configChanged(); // nobody listens: nothing happens
  const [ours, theirs] = UnixSocket.pair();
  await raw.ask("SET_BACKEND_REQ_FD", undefined, [theirs.number]);
  theirs.close();
  bench.server.configChanged();
  const reader = new MessageReader(ours, "requests", "the device");
  const { request } = BACK_END_MESSAGES.CONFIG_CHANGE_MSG;
  assertEquals(reader.next(), { request, flags: 1, body: new Uint8Array(), fds: [] });
  for (let i = 0; i < 10_000 && bench.errors.length === 0; i++) bench.server.configChanged();
  assertEquals(bench.errors.length, 1);
  ours.close();
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
});

Deno.test("a ring without a kick eventfd is polled", async () => {
  await using bench = new Bench();
  using driver = new Driver(1);
  const raw = await bench.agreed();
  await raw.ring(driver, 0, ["SET_VRING_KICK", "SET_VRING_ENABLE"]);
  assertEquals(await raw.ask("SET_VRING_KICK", { index: 0, noFd: true }), "0000000000000000");
  assertEquals(await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 }), "0000000000000000");
  for (const text of ["one", "two", "three"]) {
    driver.offer(0, text); // and nothing signals it
    assertEquals(await driver.answer(0, bench.reactor), text);
  }
  assertEquals(await raw.ask("GET_VRING_BASE", { index: 0, num: 0 }), "0000000003000000");
  driver.offer(0, "four");
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
  assertEquals(driver.usedIdx(0), 3);
});

Deno.test("a ring without a call eventfd is served, and nothing is signalled", async () => {
  await using bench = new Bench();
  using driver = new Driver(1);
  const raw = await bench.agreed();
  await raw.ring(driver, 0, ["SET_VRING_CALL"]);
  assertEquals(await raw.ask("SET_VRING_CALL", { index: 0, noFd: true }), "0000000000000000");
  driver.offer(0, "quiet");
  signalEvent(driver.kicks[0]!.number);
  await until(() => driver.usedIdx(0) === 1, "the answer");
  assertEquals(takeEvent(driver.calls[0]!.number), 0);
});
