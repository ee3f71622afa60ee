// SPDX-License-Identifier: Apache-2.0
// The template class where it lies: what a class can ask of bridge, device and guest, each seen to work.
import { assertEquals, assertRejects } from "@std/assert";
import { Reactor } from "../../ffi/mod.ts";
import { Bridge, type MemoryMode } from "../../lib/bridge/mod.ts";
import { rng } from "../../lib/classes/mod.ts";
import { type RunningDevice, startDevice } from "../../lib/device/mod.ts";
import { type Guest, startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder, until } from "../support/process.ts";
import { echo as inLib } from "./template/class.ts";

const at = (file: string) => new URL(`./template/${file}`, import.meta.url);

/** The class, with its modules where they are. */
const echo: typeof inLib = {
  ...inLib,
  roles: {
    device: at("device.ts"),
    driver: at("driver.ts"),
    replay: at("replay.ts"),
    cli: at("cli.ts"),
  },
};

const WORD = new TextEncoder().encode("a word");

/** An echo device, joined to a guest that has bound it. */
class Scene implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly guest: Guest<typeof echo>;
  device: RunningDevice<typeof echo>;
  readonly #socket: string;

  private constructor(
    stack: AsyncDisposableStack,
    socket: string,
    device: RunningDevice<typeof echo>,
    guest: Guest<typeof echo>,
  ) {
    this.#stack = stack;
    this.#socket = socket;
    this.device = device;
    this.guest = guest;
  }

  static async create(memory: MemoryMode): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const node = stack.use(new SoftNode());
    node.listen(folder.file("node"), reactor);
    const socket = folder.file("socket");
    const device = await startDevice(echo, { socket, limit: 100 });
    stack.defer(() => device.close());
    const bridge = stack.use(await Bridge.start({ onEvent: () => {} }));
    bridge.add({
      class: echo,
      socket,
      loopback: `soft:${folder.file("node")}`,
      memory,
      mmioVersion: "auto",
      priority: 0,
      lane: "lane",
    });
    const guest = stack.use(await startGuest(echo, node.wires, { controlTimeoutMs: 10_000 }));
    assertEquals((await guest.probe()).limit, 100);
    return new Scene(stack.move(), socket, device, guest);
  }

  /** Another device takes the place of the one that there is. */
  async replaceDevice(): Promise<void> {
    await this.device.close();
    this.device = await startDevice(echo, { socket: this.#socket, limit: 100 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.device.close();
  }
}

/** Runs a test with each mode of memory. */
function inBothModes(name: string, test: (scene: Scene) => Promise<void>): void {
  for (const memory of ["isolated", "direct"] as const) {
    Deno.test(`${name}, ${memory} memory`, () =>
      withoutLeaks(async () => {
        await using scene = await Scene.create(memory);
        await test(scene);
      }));
  }
}

inBothModes(
  "echo: requests are answered, what a device is told from outside is so",
  async (scene) => {
    const { guest } = scene;
    assertEquals(await guest.call("echo", WORD), WORD);
    await guest.call("setKey", 0x20);
    assertEquals(await guest.call("echo", WORD), WORD.map((byte) => byte ^ 0x20));
    await guest.exercise();
  },
);

inBothModes("echo: events reach the driver", async ({ guest, device }) => {
  const heard = async (knocks: number) => {
    await device.call("knock"); // lost while there is no buffer for it
    return guest.progress.knocks > knocks;
  };
  await until(() => heard(0), "an event");
  const { knocks } = guest.progress;
  await until(() => heard(knocks), "another, in the buffer that was given back");
});

inBothModes("echo: a changed config space reaches the driver as an interrupt", async (scene) => {
  const { guest, device } = scene;
  await device.call("setLimit", 3);
  await until(() => guest.progress.configChanges === 1, "the interrupt");
  assertEquals(await guest.call("limit"), 3);
  assertEquals([...await guest.call("echo", WORD)].slice(0, 4), [...WORD.subarray(0, 3), 0]);
});

inBothModes("echo: another device in its place is told the key", async (scene) => {
  await scene.guest.call("setKey", 0x55);
  await scene.replaceDevice();
  const back = await scene.guest.call("echo", WORD);
  assertEquals(back, WORD.map((byte) => byte ^ 0x55));
});

Deno.test("a class without a role is refused in words, and never served as another class", async () => {
  const { name } = echo;
  const bare: DeviceClass = { ...echo, roles: {} };
  const device = () => startDevice(bare, { socket: "/tmp/none" });
  await assertRejects(device, TypeError, `viola's own ${name}: the class has no embedded device`);
  using node = new SoftNode();
  const guest = () => startGuest(bare, node.wires);
  await assertRejects(guest, TypeError, `viola's own ${name}: the class has no software driver`);
});

Deno.test("a role of another class is refused", async () => {
  const { device, driver } = echo.roles;
  const mixed: DeviceClass = { ...rng, roles: { device, driver } };
  const start = () => startDevice(mixed, { socket: "/tmp/none" });
  await assertRejects(start, Error, "it is a echo device (16383), expected id 4");
  using node = new SoftNode();
  const drive = () => startGuest(mixed, node.wires);
  await assertRejects(drive, Error, "it is a echo driver (16383), expected id 4");
});

Deno.test("a module without the role is refused", async () => {
  const wrong: DeviceClass = { ...echo, roles: { device: at("wire.ts") } };
  const start = () => startDevice(wrong, { socket: "/tmp/none" });
  await assertRejects(start, Error, "template/wire.ts: it exports no device");
});
