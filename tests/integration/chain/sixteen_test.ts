// SPDX-License-Identifier: Apache-2.0
// Sixteen devices of all classes with a driver, in one process and one lane, beside a sound card that plays.
import { assertEquals } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { Bridge, type BridgeEvent, type MemoryMode } from "../../../lib/bridge/mod.ts";
import { DEVICE_CLASSES, sound } from "../../../lib/classes/mod.ts";
import { startDevice } from "../../../lib/device/mod.ts";
import { type Guest, startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import type { DeviceClass } from "../../../lib/virtio/device_class.ts";
import { TempFolder } from "../../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";
import { assertNumbered } from "./sounds.ts";

const COUNT = 16;
/** So many Workers take a while to start, on a machine that does other things too. */
const PATIENCE_MS = 60_000;

/** One process with a lane, and room for devices. */
class House implements AsyncDisposable {
  private constructor(
    readonly folder: TempFolder,
    readonly events: readonly BridgeEvent[],
    readonly bridge: Bridge,
    readonly reactor: Reactor,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async create(): Promise<House> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const events: BridgeEvent[] = [];
    const bridge = stack.use(await Bridge.start({ onEvent: (event) => events.push(event) }));
    return new House(folder, events, bridge, reactor, stack.move());
  }

  /** A device with a driver that has probed it. */
  async add<C extends DeviceClass>(
    deviceClass: C,
    name: string,
    memory: MemoryMode,
    spec: object = {},
  ): Promise<Guest<C>> {
    const socket = this.folder.file(`${name}.socket`);
    this.stack.use(await startDevice(deviceClass, { ...spec, socket } as never));
    const node = this.stack.use(new SoftNode());
    node.listen(this.folder.file(`${name}.node`), this.reactor);
    this.bridge.add({
      class: deviceClass,
      name,
      socket,
      loopback: `soft:${this.folder.file(`${name}.node`)}`,
      memory,
      mmioVersion: "auto",
      priority: deviceClass === sound ? 1 : 0,
      lane: "main",
    });
    const patience = { controlTimeoutMs: PATIENCE_MS, stallTimeoutMs: PATIENCE_MS };
    const guest = this.stack.use(await startGuest(deviceClass, node.wires, patience));
    await guest.probe(PATIENCE_MS);
    return guest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

Deno.test("sixteen devices of all classes work in one lane beside a card that plays whole", async () => {
  await using house = await House.create();
  const { folder } = house;
  const [input, output] = [folder.file("input.wav"), folder.file("output.wav")];
  writeNumbered(input, 4 * RATE);
  const card = await house.add(sound, "card", "isolated", {
    sinks: [`wav:${output}`],
    sources: [],
  });
  const classes = DEVICE_CLASSES.filter(({ roles }) => roles.device && roles.driver);
  const others: Guest[] = [];
  for (let i = 0; others.length < COUNT - 1; i++) {
    const deviceClass = classes[i % classes.length]!;
    const memory = i % 2 === 0 ? "isolated" : "direct";
    others.push(await house.add(deviceClass, `${deviceClass.name}${i}`, memory));
  }
  const playing = card.call("play", { file: input });
  let isPlaying = true;
  void playing.finally(() => isPlaying = false).catch(() => {});
  let rounds = 0;
  do {
    await Promise.all(others.map((guest) => guest.exercise()));
    rounds++;
  } while (isPlaying);
  const { frames, ioErrors } = await playing;
  assertEquals([frames, ioErrors], [4 * RATE, 0], `${rounds} rounds beside it`);
  assertNumbered(output, 4 * RATE);
  const trouble = house.events.filter(({ kind }) => ["error", "lost"].includes(kind));
  assertEquals(trouble, []);
});
