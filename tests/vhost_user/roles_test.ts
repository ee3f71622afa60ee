// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Reactor, UnixListener } from "../../ffi/mod.ts";
import { type BackEndEvent, BackEndServer } from "../../lib/vhost_user/back_end.ts";
import type { VhostUserError } from "../../lib/vhost_user/errors.ts";
import {
  connectWithBackoff,
  FrontEnd,
  type FrontEndOptions,
} from "../../lib/vhost_user/front_end.ts";
import { protocolFeatures } from "../../lib/vhost_user/messages.ts";
import {
  Driver,
  EchoDevice,
  openDescriptors,
  RNG,
  SocketFolder,
  SOUND,
  VERSION_1,
} from "./harness.ts";

/** Both roles on one loop, connected. */
class Pair implements AsyncDisposable {
  readonly reactor = new Reactor();
  readonly folder = new SocketFolder();
  readonly events: BackEndEvent[] = [];
  readonly lost: VhostUserError[] = [];
  configChanges = 0;
  readonly server: BackEndServer;
  front!: FrontEnd;

  private constructor(readonly device: EchoDevice) {
    this.server = new BackEndServer(this.reactor, this.path, device, {
      onEvent: (event) => this.events.push(event),
    });
  }

  static async create(
    device = new EchoDevice(),
    options: Partial<FrontEndOptions> = {},
  ): Promise<Pair> {
    const pair = new Pair(device);
    pair.front = await pair.connect(options);
    return pair;
  }

  get path(): string {
    return this.folder.socket("device");
  }

  connect(options: Partial<FrontEndOptions> = {}): Promise<FrontEnd> {
    return FrontEnd.connect(this.path, {
      reactor: this.reactor,
      name: "card0",
      deviceClass: SOUND,
      onLost: (error) => this.lost.push(error),
      onConfigChange: () => this.configChanges++,
      ...options,
    });
  }

  get errors(): string[] {
    return this.events.filter(({ kind }) => kind === "error").map(({ text }) => text);
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
    assertEquals([pair.errors, pair.lost], [[], []]);
  }
  assertEquals(openDescriptors(), before);
});
