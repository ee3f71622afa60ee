// SPDX-License-Identifier: Apache-2.0
import { connectWithBackoff } from "../../lib/vhost_user/connect.ts";
import { turn } from "../support/fake_time.ts";
import { HostileBackEnd } from "./hostile_back_end.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { takeEvent } from "../../ffi/mod.ts";
import { protocolFeatures } from "../../lib/vhost_user/messages.ts";
import { deviceClassByName } from "../../lib/classes/mod.ts";
import { Driver, RNG, VERSION_1 } from "./harness.ts";
import { Bench, converse } from "./front_end_fixture.ts";

Deno.test("messages go out in the order of the standard front-ends, acknowledged", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(2);
  await converse(bench.front, driver);
  const ring = ["NUM 9", "BASE 9", "ADDR 9", "CALL 9 +1", "KICK 9 +1"]
    .map((message) => `SET_VRING_${message}`);
  assertEquals(bench.back.log, [
    "GET_FEATURES 1",
    "GET_PROTOCOL_FEATURES 1",
    "SET_PROTOCOL_FEATURES 1",
    "GET_QUEUE_NUM 1",
    "SET_OWNER 9",
    "SET_BACKEND_REQ_FD 9 +1",
    "GET_CONFIG 1",
    "GET_CONFIG 1",
    "SET_CONFIG 9",
    "SET_FEATURES 9",
    "SET_MEM_TABLE 9 +1",
    ...ring,
    ...ring,
    "SET_VRING_ENABLE 9",
    "SET_VRING_ENABLE 9",
    "SET_VRING_ENABLE 9",
    "SET_VRING_ENABLE 9",
    "GET_VRING_BASE 1",
    "GET_VRING_BASE 1",
    "RESET_DEVICE 9",
  ]);
});

Deno.test("without REPLY_ACK nothing asks for it, and GET_FEATURES is the barrier", async () => {
  await using bench = await Bench.create({ protocolFeatures: protocolFeatures("MQ", "CONFIG") });
  using driver = new Driver(1);
  await converse(bench.front, driver);
  assertEquals(await bench.front.resetDevice(), false);
  assertEquals(bench.back.log.slice(3), [
    "GET_QUEUE_NUM 1",
    "SET_OWNER 1",
    "GET_CONFIG 1",
    "GET_CONFIG 1",
    "SET_CONFIG 1",
    "SET_FEATURES 1",
    "SET_MEM_TABLE 1 +1",
    "SET_VRING_NUM 1",
    "SET_VRING_BASE 1",
    "SET_VRING_ADDR 1",
    "SET_VRING_CALL 1 +1",
    "SET_VRING_KICK 1 +1",
    "SET_VRING_ENABLE 1",
    "GET_FEATURES 1",
    "SET_VRING_ENABLE 1",
    "GET_FEATURES 1",
    "GET_VRING_BASE 1",
  ]);
});

Deno.test("a back-end without protocol features gets no message that needs them", async () => {
  await using bench = await Bench.create({ features: VERSION_1 }, { deviceClass: RNG });
  using driver = new Driver(1);
  const profile = await bench.front.initialise();
  assertEquals([profile.protocolFeatures, profile.queueCount, profile.config.length], [0n, 1, 0]);
  await bench.front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  await bench.front.stop();
  assertEquals(bench.back.log.map((line) => line.split(" ")[0]), [
    "GET_FEATURES",
    "SET_OWNER",
    "SET_FEATURES",
    "SET_MEM_TABLE",
    "SET_VRING_NUM",
    "SET_VRING_BASE",
    "SET_VRING_ADDR",
    "SET_VRING_CALL",
    "SET_VRING_KICK",
    "GET_FEATURES",
    "GET_FEATURES",
    "GET_VRING_BASE",
  ]);
});

Deno.test("a class counts its queues in pairs, and may do without a config space", async () => {
  const net = deviceClassByName("net")!;
  for (const [names, queues] of [[["REPLY_ACK"], 2], [["MQ"], 8]] as const) {
    const behaviour = { protocolFeatures: protocolFeatures(...names) };
    await using bench = await Bench.create(behaviour, { deviceClass: net });
    const { queueCount, config } = await bench.front.initialise();
    assertEquals([queueCount, config.length], [queues, 0], names.join());
    assert(!bench.back.log.some((line) => line.startsWith("GET_CONFIG")), bench.back.log.join());
  }
});

Deno.test("a config space that is the front-end's own is neither asked for nor sent", async () => {
  const fixed = Uint8Array.of(1, 2, 3, 4);
  const config = { min: 4, max: 4, access: "cached", required: false, fixed } as const;
  await using bench = await Bench.create({
    protocolFeatures: protocolFeatures("MQ", "CONFIG"),
  }, { deviceClass: { ...RNG, config } });
  const profile = await bench.front.initialise();
  assertEquals([profile.config, profile.protocolFeatures], [fixed, protocolFeatures("MQ")]);
  await bench.front.writeConfig(1, Uint8Array.of(9));
  assertEquals(await bench.front.readConfig(), fixed);
  assert(!bench.back.log.some((line) => line.includes("_CONFIG")), bench.back.log.join());
});

Deno.test("a socket with a digit at its end is found, unless there are several", async () => {
  await using bench = await Bench.create();
  const found: string[] = [];
  const options = bench.options({});
  const path = bench.folder.socket("numbered");
  const onNumbered = (at: string) => void found.push(at);
  const connect = (signal?: AbortSignal) =>
    connectWithBackoff(path, { ...options, onNumbered, signal });
  await Deno.writeTextFile(`${path}1`, ""); // no socket
  const backs = [0, 3].map((digit) => new HostileBackEnd(bench.reactor, `${path}${digit}`, {}));
  const late = new AbortController();
  const waiting = connect(late.signal);
  await turn();
  late.abort(new Error("enough"));
  await assertRejects(() => waiting, Error, "enough");
  assertEquals(found, [], "which of the two cannot be known");
  backs[0]![Symbol.dispose]();
  using front = await connect();
  assertEquals(found, [`${path}3`]);
  await front.initialise();
  front.close();
  backs[1]![Symbol.dispose]();
});

Deno.test("of protocol features only those that are used are agreed on, whatever is offered", async () => {
  await using bench = await Bench.create({ protocolFeatures: 0xffff_ffff_ffff_ffffn });
  const { protocolFeatures: agreed } = await bench.front.initialise();
  assertEquals(
    agreed,
    protocolFeatures("MQ", "REPLY_ACK", "CONFIG", "BACKEND_REQ", "RESET_DEVICE"),
  );
});

Deno.test("start() signals no eventfd, stop() returns where rings stopped", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(2);
  await bench.front.initialise();
  await bench.front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  assertEquals(driver.kicks.map(({ number }) => takeEvent(number)), [0, 0]);
  assertEquals(await bench.front.stop(), [{ index: 0, base: 100 }, { index: 1, base: 101 }]);
  assertEquals(await bench.front.stop(), []);
});

Deno.test("a second start without memory leaves the first one's in place", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(1);
  await bench.front.initialise();
  await bench.front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  await bench.front.stop();
  await bench.front.start({ features: VERSION_1, rings: driver.rings([100]) });
  assertEquals(bench.back.log.filter((line) => line.startsWith("SET_MEM_TABLE")).length, 1);
});

Deno.test("startRings() adds to the rings that run, and stop() stops them all", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(3);
  const { front } = bench;
  const [first, ...others] = driver.rings();
  await front.initialise();
  await front.start({ features: VERSION_1, memory: driver.memory, rings: [first!] });
  await front.startRings(others);
  const sent = bench.back.log.length;
  await assertRejects(
    () => front.startRings(others),
    RangeError,
    "queue 1 of card0: it is started",
  );
  const foreign = [{ ...first!, index: 4 }];
  await assertRejects(() => front.startRings(foreign), RangeError, "queue 4 of card0");
  assertEquals(bench.back.log.length, sent);
  assertEquals((await front.stop()).map(({ index }) => index), [0, 1, 2]);
});
