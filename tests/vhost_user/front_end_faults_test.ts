// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { EventFd } from "../../ffi/mod.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import {
  encodeMessage,
  type FrontEndMessage,
  protocolFeatures,
  REPLY,
  VERSION,
} from "../../lib/vhost_user/messages.ts";
import { CONFIG, INFLIGHT, U64, VRING_STATE } from "../../lib/vhost_user/payloads.ts";
import { FakeTime, turn } from "../support/fake_time.ts";
import { until } from "../support/process.ts";
import { Driver, openDescriptors, RNG, VERSION_1 } from "./harness.ts";
import { type Behaviour, type Fault, FAULTS, ODDITIES } from "./hostile_back_end.ts";
import { Bench, converse } from "./front_end_fixture.ts";

const EVERY_MESSAGE: FrontEndMessage[] = [
  "GET_FEATURES",
  "GET_PROTOCOL_FEATURES",
  "GET_QUEUE_NUM",
  "SET_OWNER",
  "SET_BACKEND_REQ_FD",
  "GET_CONFIG",
  "SET_CONFIG",
  "SET_FEATURES",
  "SET_MEM_TABLE",
  "SET_VRING_NUM",
  "SET_VRING_BASE",
  "SET_VRING_ADDR",
  "SET_VRING_CALL",
  "SET_VRING_KICK",
  "SET_VRING_ENABLE",
  "GET_VRING_BASE",
  "RESET_DEVICE",
];

for (const [oddity, act] of Object.entries(ODDITIES)) {
  Deno.test(`replies that come ${oddity} are understood`, async () => {
    const faults = Object.fromEntries(
      EVERY_MESSAGE.map((name) => [name, act]),
    ) as Behaviour["faults"] & object;
    await using bench = await Bench.create({ faults });
    using driver = new Driver(4);
    await converse(bench.front, driver);
    assertEquals(bench.losses, []);
  });
}

for (const [fault, ways] of Object.entries(FAULTS)) {
  for (const [what, act] of Object.entries(ways)) {
    Deno.test(`a back-end that ${what}, at each message in turn, is ${fault}`, async () => {
      const before = openDescriptors();
      for (const name of EVERY_MESSAGE) await expectLoss(name, act, fault);
      assertEquals(openDescriptors(), before);
    });
  }
}

/** More than any message may take. */
const LONGEST_MS = 60_000;

/** One conversation that has to end with `fault`, and in good order. */
async function expectLoss(name: FrontEndMessage, act: Fault, fault: string): Promise<void> {
  using time = new FakeTime();
  const isLate = fault === "late";
  const deed: Fault = (...args) => {
    act(...args);
    if (isLate) turn().then(() => time.pass(LONGEST_MS));
  };
  await using bench = await Bench.create({ faults: { [name]: deed } });
  using driver = new Driver(2);
  let rejection: unknown = null;
  const talk = async (): Promise<void> => {
    await converse(bench.front, driver);
    await bench.front.readConfig(); // by then a second reply to the last message was read
  };
  await talk().catch((error) => rejection = error);
  assertEquals(bench.losses.length, 1, name);
  const loss = bench.losses[0]!;
  assertEquals(loss.fault, fault, `${name}: ${loss.message}`);
  assert(loss.message.includes("card0"), loss.message);
  assertEquals(rejection, loss);
  const again = await bench.front.readConfig().catch((error) => error);
  if (again instanceof VhostUserError) assertEquals(again, loss);
  else assertInstanceOf(again, TypeError); // it never learnt what the back-end is
  assertEquals(bench.losses.length, 1, name);
}

Deno.test("an acknowledgement that says no, at each message in turn, is refused", async () => {
  const nack: Fault = (back, request) =>
    back.send(encodeMessage(request, VERSION | REPLY, U64.encode(1n)));
  for (const name of EVERY_MESSAGE.filter((name) => !name.startsWith("GET_"))) {
    await using bench = await Bench.create({ faults: { [name]: nack } });
    using driver = new Driver(2);
    const error = await assertRejects(() => converse(bench.front, driver), VhostUserError, name);
    assertEquals(error.fault, "refused");
    assert(error.message.includes("refused with 1, expected 0"), error.message);
    assertEquals(bench.losses, [error]);
  }
});

Deno.test("an error about a queue names it", async () => {
  const faults = { SET_VRING_ADDR: FAULTS.protocol["sends a byte too few"]! };
  await using bench = await Bench.create({ faults });
  using driver = new Driver(1);
  await assertRejects(
    () => converse(bench.front, driver),
    VhostUserError,
    "Cannot read the reply to SET_VRING_ADDR for queue 0 of card0: its payload has 7 bytes, expected 8",
  );
});

Deno.test("a reply that does not come is named, with its queue and the deadline", async () => {
  using time = new FakeTime();
  const faults = { GET_VRING_BASE: () => time.pass(500) };
  await using bench = await Bench.create({ faults }, { deadlineMs: 100 });
  using driver = new Driver(1);
  await assertRejects(
    () => converse(bench.front, driver),
    VhostUserError,
    "Cannot GET_VRING_BASE for queue 0 of card0: no reply within 500 ms",
  );
});

/** What sets a ring up. */
const RING_MESSAGES = [
  "SET_VRING_NUM",
  "SET_VRING_BASE",
  "SET_VRING_ADDR",
  "SET_VRING_CALL",
  "SET_VRING_KICK",
  "SET_VRING_ENABLE",
] as const;

/** Faults that only put an answer off: each is told the reply to send, to do so when it likes. */
function puttingOff(take: (reply: () => void) => void): Behaviour["faults"] & object {
  const fault: Fault = (back, request, body) =>
    take(() => back.send(encodeMessage(request, VERSION | REPLY, body)));
  return Object.fromEntries(RING_MESSAGES.map((name) => [name, fault]));
}

Deno.test("rings are set up by messages that wait for no reply of those before them", async () => {
  const owed: (() => void)[] = [];
  const faults = puttingOff((reply) => {
    if (owed.push(reply) < 4 * RING_MESSAGES.length) return;
    for (const reply of owed) reply();
  });
  await using bench = await Bench.create({ faults });
  using driver = new Driver(4);
  await bench.front.initialise();
  await bench.front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  assertEquals(bench.losses, []);
});

Deno.test("each reply has its own deadline: a slow back-end is not late in the sum", async () => {
  using time = new FakeTime();
  const deadlineMs = 1000;
  const owed: (() => void)[] = [];
  const faults = puttingOff((reply) => void owed.push(reply));
  await using bench = await Bench.create({ faults }, { deadlineMs });
  using driver = new Driver(4);
  await bench.front.initialise();
  const starting = bench.front.start({
    features: VERSION_1,
    memory: driver.memory,
    rings: driver.rings(),
  });
  for (let left = 4 * RING_MESSAGES.length; left > 0; left--) {
    await until(() => owed.length > 0, "a message");
    time.pass(deadlineMs / 2);
    const due = time.dueMs;
    owed.shift()!();
    await until(() => time.dueMs !== due, "the deadline of the next message");
  }
  await starting;
  assertEquals(bench.losses, []);
});

/** A reply with this payload, whatever would have been right. */
function answering(body: Uint8Array): Fault {
  return (back, request) => back.send(encodeMessage(request, VERSION | REPLY, body));
}

Deno.test("a back-end that is not what the class needs is unfit, and why is said", async (t) => {
  const cases: [name: string, behaviour: Behaviour, text: string, options?: object][] = [
    ["too few queues", { queueCount: 3n }, "it has 3 queues, a sound device needs 4"],
    ["no queues", { queueCount: 0n }, "it has 0 queues"],
    [
      "one queue for want of MQ",
      { protocolFeatures: protocolFeatures("CONFIG") },
      "it has 1 queues",
    ],
    ["no config space", { protocolFeatures: protocolFeatures("MQ") }, "it has no config space"],
    ["no protocol features", { features: VERSION_1 }, "it has no config space"],
    [
      "another class's queues and config space",
      {},
      "it has 4 queues and a config space (protocol feature CONFIG), a rng device needs 1 and has none",
      { deviceClass: RNG },
    ],
    [
      "another class's features",
      { features: 0x1_4000_0006n },
      "that no sound device has (bit 1, bit 2)",
    ],
    [
      "config refused by no payload",
      { faults: { GET_CONFIG: answering(new Uint8Array()) } },
      "refused to return 12",
    ],
    ["config refused by no bytes", { config: new Uint8Array() }, "refused to return 12"],
  ];
  for (const [name, behaviour, text, options] of cases) {
    await t.step(name, async () => {
      await using bench = await Bench.create(behaviour, options);
      const error = await assertRejects(() => bench.front.initialise(), VhostUserError, text);
      assertEquals(error.fault, "unfit");
      assertEquals(bench.losses, [error]);
    });
  }
});

Deno.test("well-formed replies with wrong values are refused", async (t) => {
  const config = (offset: number, size: number): Uint8Array =>
    CONFIG.encode({ offset, flags: 0, data: new Uint8Array(size) });
  const base = (index: number, num: number): Uint8Array => VRING_STATE.encode({ index, num });
  const cases: [name: string, at: FrontEndMessage, body: Uint8Array, text: string][] = [
    ["config from elsewhere", "GET_CONFIG", config(4, 12), "12 bytes at 4 came, expected 12 at 0"],
    ["config that is short", "GET_CONFIG", config(0, 11), "11 bytes at 0 came, expected 12 at 0"],
    ["config that is long", "GET_CONFIG", config(0, 16), "16 bytes at 0 came, expected 12 at 0"],
    ["base of another queue", "GET_VRING_BASE", base(3, 0), "names queue 3"],
    ["base past 65535", "GET_VRING_BASE", base(0, 65536), "base 65536"],
  ];
  for (const [name, at, body, text] of cases) {
    await t.step(name, async () => {
      await using bench = await Bench.create({ faults: { [at]: answering(body) } });
      using driver = new Driver(1);
      const error = await assertRejects(() => converse(bench.front, driver), VhostUserError, text);
      assertEquals(error.fault, "protocol");
    });
  }
});

const TRACKED = { protocolFeatures: 0xffff_ffff_ffff_ffffn };

Deno.test("in-flight memory is asked for, and viola's own is given before the rings start", async () => {
  await using bench = await Bench.create(TRACKED, { tracksInflight: true });
  using driver = new Driver(1);
  const { front } = bench;
  assertEquals((await front.initialise()).tracksInflight, true);
  const shape = { queues: 4, queueSize: 64 };
  const size = await front.inflightSize(shape);
  assertEquals(size, 4352);
  const inflight = { ...shape, size, fd: driver.fd.number };
  const { memory } = driver;
  await front.start({ features: VERSION_1, memory, rings: driver.rings(), inflight });
  assertEquals(bench.back.log.slice(-10, -4), [
    "GET_INFLIGHT_FD 1",
    "SET_FEATURES 9",
    "SET_INFLIGHT_FD 9 +1",
    "SET_MEM_TABLE 9 +1",
    "SET_VRING_NUM 9",
    "SET_VRING_BASE 9",
  ]);
});

Deno.test("in-flight memory that does not fit what was asked for is refused", async (t) => {
  const shape = { queues: 4, queueSize: 64 };
  const right = { size: 4352n, offset: 0n, ...shape };
  const cases: [name: string, change: Partial<typeof right>, text: string][] = [
    ["a byte too small", { size: 4351n }, "4 queues of 64 in 4351 bytes at 0, expected 4 queues"],
    ["no bytes", { size: 0n }, "in 0 bytes"],
    ["far too large", { size: 1n << 40n }, "in 1099511627776 bytes at 0, expected"],
    ["of 2^64 - 1 bytes", { size: (1n << 64n) - 1n }, "in 18446744073709551615 bytes"],
    ["inside a page", { offset: 64n }, "at 64, expected"],
    ["for fewer queues", { queues: 3 }, "3 queues of 64"],
    ["for smaller queues", { queueSize: 32 }, "4 queues of 32"],
  ];
  for (const [name, change, text] of cases) {
    await t.step(name, async () => {
      const reply = INFLIGHT.encode({ ...right, ...change });
      const faults = { GET_INFLIGHT_FD: answering(reply) };
      await using bench = await Bench.create({ ...TRACKED, faults }, { tracksInflight: true });
      await bench.front.initialise();
      const error = await assertRejects(
        () => bench.front.inflightSize(shape),
        VhostUserError,
        text,
      );
      assertEquals(error.fault, "protocol");
      assertEquals(bench.losses, [error]);
    });
  }
  await t.step("with two descriptors", async () => {
    const fault: Fault = (back, request, body) => {
      using event = EventFd.create();
      back.send(encodeMessage(request, VERSION | REPLY, body), [event.number, event.number]);
    };
    const faults = { GET_INFLIGHT_FD: fault };
    await using bench = await Bench.create({ ...TRACKED, faults }, { tracksInflight: true });
    await bench.front.initialise();
    const before = openDescriptors();
    await assertRejects(
      () => bench.front.inflightSize(shape),
      VhostUserError,
      "2 descriptors came with the reply, expected at most 1",
    );
    assert(openDescriptors() <= before);
  });
});

Deno.test("with a feature of the class that goes with it, the longer config space is read", async () => {
  const config = Uint8Array.from({ length: 16 }, (_, i) => i);
  await using bench = await Bench.create({ features: 0x1_4000_0001n, config });
  assertEquals((await bench.front.initialise()).config, config);
});

Deno.test("a queue count above what messages can name is reduced", async () => {
  await using bench = await Bench.create({ queueCount: 0xffff_ffff_ffff_ffffn });
  assertEquals((await bench.front.initialise()).queueCount, 256);
});

Deno.test("features the driver relies on that a new back-end lacks are unfit", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(1);
  await bench.front.initialise();
  const setup = { features: VERSION_1 | 1n << 29n, memory: driver.memory, rings: driver.rings() };
  const error = await assertRejects(
    () => bench.front.start(setup),
    VhostUserError,
    "VIRTIO_F_RING_EVENT_IDX",
  );
  assertEquals(error.fault, "unfit");
});

Deno.test("an invalid set-up is refused before anything is sent", async () => {
  await using bench = await Bench.create();
  using driver = new Driver(1);
  const { front } = bench;
  const { memory } = driver;
  const rings = driver.rings();
  assertThrows(() => front.profile, TypeError, "not initialised");
  await assertRejects(() => front.start({ features: 0n, memory, rings }), TypeError);
  await front.initialise();
  const sent = bench.back.log.length;
  const refuse = (setup: object, text: string): Promise<Error> =>
    assertRejects(
      () => front.start({ features: VERSION_1, memory, rings, ...setup }),
      RangeError,
      text,
    );
  await refuse({ memory: [] }, "0 pieces of memory");
  await refuse({ memory: new Array(9).fill(memory[0]) }, "9 pieces of memory");
  await refuse({ rings: [{ ...rings[0]!, index: 4 }] }, "queue 4 of card0: its back-end has 4");
  await assertRejects(() => front.writeConfig(11, new Uint8Array(2)), RangeError, "it has 12");
  await assertRejects(() => front.writeConfig(-1, new Uint8Array(1)), RangeError);
  await assertRejects(() => front.writeConfig(0, new Uint8Array()), RangeError);
  assertEquals(bench.back.log.length, sent);
  await front.start({ features: VERSION_1, memory, rings });
  await refuse({}, "it is started");
  assertEquals(bench.losses, []);
});

Deno.test("a back-end that disconnects between requests is noticed", async () => {
  await using bench = await Bench.create();
  await bench.front.initialise();
  bench.back.hangUp();
  const loss = await bench.lost.promise;
  assertEquals([loss.fault, loss.message], ["lost", "the back-end of card0 closed the connection"]);
  assertEquals(await bench.front.readConfig().catch((error) => error), loss);
});

Deno.test("a reply without a request ends the connection", async () => {
  await using bench = await Bench.create();
  await bench.front.initialise();
  bench.back.send(encodeMessage(1, VERSION | REPLY, U64.encode(0n)));
  const loss = await bench.lost.promise;
  assertEquals([loss.fault, bench.losses.length], ["protocol", 1]);
  assert(loss.message.includes("a reply to GET_FEATURES, expected none"), loss.message);
});

Deno.test("an unexpected reply is not taken for the reply to the next request", async () => {
  const features = protocolFeatures("MQ", "CONFIG");
  const faults = { SET_OWNER: answering(U64.encode(0n)) };
  await using bench = await Bench.create({ protocolFeatures: features, faults });
  await bench.front.initialise().catch(() => {});
  assertEquals((await bench.lost.promise).fault, "protocol");
});

Deno.test("close() rejects pending requests and reports no loss", async () => {
  await using bench = await Bench.create({ faults: { GET_QUEUE_NUM: () => {} } });
  const pending = bench.front.initialise().catch((error) => error);
  while (!bench.back.log.includes("GET_QUEUE_NUM 1")) await turn(1);
  bench.front.close();
  bench.front.close();
  assertEquals((await pending as VhostUserError).fault, "closed");
  assertEquals(bench.losses, []);
});

Deno.test("a back-end that reads nothing is late; one that reads again is not", async () => {
  using time = new FakeTime();
  const features = protocolFeatures("MQ", "CONFIG");
  await using bench = await Bench.create({ protocolFeatures: features }, { deadlineMs: 1000 });
  const { front, back } = bench;
  await front.initialise();
  const byte = Uint8Array.of(7);
  const write = (): Promise<boolean> => {
    const written = front.writeConfig(0, byte).then(() => true);
    const waited = turn(20).then(() => false);
    written.catch(() => {});
    return Promise.race([written, waited]);
  };
  back.deafen();
  while (await write());
  time.pass(999);
  back.hear();
  await front.readConfig();
  assertEquals(bench.losses, []);
  back.deafen();
  while (await write());
  time.pass(1000);
  assertEquals(bench.losses.map(({ fault }) => fault), ["late"]);
});

Deno.test("CONFIG that is offered by a class without a config space is not used", async () => {
  await using bench = await Bench.create({ queueCount: 1n }, { deviceClass: RNG });
  const profile = await bench.front.initialise();
  assertEquals([profile.queueCount, profile.config.length], [1, 0]);
  assertEquals(profile.protocolFeatures & protocolFeatures("CONFIG"), 0n);
  assert(!bench.back.log.some((line) => line.startsWith("GET_CONFIG")));
});
