// SPDX-License-Identifier: Apache-2.0
// Every class that has a device and a driver of its own: the device as a process of its own, the bridge, the driver on a
// software node. A class is tested by being listed.
import { Bridge, type BridgeEvent, type MemoryMode } from "../../../lib/bridge/mod.ts";
import { DEVICE_CLASSES } from "../../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { Reactor } from "../../../ffi/mod.ts";
import type { DeviceClass } from "../../../lib/virtio/device_class.ts";
import { Process, TempFolder, until } from "../../support/process.ts";
import { OwnStore } from "../../support/store.ts";
import { DeviceProcess } from "./device_process.ts";

/** A process takes a while to start, on a machine that does other things too. */
const PATIENCE_MS = 60_000;
const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

/** A device's process, joined to a driver. */
class Scene implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  /** What the bridge reported. */
  readonly events: readonly BridgeEvent[];
  readonly device: DeviceProcess;
  readonly guest: Guest;

  private constructor(
    stack: AsyncDisposableStack,
    events: readonly BridgeEvent[],
    device: DeviceProcess,
    guest: Guest,
  ) {
    this.#stack = stack;
    this.events = events;
    this.device = device;
    this.guest = guest;
  }

  static async create(deviceClass: DeviceClass, memory: MemoryMode): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const node = stack.use(new SoftNode());
    node.listen(folder.file("node"), reactor);
    const socket = folder.file("socket");
    const device = stack.use(DeviceProcess.start([deviceClass.name, "--socket", socket]));
    const events: BridgeEvent[] = [];
    const bridge = stack.use(
      await Bridge.start({ onEvent: (event) => events.push(event) }),
    );
    bridge.add({
      class: deviceClass,
      socket,
      loopback: `soft:${folder.file("node")}`,
      memory,
      mmioVersion: "auto",
      priority: 0,
      lane: "lane",
    });
    const guest = stack.use(
      await startGuest(deviceClass, node.wires, {
        controlTimeoutMs: PATIENCE_MS,
        stallTimeoutMs: PATIENCE_MS,
      }),
    );
    return new Scene(stack.move(), events, device, guest);
  }

  /** Does a step, or says what the bridge and the device reported until then. */
  async step(name: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (cause) {
      const told = this.events.map(({ kind, text }) => `${kind}: ${text}`).join("\n");
      throw new Error(`${name}: ${(cause as Error).message}\n${told}\n${this.device.output}`, {
        cause,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

for (const one of DEVICE_CLASSES) {
  if (one.roles.device === undefined || one.roles.driver === undefined) continue;
  for (const memory of ["isolated", "direct"] as const) {
    Deno.test(`${one.name}: from its device's process to its driver, ${memory} memory`, async () => {
      await using scene = await Scene.create(one, memory);
      const { guest, device } = scene;
      const use = (when: string) => scene.step(`use ${when}`, () => guest.exercise());
      await scene.step("probe", () => guest.probe(PATIENCE_MS));
      await use("after the probe");
      await scene.step("unbind", () => guest.unbind());
      await scene.step("probe again", () => guest.probe());
      await use("after it was unbound");
      await scene.step("reset", () => guest.reset());
      await scene.step("probe after a reset", () => guest.probe());
      await use("after a reset");
      for (const time of ["first", "second"]) {
        await device.killAndRestart();
        await use(`after the ${time} time that the device was killed`);
      }
      await scene.step("unbind at the end", () => guest.unbind());
    });
  }
}

/** A driver, at a device that a `viola attach --keep` of its own process serves. */
class KeptScene implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #start: () => Process;
  #viola: Process;
  readonly guest: Guest;

  private constructor(stack: AsyncDisposableStack, start: () => Process, guest: Guest) {
    this.#stack = stack;
    this.#start = start;
    this.#viola = start();
    this.guest = guest;
  }

  static async create(deviceClass: DeviceClass, memory: MemoryMode): Promise<KeptScene> {
    const { name } = deviceClass;
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.create());
    const reactor = stack.use(new Reactor());
    const node = stack.use(new SoftNode());
    node.listen(folder.file("node"), reactor);
    const { env } = stack.use(new OwnStore(folder.file("store")));
    const socket = folder.file("socket");
    stack.use(DeviceProcess.start([name, "--socket", socket]));
    const args = ["attach", name, "--socket", socket, "--memory", memory, "--keep"];
    const run = ["run", "-A", "--no-prompt", "--no-check", MAIN, ...args];
    const loopback = ["--loopback", `soft:${folder.file("node")}`];
    const start = () => Process.start(Deno.execPath(), [...run, ...loopback], { env });
    const patience = { controlTimeoutMs: PATIENCE_MS, stallTimeoutMs: PATIENCE_MS };
    const guest = stack.use(await startGuest(deviceClass, node.wires, patience));
    return new KeptScene(stack.move(), start, guest);
  }

  /** Ends viola, and starts the next, until that has restored the device. */
  async restart(signal: Deno.Signal): Promise<void> {
    this.#viola.signal(signal);
    await this.#viola.ended;
    this.#viola = this.#start();
    await until(() => this.output.includes("restored"), "viola restores the device");
  }

  /** What the present viola printed. */
  get output(): string {
    return this.#viola.stdout + this.#viola.stderr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#viola[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}

for (const one of DEVICE_CLASSES) {
  if (one.roles.device === undefined || one.roles.driver === undefined) continue;
  for (const memory of ["isolated", "direct"] as const) {
    Deno.test(`${one.name}: its driver does not notice that viola was killed or ended, ${memory} memory`, async () => {
      await using scene = await KeptScene.create(one, memory);
      const { guest } = scene;
      try {
        await guest.probe(PATIENCE_MS);
        await guest.exercise();
        for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"] as const) {
          await scene.restart(signal);
          await guest.exercise();
        }
        await guest.unbind();
      } catch (cause) {
        throw new Error(`${(cause as Error).message}\n${scene.output}`, { cause });
      }
    });
  }
}
