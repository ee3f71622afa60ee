// SPDX-License-Identifier: Apache-2.0
// An idle viola sleeps: nothing wakes it up while no request is in flight. Whatever hangs afterwards is found all the same.
import { assertEquals } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { can, rng, sound } from "../../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import type { DeviceClass } from "../../../lib/virtio/device_class.ts";
import type { Process } from "../../support/process.ts";
import { TempFolder } from "../../support/process.ts";
import { untilAsleep } from "../../support/wakeups.ts";
import { reported, viola } from "../cli/viola.ts";
import { fill, Filler, FILLING } from "./back_ends.ts";

const PATIENCE_MS = 30_000;

/** A folder with software nodes, and a driver for each. */
class Place implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();

  private constructor(readonly folder: TempFolder, readonly reactor: Reactor) {
    this.#stack.use(folder);
    this.#stack.use(reactor);
  }

  static async create(): Promise<Place> {
    return new Place(await TempFolder.create(), new Reactor());
  }

  async driver<C extends DeviceClass>(deviceClass: C): Promise<Guest<C>> {
    const node = this.#stack.use(new SoftNode());
    node.listen(this.folder.file(`${deviceClass.name}.node`), this.reactor);
    const options = { controlTimeoutMs: PATIENCE_MS, timeoutMs: PATIENCE_MS };
    return this.#stack.use(await startGuest(deviceClass, node.wires, options));
  }

  socket(name: string): string {
    return this.folder.file(name);
  }

  /** A running viola. */
  viola(...args: string[]): Process {
    return this.#stack.use(viola([...args, "--json"]));
  }

  /** A viola that has these devices attached. */
  attach(names: readonly string[], ...more: string[]): Process {
    const ends = names.flatMap((name) => [
      ...["--socket", this.socket(name)],
      ...["--loopback", `soft:${this.folder.file(`${name}.node`)}`],
    ]);
    return this.viola("attach", ...names, ...ends, ...more);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

Deno.test("idle devices and the viola that serves them sleep", async () => {
  await using place = await Place.create();
  const names = ["sound", "can", "rng"];
  const devices = names.map((name) =>
    place.viola("device", name, "--socket", place.socket(name), ...DEVICE_OPTIONS[name] ?? [])
  );
  const [card, bus, entropy] = [
    await place.driver(sound),
    await place.driver(can),
    await place.driver(rng),
  ];
  const adapter = place.attach(names);
  for (const device of names) await reported(adapter, "started", (fact) => fact.device === device);
  for (const driver of [card, bus, entropy]) await driver.probe(PATIENCE_MS);
  assertEquals((await entropy.call("readEntropy", 64)).length, 64);
  await Promise.all([adapter, ...devices].map((process) => untilAsleep(process, 1500)));
});

/** Their pace is that of the driver. */
const DEVICE_OPTIONS: Record<string, string[]> = { sound: ["--sink", "null"] };

for (const memory of ["isolated", "direct"]) {
  Deno.test(`a back-end that hangs after viola slept is found, ${memory}`, async () => {
    await using place = await Place.create();
    using back = new Filler(place.reactor, place.socket("rng"));
    const driver = await place.driver(rng);
    // Five checks in this limit, while the watchdog is armed.
    const adapter = place.attach(["rng"], "--memory", memory, "--request-limit", "1");
    await reported(adapter, "started");
    await driver.probe(PATIENCE_MS);
    await untilAsleep(adapter, 700);
    back.serve = () => {};
    const reading = driver.call("readEntropy", 64);
    await reported(adapter, "lost", ({ text }) => /none was given back for 1 s/.test(`${text}`));
    back.serve = fill;
    assertEquals(await reading, new Uint8Array(64).fill(FILLING));
    await reported(adapter, "resumed");
  });
}
