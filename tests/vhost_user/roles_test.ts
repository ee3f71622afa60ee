// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { createMemory, Reactor } from "../../ffi/mod.ts";
import { type BackEndEvent, BackEndServer } from "../../lib/vhost_user/back_end.ts";
import type { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { FrontEnd } from "../../lib/vhost_user/front_end.ts";
import { inflightBytes } from "../../lib/vhost_user/inflight.ts";
import { protocolFeatures } from "../../lib/vhost_user/messages.ts";
import {
  Driver,
  EchoDevice,
  openDescriptors,
  rung,
  SocketFolder,
  SOUND,
  VERSION_1,
} from "./harness.ts";

/** Both roles on one loop, connected. */
class Pair implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly folder = new SocketFolder();
  readonly device = new EchoDevice();
  readonly events: BackEndEvent[] = [];
  readonly lost = Promise.withResolvers<VhostUserError>();
  readonly configChanged = Promise.withResolvers<void>();
  readonly server: BackEndServer = new BackEndServer(this.reactor, this.path, this.device, {
    onEvent: (event) => this.events.push(event),
  });
  front!: FrontEnd;

  static async create(): Promise<Pair> {
    const pair = new Pair();
    await pair.connect();
    return pair;
  }

  async connect(tracksInflight = false): Promise<void> {
    this.front = await FrontEnd.connect(this.path, {
      reactor: this.reactor,
      name: "card0",
      deviceClass: SOUND,
      tracksInflight,
      onLost: (error) => this.lost.resolve(error),
      onConfigChange: () => this.configChanged.resolve(),
    });
  }

  get path(): string {
    return this.folder.socket("device");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.front.close();
    this.server.close();
    await this.reactor.close();
    this.folder[Symbol.dispose]();
  }
}

Deno.test("a driver's requests are answered: initialise, start, echo, stop, start again", async () => {
  const before = openDescriptors();
  {
    await using pair = await Pair.create();
    const { front, device, reactor } = pair;
    assertEquals(await front.initialise(), {
      features: VERSION_1,
      protocolFeatures: protocolFeatures(
        "MQ",
        "REPLY_ACK",
        "CONFIG",
        "BACKEND_REQ",
        "RESET_DEVICE",
      ),
      queueCount: 4,
      config: Uint8Array.from({ length: 12 }, (_, i) => i),
      tracksInflight: false,
    });
    using driver = new Driver(4, 65534);
    driver.offer(2, "offered before the start");
    await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
    assertEquals(await driver.answer(2, reactor), "offered before the start");
    assertEquals(await front.stop(), [
      { index: 0, base: 65534 },
      { index: 1, base: 65534 },
      { index: 2, base: 65535 },
      { index: 3, base: 65534 },
    ]);
    driver.offer(2, "offered while stopped");
    await front.start({ features: VERSION_1, rings: driver.rings([65534, 65534, 65535, 65534]) });
    assertEquals(await driver.answer(2, reactor), "offered while stopped");
    assertEquals((await front.stop())[2], { index: 2, base: 0 });
    assertEquals(device.log.filter((line) => line.startsWith("start 2")).length, 2);
    assertEquals(pair.events.map(({ kind }) => kind), ["listening", "connected"]);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("config space: read, written, and read again when the device says that it changed", async () => {
  await using pair = await Pair.create();
  const { front, device, server } = pair;
  await front.initialise();
  await front.writeConfig(3, Uint8Array.of(0xaa, 0xbb));
  assertEquals(device.log.at(-1), "config 3 170,187");
  device.config[0] = 0xcc;
  server.configChanged();
  await pair.configChanged.promise;
  const config = await front.readConfig();
  assertEquals([...config.subarray(0, 5)], [0xcc, 1, 2, 0xaa, 0xbb]);
  assertEquals(front.profile.config, config);
});

Deno.test("RESET_DEVICE reaches the device, which can be started again", async () => {
  await using pair = await Pair.create();
  const { front, device, reactor } = pair;
  await front.initialise();
  using driver = new Driver(4);
  await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  assertEquals(await front.resetDevice(), true);
  assertEquals(device.log.at(-1), "disconnected, 0 rings left");
  driver.offer(1, "again");
  await front.start({ features: VERSION_1, rings: driver.rings() });
  assertEquals(await driver.answer(1, reactor), "again");
});

Deno.test("chains that a back-end held when its connection ended are served again, in their order", async () => {
  const before = openDescriptors();
  {
    await using pair = await Pair.create();
    const { device, reactor } = pair;
    using driver = new Driver(4);
    const shape = { queues: 4, queueSize: 16 };
    using fd = createMemory("in flight", 0x10000);
    device.held = new Map();
    for (const life of [0, 1, 2]) {
      pair.front.close();
      await pair.connect(true);
      const { tracksInflight } = await pair.front.initialise();
      assertEquals(tracksInflight, true);
      const size = await pair.front.inflightSize(shape);
      assertEquals(size, inflightBytes(shape));
      if (life === 0) { for (const text of ["a", "b", "c", "d"]) driver.offer(2, text); }
      const [used] = [driver.usedIdx(2)];
      const rings = driver.rings([0, 0, used, 0]);
      const inflight = { ...shape, size, fd: fd.number };
      await pair.front.start({ features: VERSION_1, memory: driver.memory, rings, inflight });
      const held = device.held.get(2)!;
      assertEquals(held, [[0, 2, 4, 6], [0, 4, 6], [4]][life]);
      if (life === 0) device.giveBack(2, 2);
      if (life === 1) [6, 0].forEach((head) => device.giveBack(2, head));
    }
    device.giveBack(2, 4);
    assertEquals(driver.takeAll(2), ["b", "d", "a", "c"]);
    await rung(driver.calls[2]!, reactor);
  }
  assertEquals(openDescriptors(), before);
});

Deno.test("a server that closes while rings run is a loss at once", async () => {
  await using pair = await Pair.create();
  const { front, device, server } = pair;
  await front.initialise();
  using driver = new Driver(4);
  await front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
  server.close();
  assertEquals((await pair.lost.promise).fault, "lost");
  assertEquals(device.log.slice(-2), ["abandon 3", "disconnected, 0 rings left"]);
});

Deno.test("a hundred front-ends, each closing in the middle, leave nothing behind", async () => {
  await using pair = await Pair.create();
  pair.front.close();
  using driver = new Driver(4);
  let before = 0;
  for (let i = 0; i < 100; i++) {
    pair.front = await FrontEnd.connect(pair.path, {
      reactor: pair.reactor,
      name: "card0",
      deviceClass: SOUND,
    });
    await pair.front.initialise();
    if (i === 0) before = openDescriptors();
    if (i === 99) assertEquals(openDescriptors(), before);
    await pair.front.start({ features: VERSION_1, memory: driver.memory, rings: driver.rings() });
    pair.front.close();
  }
});
