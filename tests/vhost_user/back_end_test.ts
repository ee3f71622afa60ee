// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  createPipe,
  EPOLLIN,
  EPOLLRDHUP,
  EventFd,
  OsError,
  Reactor,
  signalEvent,
  takeEvent,
  UnixSocket,
  Watches,
  writeFd,
} from "../../ffi/mod.ts";
import { type BackEndEvent, BackEndServer } from "../../lib/vhost_user/back_end.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { FrontEnd } from "../../lib/vhost_user/front_end.ts";
import { MessageReader } from "../../lib/vhost_user/framing.ts";
import {
  BACK_END_MESSAGES,
  type BodyOf,
  encodeMessage,
  FRONT_END_MESSAGES,
  type FrontEndMessage,
  type MessageRow,
  protocolFeatures,
} from "../../lib/vhost_user/messages.ts";
import { FakeClock } from "../device/wiring.ts";
import { until } from "../support/process.ts";
import {
  Driver,
  EchoDevice,
  openDescriptors,
  rung,
  SocketFolder,
  SOUND,
  VERSION_1,
} from "./harness.ts";

const BIT_30 = 1n << 30n;
const ALL = protocolFeatures(
  "MQ",
  "REPLY_ACK",
  "CONFIG",
  "BACKEND_REQ",
  "RESET_DEVICE",
  "INFLIGHT_SHMFD",
);
/** In-flight memory for one queue of 16, as its front-end gives it back. */
const INFLIGHT = { size: 320n, offset: 0n, queues: 1, queueSize: 16 };

/** A server, and whoever comes to it. */
class Bench implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly folder = new SocketFolder();
  readonly device = new EchoDevice();
  readonly events: BackEndEvent[] = [];
  readonly path: string = this.folder.socket("device");
  /** The server's: it stands until a test lets time pass. */
  readonly clock = new FakeClock();
  readonly server: BackEndServer = new BackEndServer(this.reactor, this.path, this.device, {
    onEvent: (event) => this.events.push(event),
    clock: this.clock,
  });
  readonly raws: Raw[] = [];

  /** A front-end of bare bytes. */
  raw(): Raw {
    const raw = new Raw(UnixSocket.connect(this.path), this.reactor);
    this.raws.push(raw);
    return raw;
  }

  /** A front-end that has agreed on all there is, and become the owner. */
  async agreed(): Promise<Raw> {
    const raw = this.raw();
    await raw.ask("GET_FEATURES", undefined);
    raw.tell("SET_PROTOCOL_FEATURES", ALL);
    await raw.ask("SET_OWNER", undefined);
    await raw.ask("SET_FEATURES", VERSION_1 | BIT_30);
    return raw;
  }

  get errors(): string[] {
    return this.events.filter(({ kind }) => kind === "error").map(({ text }) => text);
  }

  /** Proves that the next front-end is served as if nothing had been. */
  async expectService(): Promise<void> {
    const { reactor } = this;
    const options = { reactor, name: "card0", deviceClass: SOUND };
    using front = await FrontEnd.connect(this.path, options);
    using driver = new Driver(4);
    await front.initialise();
    driver.offer(3, "well?");
    await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
    assertEquals(await driver.answer(3, reactor), "well?");
    await front.stop();
    front.close();
    await this.allGone();
  }

  /** Waits until the server has let everyone go who came. */
  async allGone(): Promise<void> {
    const count = (kind: string): number => this.events.filter((e) => e.kind === kind).length;
    do await new Promise((resolve) => setTimeout(resolve, 0)); while (
      count("disconnected") < count("connected")
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const raw of this.raws) raw.socket.close();
    this.server.close();
    await this.reactor.close();
    this.folder[Symbol.dispose]();
  }
}

/** A front-end that sends what it is told, right or wrong. */
class Raw {
  readonly #reader: MessageReader;

  constructor(readonly socket: UnixSocket, readonly reactor: Reactor) {
    this.#reader = new MessageReader(socket, "replies", "the server");
  }

  send(bytes: Uint8Array<ArrayBuffer>, fds: readonly number[] = []): void {
    this.socket.send(bytes, 0, bytes.length, fds);
  }

  /** Sends a message; bit 3 of `flags` asks for an answer. */
  tell<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
    flags = 0x1,
  ): void {
    const row = FRONT_END_MESSAGES[name] as MessageRow;
    this.send(encodeMessage(row.request, flags, row.body.encode(body)), fds);
  }

  /** Sends a message, and returns the reply's payload. */
  ask<Name extends FrontEndMessage>(
    name: Name,
    body: BodyOf<Name>,
    fds: readonly number[] = [],
  ): Promise<string> {
    this.tell(name, body, fds, 0x9);
    return this.reply();
  }

  /** The next reply's payload in hexadecimal, or why there is none. */
  reply(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>();
    const watch = this.reactor.watch(this.socket.number, EPOLLIN | EPOLLRDHUP, () => {
      const reply = this.#read();
      if (reply === null) return;
      watch.close();
      resolve(reply);
    });
    return promise;
  }

  #read(): string | null {
    try {
      const message = this.#reader.next();
      return message === null ? null : message.body.toHex();
    } catch (error) {
      return (error as VhostUserError).fault;
    }
  }

  /** Sets a ring up and starts it, but for what is left out. */
  async ring(driver: Driver, index: number, without: readonly string[] = []): Promise<void> {
    const { size, base, desc, avail, used, kick, call } = driver.rings()[index]!;
    const addresses = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used), log: 0n };
    const steps: [FrontEndMessage, unknown, number[]?][] = [
      ["SET_MEM_TABLE", table(driver), [driver.fd.number]],
      ["SET_VRING_NUM", { index, num: size }],
      ["SET_VRING_BASE", { index, num: base }],
      ["SET_VRING_ADDR", { index, flags: 0, ...addresses }],
      ["SET_VRING_CALL", { index, noFd: false }, [call]],
      ["SET_VRING_KICK", { index, noFd: false }, [kick]],
      ["SET_VRING_ENABLE", { index, num: 1 }],
    ];
    for (const [name, body, fds] of steps) {
      if (without.includes(name)) continue;
      assertEquals(await this.ask(name, body as never, fds), "0000000000000000", name);
    }
  }
}

function table(driver: Driver): BodyOf<"SET_MEM_TABLE"> {
  return driver.memory.map(({ guest, size, user, offset }) => ({
    guest: BigInt(guest),
    size: BigInt(size),
    user: BigInt(user),
    offset: BigInt(offset),
  }));
}

const NACK = "0100000000000000";

// ---- what it does ----

Deno.test("what is offered: features with bit 30, protocol features, queues, config space", async () => {
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

Deno.test("config space that is not there is refused by no payload, and the session goes on", async () => {
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

Deno.test("a call eventfd that takes another's place is rung at once, and from then on", async () => {
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

Deno.test("a kick eventfd that takes another's place is listened to, the old one no more", async () => {
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

Deno.test("a new memory table while rings run: they stop, and go on in it", async () => {
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

Deno.test("RESET_DEVICE stops and disables all rings, and the device forgets", async () => {
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

Deno.test("the channel carries CONFIG_CHANGE_MSG, and a blocking or full one holds nobody up", async () => {
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

Deno.test("a channel that is no socket is let go of when it is needed", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  const before = openDescriptors();
  await raw.ask("SET_BACKEND_REQ_FD", undefined, [driver.fd.number]);
  bench.server.configChanged();
  bench.server.configChanged();
  assertEquals(bench.errors.length, 1);
  assert(bench.errors[0]!.includes("ENOTSOCK"), bench.errors[0]);
  assertEquals(openDescriptors(), before);
});

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

Deno.test("front-ends that came together are told of, and served one by one", async () => {
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
  Deno.test(`a front-end that sends ${name} and no more is let go, and the next is served`, async () => {
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

Deno.test("a message's time is its own: bytes that trickle do not lengthen it, whole messages end it", async () => {
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

/** How often a driver's memory is mapped in this process. */
function mappings(): number {
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return maps.filter((line) => line.includes("/memfd:driver")).length;
}

Deno.test("a server lives as well in a loop that blocks", () => {
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

// ---- front-ends that break rules ----

/** A broken rule: what is done after {@linkcode Bench.agreed}, and a piece of what is said about it. */
type Offence = [name: string, text: string, act: (raw: Raw, driver: Driver) => unknown];

function offend<Name extends FrontEndMessage>(
  name: Name,
  body: BodyOf<Name>,
  fds: (driver: Driver) => number[] = () => [],
): (raw: Raw, driver: Driver) => void {
  return (raw, driver) => raw.tell(name, body, fds(driver), 0x9);
}

function memory(change: (region: BodyOf<"SET_MEM_TABLE">[0]) => object): Offence[2] {
  return (raw, driver) => {
    const regions = table(driver).map((region) => ({ ...region, ...change(region) }));
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number], 0x9);
  };
}

function after(
  without: readonly string[],
  act: (raw: Raw, driver: Driver) => unknown,
): Offence[2] {
  return async (raw, driver) => {
    await raw.ring(driver, 0, without);
    act(raw, driver);
  };
}

function address(
  change: (ring: { desc: bigint; avail: bigint; used: bigint }) => object,
): Offence[2] {
  return after(["SET_VRING_ADDR", "SET_VRING_KICK", "SET_VRING_ENABLE"], (raw, driver) => {
    const { desc, avail, used, kick } = driver.rings()[0]!;
    const right = { desc: BigInt(desc), avail: BigInt(avail), used: BigInt(used) };
    const body = { index: 0, flags: 0, log: 0n, ...right, ...change(right) };
    raw.tell("SET_VRING_ADDR", body);
    raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, [kick]);
    raw.tell("SET_VRING_ENABLE", { index: 0, num: 1 }, [], 0x9);
  });
}

const kickOf = (driver: Driver): number[] => [driver.kicks[0]!.number];
const memoryOf = (driver: Driver): number[] => [driver.fd.number];
const enable = (raw: Raw): void => raw.tell("SET_VRING_ENABLE", { index: 0, num: 1 }, [], 0x9);

const OFFENCES: Offence[] = [
  ["features not offered", "bit 5", offend("SET_FEATURES", 1n << 5n)],
  [
    "protocol features not offered",
    "STATUS, bit 63",
    offend("SET_PROTOCOL_FEATURES", 1n << 63n | 1n << 16n),
  ],
  ["no region", "expected 1 to 8", offend("SET_MEM_TABLE", [])],
  [
    "a descriptor less than regions",
    "1 descriptors came for 2",
    (raw, driver) =>
      raw.tell("SET_MEM_TABLE", [...table(driver), ...table(driver)], [driver.fd.number], 0x9),
  ],
  [
    "a descriptor more than regions",
    "2 descriptors came for 1",
    (raw, driver) =>
      raw.tell("SET_MEM_TABLE", table(driver), [driver.fd.number, driver.fd.number], 0x9),
  ],
  [
    "no descriptor for a region",
    "0 descriptors came",
    (raw, driver) => raw.tell("SET_MEM_TABLE", table(driver), [], 0x9),
  ],
  ["overlapping guest regions", "Cannot place memory", (raw, driver) => {
    const [region] = table(driver);
    const regions = [region!, { ...region!, user: 0n, guest: region!.guest + 0x8000n }];
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number, driver.fd.number], 0x9);
  }],
  ["overlapping user regions", "inside one that ends", (raw, driver) => {
    const [region] = table(driver);
    const regions = [region!, { ...region!, guest: 0n, user: region!.user + 0x8000n }];
    raw.tell("SET_MEM_TABLE", regions, [driver.fd.number, driver.fd.number], 0x9);
  }],
  ["a region of no bytes", "0 bytes", memory(() => ({ size: 0n }))],
  ["a region larger than its file", "of a file of 65536", memory(() => ({ size: 0x10001n }))],
  ["a region of 2^63 bytes", "region 0", memory(() => ({ size: 1n << 63n }))],
  ["a region past its file's end", "of a file of 65536", memory(() => ({ offset: 0x1000n }))],
  [
    "an offset that wraps",
    "of a file of 65536",
    memory(() => ({ offset: 0xffff_ffff_ffff_f000n })),
  ],
  [
    "an offset inside a page",
    "a beginning at a page",
    memory(() => ({ offset: 0x800n, size: 0x800n })),
  ],
  ["guest memory past 2^53", "below 2^53", memory(() => ({ guest: 1n << 53n }))],
  ["guest memory at an odd address", "a multiple of 16", memory(() => ({ guest: 1n }))],
  ["user memory past 2^64", "2^64", memory(() => ({ user: 0xffff_ffff_ffff_0001n }))],
  ["memory in a pipe", "ESPIPE", (raw, driver) => {
    const { reader, writer } = createPipe();
    raw.tell("SET_MEM_TABLE", table(driver), [reader.number], 0x9);
    reader.close();
    writer.close();
  }],
  ["a queue of no entries", "its size is 0", offend("SET_VRING_NUM", { index: 0, num: 0 })],
  ["a queue of 63 entries", "its size is 63", offend("SET_VRING_NUM", { index: 0, num: 63 })],
  [
    "a queue of 128 entries",
    "expected a power of two up to 64",
    offend("SET_VRING_NUM", { index: 0, num: 128 }),
  ],
  [
    "a queue of 2^31 entries",
    "its size is 2147483648",
    offend("SET_VRING_NUM", { index: 0, num: 2 ** 31 }),
  ],
  ["queue 4 of 4", "queue 4", offend("SET_VRING_NUM", { index: 4, num: 16 })],
  ["queue 2^32 - 1", "queue 4294967295", offend("SET_VRING_BASE", { index: 0xffffffff, num: 0 })],
  ["a base past 65535", "65536", offend("SET_VRING_BASE", { index: 0, num: 65536 })],
  [
    "an address before memory",
    "no memory table yet",
    offend("SET_VRING_ADDR", {
      index: 0,
      flags: 0,
      desc: 0n,
      avail: 0n,
      used: 0n,
      log: 0n,
    }),
  ],
  ["descriptors outside memory", "Cannot find the descriptors", address(() => ({ desc: 0n }))],
  [
    "descriptors past memory's end",
    "bytes inside memory",
    address(({ desc }) => ({ desc: desc + 0xfff0n })),
  ],
  [
    "an available ring outside memory",
    "Cannot find the available ring",
    address(() => ({ avail: 0n })),
  ],
  ["a used ring outside memory", "Cannot find the used ring", address(() => ({ used: 1n << 63n }))],
  ["an odd available ring", "a multiple of 2", address(({ avail }) => ({ avail: avail + 1n }))],
  ["a misaligned used ring", "a multiple of 4", address(({ used }) => ({ used: used + 2n }))],
  ["misaligned descriptors", "a multiple of 16", address(({ desc }) => ({ desc: desc + 8n }))],
  [
    "a kick before addresses",
    "not all set",
    offend("SET_VRING_KICK", { index: 0, noFd: false }, kickOf),
  ],
  ["polling", "polling is not offered", offend("SET_VRING_KICK", { index: 0, noFd: true })],
  [
    "a call without its descriptor",
    "0 came, expected 1",
    offend("SET_VRING_CALL", { index: 0, noFd: false }),
  ],
  [
    "a call with one too many",
    "1 came, expected 0",
    offend("SET_VRING_CALL", { index: 0, noFd: true }, kickOf),
  ],
  [
    "two calls",
    "2 descriptors came, expected 0 to 1",
    offend(
      "SET_VRING_CALL",
      { index: 0, noFd: false },
      (driver) => [...kickOf(driver), ...kickOf(driver)],
    ),
  ],
  [
    "a call that is a file",
    "expected an eventfd",
    offend(
      "SET_VRING_CALL",
      { index: 0, noFd: false },
      (driver) => [driver.fd.number],
    ),
  ],
  [
    "an error descriptor that is a file",
    "expected an eventfd",
    offend(
      "SET_VRING_ERR",
      { index: 0, noFd: false },
      (driver) => [driver.fd.number],
    ),
  ],
  [
    "a kick that is a socket",
    "expected an eventfd",
    after(
      ["SET_VRING_KICK"],
      (raw) => raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, [raw.socket.number], 0x9),
    ),
  ],
  ["enable with 2", "the value is 2", offend("SET_VRING_ENABLE", { index: 0, num: 2 })],
  [
    "a size while running",
    "expected it stopped",
    after([], offend("SET_VRING_NUM", { index: 0, num: 8 })),
  ],
  [
    "a base while running",
    "expected it stopped",
    after([], offend("SET_VRING_BASE", { index: 0, num: 8 })),
  ],
  ["features while running", "expected them stopped", after([], offend("SET_FEATURES", BIT_30))],
  [
    "memory that takes a running ring away",
    "Cannot set up queue 0",
    after([], memory(() => ({ guest: 0n }))),
  ],
  [
    "a base far from the used index",
    "ahead by at most 16",
    after(["SET_VRING_KICK"], (raw, driver) => {
      raw.tell("SET_VRING_BASE", { index: 0, num: 17 });
      raw.tell("SET_VRING_KICK", { index: 0, noFd: false }, kickOf(driver), 0x9);
    }),
  ],
  [
    "a write past the config space",
    "bytes 11 to 13",
    offend("SET_CONFIG", {
      offset: 11,
      flags: 0,
      data: new Uint8Array(2),
    }),
  ],
  [
    "a message that is not offered",
    "Cannot handle GET_STATUS",
    offend("GET_STATUS", undefined),
  ],
  ...([
    ["no queue", { queues: 0 }, "0 queues of 16 entries, expected 1 to 4 of 1 to 64"],
    ["a queue too many", { queues: 5 }, "5 queues of 16 entries, expected 1 to 4"],
    ["no entry", { queueSize: 0 }, "1 queues of 0 entries, expected 1 to 4 of 1 to 64"],
    ["an entry too many", { queueSize: 65 }, "1 queues of 65 entries"],
  ] as const).flatMap(([name, change, text]): Offence[] => [
    [
      `in-flight memory to be created for ${name}`,
      `Cannot handle GET_INFLIGHT_FD for echo: ${text}`,
      offend("GET_INFLIGHT_FD", { ...INFLIGHT, ...change }),
    ],
    [
      `in-flight memory for ${name}`,
      `Cannot handle SET_INFLIGHT_FD for echo: ${text}`,
      offend("SET_INFLIGHT_FD", { ...INFLIGHT, ...change }, memoryOf),
    ],
  ]),
  ...([
    [
      "a byte too small",
      { size: 319n },
      "319 bytes at 0 of a file of 65536, expected at least 320",
    ],
    ["past its file's end", { offset: 0x10000n }, "320 bytes at 65536 of a file of 65536"],
    ["of 2^64 - 1 bytes", { size: (1n << 64n) - 1n }, "expected at least 320"],
    ["inside a page", { offset: 64n }, "320 bytes at 64 of a file"],
  ] as const).map(([name, change, text]): Offence => [
    `in-flight memory ${name}`,
    text,
    offend("SET_INFLIGHT_FD", { ...INFLIGHT, ...change }, memoryOf),
  ]),
  [
    "in-flight memory without a descriptor",
    "0 descriptors came, expected 1 to 1",
    offend("SET_INFLIGHT_FD", INFLIGHT),
  ],
  [
    "in-flight memory in an eventfd",
    "Cannot",
    offend("SET_INFLIGHT_FD", INFLIGHT, kickOf),
  ],
  [
    "in-flight memory while a ring runs",
    "expected them stopped",
    after([], offend("SET_INFLIGHT_FD", INFLIGHT, memoryOf)),
  ],
  [
    "a ring larger than its in-flight memory",
    "Cannot use the in-flight memory of queue 0 of echo, a ring of 16 entries: it is for 1 queues of 8",
    (raw, driver) => {
      raw.tell("SET_INFLIGHT_FD", { ...INFLIGHT, queueSize: 8 }, memoryOf(driver));
      return raw.ring(driver, 0, ["SET_VRING_ENABLE"]).then(() => enable(raw));
    },
  ],
  [
    "in-flight memory with a version of its own",
    "its version is 7, expected 1",
    (raw, driver) => {
      driver.bytes[8] = 7;
      raw.tell("SET_INFLIGHT_FD", INFLIGHT, memoryOf(driver));
      return raw.ring(driver, 0, ["SET_VRING_ENABLE"]).then(() => enable(raw));
    },
  ],
  [
    "a message that does not exist",
    "request 9999",
    (raw) => raw.send(encodeMessage(9999, 0x9, new Uint8Array())),
  ],
  ["request 0", "request 0", (raw) => raw.send(encodeMessage(0, 0x9, new Uint8Array()))],
  [
    "a descriptor where none belongs",
    "1 descriptors came, expected 0 to 0",
    offend(
      "SET_OWNER",
      undefined,
      kickOf,
    ),
  ],
  [
    "a short payload",
    "its payload has 4 bytes, expected 8",
    (raw) => raw.send(encodeMessage(8, 0x9, new Uint8Array(4))),
  ],
  [
    "a long payload",
    "its payload has 4096 bytes, expected 0",
    (raw) => raw.send(encodeMessage(3, 0x9, new Uint8Array(4096))),
  ],
];

for (const [name, text, act] of OFFENCES) {
  Deno.test(`refused with a failure and an end: ${name}`, async () => {
    const before = openDescriptors();
    {
      await using bench = new Bench();
      using driver = new Driver(1);
      const raw = await bench.agreed();
      await act(raw, driver);
      const replies = [await raw.reply()];
      if (replies[0] === NACK) replies.push(await raw.reply());
      assertEquals(replies.at(-1), "lost");
      assertEquals(bench.errors.length, 1, bench.errors.join("; "));
      assert(bench.errors[0]!.includes(text), bench.errors[0]);
      if (!LAST_UNASKED.has(name)) assertEquals(replies[0], NACK);
      assertEquals(bench.device.log.at(-1), "disconnected, 0 rings left");
      await bench.expectService();
    }
    assertEquals(openDescriptors(), before);
  });
}

/** These fail at a message before the one that asks for an answer. */
const LAST_UNASKED = new Set([
  "descriptors outside memory",
  "an available ring outside memory",
  "a used ring outside memory",
]);

Deno.test("without REPLY_ACK a broken rule ends the session without a failure being sent", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  raw.tell("SET_VRING_NUM", { index: 9, num: 16 }, [], 0x9);
  assertEquals(await raw.reply(), "lost");
  await bench.expectService();
});

Deno.test("a message whose protocol feature was not negotiated is refused", async () => {
  for (const name of ["GET_QUEUE_NUM", "RESET_DEVICE"] as const) {
    await using bench = new Bench();
    const raw = bench.raw();
    raw.tell(name, undefined, [], 0x9);
    assertEquals(await raw.reply(), "lost");
    assert(bench.errors[0]!.includes("was not negotiated"), bench.errors[0]);
  }
});

Deno.test("enable needs bit 30 to be accepted", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  await raw.ask("SET_FEATURES", VERSION_1);
  assertEquals(await raw.ask("SET_VRING_ENABLE", { index: 0, num: 1 }), NACK);
  assertEquals(await raw.reply(), "lost");
});

Deno.test("a front-end that ends at every byte of a message leaves nothing behind", async () => {
  await using bench = new Bench();
  using driver = new Driver(1);
  const { request, body } = FRONT_END_MESSAGES.SET_MEM_TABLE;
  const message = encodeMessage(request, 0x9, body.encode(table(driver)));
  await bench.expectService();
  const before = openDescriptors();
  for (let cut = 1; cut < message.length; cut++) {
    const raw = bench.raw();
    raw.send(message.slice(0, cut), [driver.fd.number]);
    raw.socket.close();
    while (bench.errors.length < cut) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  await bench.expectService();
  assertEquals(openDescriptors(), before);
  assertEquals(bench.errors.length, message.length - 1);
  assert(bench.errors.every((text) => text.includes("of a message")), bench.errors[0]);
});

Deno.test("a front-end that never reads its replies is let go", async () => {
  await using bench = new Bench();
  const raw = bench.raw();
  const flood = encodeMessage(1, 0x1, new Uint8Array());
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    try {
      for (let i = 0; i < 50; i++) raw.send(flood);
    } catch {
      clearInterval(timer);
      resolve();
    }
  }, 1);
  await promise;
  assert(bench.errors[0]!.includes("does not read"), bench.errors[0]);
  raw.socket.close();
  await bench.expectService();
});

Deno.test("a ring that lies is given up: reported, its error eventfd rung, the session goes on", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(2);
  using error = EventFd.create();
  await raw.ask("SET_VRING_ERR", { index: 0, noFd: false }, [error.number]);
  await raw.ring(driver, 0);
  await raw.ring(driver, 1, ["SET_MEM_TABLE"]);
  const { avail } = driver.rings()[0]!;
  const view = new DataView(driver.bytes.buffer);
  view.setUint16(avail - driver.memory[0]!.user + 2, 1000, true); // the available idx, far ahead
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await rung(error, bench.reactor), 1);
  assert(bench.errors[0]!.includes("the available idx is 1000"), bench.errors[0]);
  signalEvent(driver.kicks[0]!.number);
  driver.offer(1, "the other");
  signalEvent(driver.kicks[1]!.number);
  assertEquals(await driver.answer(1, bench.reactor), "the other");
  assertEquals(await raw.ask("GET_VRING_BASE", { index: 0, num: 0 }), "0000000000000000");
  assertEquals(bench.errors.length, 1);
});

Deno.test("a device that throws does not take the session's memory or the loop with it", async () => {
  const before = openDescriptors();
  {
    await using bench = new Bench();
    const raw = await bench.agreed();
    using driver = new Driver(1);
    await raw.ring(driver, 0);
    const broken = (): never => {
      throw new Error("broken device");
    };
    Object.assign(bench.device, { stopRing: broken, disconnected: broken });
    raw.socket.close();
    while (bench.errors.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals(bench.errors, ["broken device", "broken device"]);
    assertEquals(mappings(), 1);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("ringing a call eventfd that is full, and blocking, does not wait", async () => {
  await using bench = new Bench();
  const raw = await bench.agreed();
  using driver = new Driver(1);
  await raw.ring(driver, 0);
  using full = EventFd.createBlocking();
  const most = new Uint8Array(new BigUint64Array([0xffff_ffff_ffff_fffen]).buffer);
  assertEquals(writeFd(full.number, most, 0, 8), 8);
  await raw.ask("SET_VRING_CALL", { index: 0, noFd: false }, [full.number]);
  driver.offer(0, "x");
  signalEvent(driver.kicks[0]!.number);
  assertEquals(await raw.ask("GET_QUEUE_NUM", undefined), "0400000000000000");
  // Its flags are those that it came with: whoever waits in a read of it goes on waiting.
  const flags =
    /^flags:\s*(\d+)$/m.exec(Deno.readTextFileSync(`/proc/self/fdinfo/${full.number}`))![1];
  assertEquals(parseInt(flags!, 8) & 0o4000, 0);
});
