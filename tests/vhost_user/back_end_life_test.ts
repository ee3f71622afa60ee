// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { EventFd, Fd, OsError, signalEvent, UnixSocket, Watches } from "../../ffi/mod.ts";
import { BackEndServer } from "../../lib/vhost_user/back_end.ts";
import { MessageReader } from "../../lib/vhost_user/framing.ts";
import { encodeMessage } from "../../lib/vhost_user/messages.ts";
import { until } from "../support/process.ts";
import { Driver, EchoDevice, openDescriptors, SocketFolder } from "./harness.ts";
import { Bench, mappings, type Raw, table } from "./back_end_fixture.ts";

Deno.test("one front-end after another; a second one waits until the first is gone", async () => {
  await using bench = new Bench();
  const first = bench.raw();
  assertEquals(await first.ask("GET_FEATURES", undefined), "0000004001000000");
  const second = bench.raw();
  second.tell("GET_FEATURES", undefined);
  assertEquals(await first.ask("GET_FEATURES", undefined), "0000004001000000");
  assertEquals(second.socket.receive(new Uint8Array(1), 0, 1).length, -11);
  first.socket.close();
  assertEquals(await second.reply(), "0000004001000000");
  const kinds = bench.events.map(({ kind }) => kind);
  assertEquals(kinds, ["listening", "connected", "notice", "disconnected", "connected"]);
  assertEquals(
    bench.events[2]!.text,
    "A front-end waits for echo, which serves another: one at a time",
  );
});

Deno.test("front-ends that came together are reported, and served one by one", async () => {
  await using bench = new Bench();
  const raws = [bench.raw(), bench.raw(), bench.raw()];
  for (const raw of raws) {
    assertEquals(await raw.ask("GET_FEATURES", undefined), "0000004001000000");
    raw.socket.close();
  }
  await bench.allGone();
  const kinds = bench.events.map(({ kind }) => kind);
  assertEquals(kinds.filter((kind) => kind === "connected").length, 3);
  assertEquals(kinds.filter((kind) => kind === "notice").length, 2);
});

for (
  const [name, bytes, said] of [
    ["3 bytes", Uint8Array.of(1, 0, 0), "3 of 12 bytes"],
    [
      "a header without its payload",
      encodeMessage(2, 0x1, new Uint8Array(8)).slice(0, 12),
      "12 of 20",
    ],
    ["all but a byte", encodeMessage(2, 0x1, new Uint8Array(8)).slice(0, 19), "19 of 20 bytes"],
  ] as const
) {
  Deno.test(`a front-end that sends ${name} and no more is disconnected, and the next is served`, async () => {
    await using bench = new Bench();
    const raw = await bench.agreed();
    const next = bench.raw();
    next.tell("GET_FEATURES", undefined);
    using given = EventFd.create();
    raw.send(bytes, [given.number]);
    await until(() => bench.clock.alarm < Infinity, "the deadline");
    bench.clock.pass(4999);
    assertEquals(bench.errors, []);
    bench.clock.pass(1);
    assertEquals(bench.errors.length, 1);
    assert(bench.errors[0]!.includes(said), bench.errors[0]);
    assert(bench.errors[0]!.endsWith("came within 5 s, expected all"), bench.errors[0]);
    assertEquals(await next.reply(), "0000004001000000");
  });
}

Deno.test("each message has one deadline, which later bytes do not extend", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  const message = encodeMessage(1, 0x1, new Uint8Array());
  for (let i = 0; i < 3; i++) {
    raw.send(message.slice(0, 5));
    await until(() => bench.clock.alarm < Infinity, "the deadline");
    bench.clock.pass(4000);
    raw.send(message.slice(5));
    assertEquals(await raw.reply(), "0000004001000000");
    assertEquals(bench.clock.alarm, Infinity);
    bench.clock.pass(60_000); // silence between messages is no fault
  }
  for (const byte of message.slice(0, 4)) {
    raw.send(Uint8Array.of(byte));
    await until(() => bench.clock.alarm < Infinity, "the deadline");
    bench.clock.pass(1000);
  }
  assertEquals(bench.errors, []);
  bench.clock.pass(1000);
  assertEquals(bench.errors.length, 1);
});

/** A front-end with two rings of which the device drains the first slowly, and what comes of it. */
async function whileDraining(
  test: (bench: Bench, raw: Raw, driver: Driver) => Promise<void>,
): Promise<void> {
  const before = openDescriptors();
  {
    await using bench = new Bench();
    const raw = await bench.agreed();
    using driver = new Driver(2);
    for (const index of [0, 1]) await raw.ring(driver, index);
    bench.device.slow.add(0);
    bench.device.log.length = 0;
    await test(bench, raw, driver);
  }
  assertEquals(openDescriptors(), before);
}

Deno.test("a ring stops when the device has completed its chains: other rings are served, later messages wait", () =>
  whileDraining(async (bench, raw, driver) => {
    const { device, reactor } = bench;
    raw.tell("GET_VRING_BASE", { index: 0, num: 0 });
    raw.tell("GET_QUEUE_NUM", undefined);
    await until(() => device.log.length > 0, "the drain");
    driver.offer(1, "meanwhile");
    signalEvent(driver.kicks[1]!.number);
    assertEquals(await driver.answer(1, reactor), "meanwhile");
    assertEquals(device.log, ["drain 0"], "asked once, and not stopped");
    device.finishDrain(0);
    assertEquals(await raw.reply(), "0000000000000000", "where the ring stopped");
    assertEquals(await raw.reply(), "0400000000000000", "then the next message's reply");
    assertEquals(device.log, ["drain 0", "stop 0"]);
  }));

Deno.test("each message that stops rings has them drained first", async () => {
  const messages: [(raw: Raw, driver: Driver) => void, string[]][] = [
    [(raw) => raw.tell("SET_VRING_ENABLE", { index: 0, num: 0 }, [], 0x9), ["stop 0"]],
    [
      (raw, driver) => raw.tell("SET_MEM_TABLE", table(driver), [driver.fd.number], 0x9),
      ["stop 0", "stop 1", "start 0", "start 1"],
    ],
    [
      (raw) => raw.tell("RESET_DEVICE", undefined, [], 0x9),
      ["stop 0", "stop 1", "disconnected, 0 rings left"],
    ],
  ];
  for (const [tell, then] of messages) {
    await whileDraining(async ({ device }, raw, driver) => {
      tell(raw, driver);
      await until(() => device.log.length > 0, "the drain");
      device.finishDrain(0);
      assertEquals(await raw.reply(), "0000000000000000");
      assertEquals(device.log, ["drain 0", ...then]);
    });
  }
});

Deno.test("a front-end that goes while a ring is drained abandons it", () =>
  whileDraining(async (bench, raw, driver) => {
    const { device } = bench;
    raw.tell("SET_MEM_TABLE", table(driver), [driver.fd.number]);
    await until(() => device.log.length > 0, "the drain");
    raw.socket.close();
    await until(() => bench.events.at(-1)!.kind === "disconnected", "the end");
    const gone = ["abandon 0", "abandon 1", "disconnected, 0 rings left"];
    assertEquals([device.log, bench.errors], [["drain 0", ...gone], []]);
  }));

Deno.test("close() in the middle stops, unmaps and closes everything, and removes the socket", async () => {
  const before = openDescriptors();
  {
    await using bench = new Bench();
    const raw = await bench.agreed();
    using driver = new Driver(2);
    await raw.ring(driver, 0);
    const maps = mappings();
    bench.server.close();
    bench.server.close();
    assertEquals(mappings(), maps - 1);
    assertEquals(await raw.reply(), "lost");
    assertThrows(() => Deno.statSync(bench.path), Deno.errors.NotFound);
    assertEquals(bench.device.log.slice(-2), ["abandon 0", "disconnected, 0 rings left"]);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("a server also runs in a blocking loop", () => {
  using folder = new SocketFolder();
  using watches = new Watches();
  using _server = new BackEndServer(watches, folder.socket("device"), new EchoDevice());
  using socket = UnixSocket.connect(folder.socket("device"));
  const request = encodeMessage(1, 0x1, new Uint8Array());
  socket.send(request, 0, request.length);
  const reader = new MessageReader(socket, "replies", "the server");
  let reply = reader.next();
  for (; reply === null; reply = reader.next()) watches.dispatch(watches.epoll.wait(-1));
  assertEquals(reply.body.toHex(), "0000004001000000");
});

Deno.test("a socket in use is refused", async () => {
  await using bench = new Bench();
  const error = assertThrows(
    () => new BackEndServer(bench.reactor, bench.path, bench.device),
    OsError,
  );
  assertEquals(error.code, "EADDRINUSE");
});

Deno.test("memory that the front-end can cut short is used, and a notice says what that can do", async () => {
  await using bench = new Bench();
  using driver = new Driver(1);
  const path = bench.folder.socket("memory");
  Deno.writeFileSync(path, new Uint8Array(2 ** 16));
  using plain = Fd.open(path, 2);
  const raw = await bench.agreed();
  const notices = () => bench.events.filter(({ kind }) => kind === "notice").map((e) => e.text);
  assertEquals(await raw.ask("SET_MEM_TABLE", table(driver), [plain.number]), "0000000000000000");
  assertEquals(notices().length, 1);
  assertMatch(notices()[0]!, /^Memory region 0 of the front-end of echo is not sealed/);
  assertEquals(await raw.ask("SET_MEM_TABLE", table(driver), [plain.number]), "0000000000000000");
  assertEquals(notices().length, 1);
  raw.socket.close();
  await bench.allGone();
  const next = await bench.agreed(); // a memfd that is sealed
  assertEquals(
    await next.ask("SET_MEM_TABLE", table(driver), [driver.fd.number]),
    "0000000000000000",
  );
  assertEquals(notices().length, 1);
});

Deno.test("in-flight memory that the front-end can cut short is refused", async () => {
  await using bench = new Bench();
  const path = bench.folder.socket("inflight");
  Deno.writeFileSync(path, new Uint8Array(2 ** 16));
  using plain = Fd.open(path, 2);
  const raw = await bench.agreed();
  const inflight = { size: 2n ** 16n, offset: 0n, queues: 1, queueSize: 16 };
  assertEquals(await raw.ask("SET_INFLIGHT_FD", inflight, [plain.number]), "0100000000000000");
  assertMatch(bench.errors[0]!, /SET_INFLIGHT_FD.*not sealed against shrinking/);
});
