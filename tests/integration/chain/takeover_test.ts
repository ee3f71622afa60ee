// SPDX-License-Identifier: Apache-2.0
// viola itself dies in the middle of a playback, and the next one goes on.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { rng, sound } from "../../../lib/classes/mod.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { numbersOf, RATE, readNumbered, writeNumbered } from "../real/numbered.ts";
import { OwnStore } from "../../support/store.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process, TempFolder } from "../../support/process.ts";
import { seeded } from "../../support/random.ts";
import { ServiceManager } from "../../support/service_manager.ts";
import { Adapter, byProcess } from "./adapter.ts";
import { coverageOf } from "./coverage.ts";
import { DeviceProcess } from "./device_process.ts";

const PERIOD_FRAMES = 960;
const PERIODS = 8;
const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

const STORES = {
  "a store process": byProcess,
  systemd: (folder: TempFolder) => ServiceManager.create(folder),
  "systemd at an abstract address": (folder: TempFolder) =>
    ServiceManager.create(folder, { abstract: true }),
};

/** The arguments of `viola attach` for the sound card of a {@linkcode TempFolder}. */
function attachArgs(folder: TempFolder, memory: string): string[] {
  const [card, node] = [folder.file("card"), folder.file("node")];
  return ["sound", "--socket", card, "--loopback", `soft:${node}`, "--memory", memory];
}

const CASES = [
  { signal: "SIGKILL", memory: "isolated", times: 10, by: "a store process" },
  { signal: "SIGKILL", memory: "direct", times: 5, by: "a store process" },
  { signal: "SIGTERM", memory: "isolated", times: 4, by: "a store process" },
  { signal: "SIGTERM", memory: "direct", times: 3, by: "a store process" },
  { signal: "SIGKILL", memory: "isolated", times: 5, by: "systemd" },
  { signal: "SIGKILL", memory: "direct", times: 3, by: "systemd at an abstract address" },
  { signal: "SIGTERM", memory: "isolated", times: 3, by: "systemd at an abstract address" },
  { signal: "SIGTERM", memory: "direct", times: 3, by: "systemd" },
] as const;

for (const { signal, memory, times, by } of CASES) {
  Deno.test(`a device whose viola is ended by ${signal} ${times} times in one playback is restored, ${memory}, from ${by}`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      const frames = Math.ceil(0.8 * times) * RATE;
      const [input, output] = [folder.file("in.wav"), folder.file("out.wav")];
      writeNumbered(input, frames);
      await using reactor = new Reactor();
      using node = new SoftNode();
      node.listen(folder.file("node"), reactor);
      await using _device = DeviceProcess.start([
        ...["sound", "--socket", folder.file("card"), "--sink", `wav:${output},append`],
      ]);
      await using keeping = await STORES[by](folder);
      await using adapter = await Adapter.start(attachArgs(folder, memory), keeping);
      await using guest = await startGuest(sound, node.wires, { controlTimeoutMs: 5000 });
      await guest.probe();
      const playing = guest.call("play", {
        file: input,
        periodFrames: PERIOD_FRAMES,
        periods: PERIODS,
      });
      const draws = seeded();
      const ending = (async () => {
        for (let kills = 0; kills < times; kills++) {
          await new Promise((resolve) => setTimeout(resolve, 300 + draws.number(400)));
          await adapter.restart(signal);
        }
      })();
      const [result] = await Promise.all([playing, ending]);
      const text = `${adapter.output}\n${JSON.stringify(result)}`;
      assertEquals(result.frames, frames, text);
      assertEquals(result.ioErrors, 0, text);
      const found = coverageOf(numbersOf(readNumbered(output)), frames);
      assertEquals(found.missing.slice(0, 10), [], text);
      assert(found.repeated <= times * PERIODS * PERIOD_FRAMES, `${found.repeated} frames twice`);
      assertStringIncludes(adapter.output, "restored from the descriptor store");
      if (signal === "SIGTERM") {
        const holder = by === "a store process" ? "the store process" : "systemd";
        assertStringIncludes(adapter.output, `node stays open, held by ${holder}`);
      }
      if (keeping instanceof ServiceManager) assertEquals(keeping.refused, []);
    });
  });
}

Deno.test("a device that one viola serves and has kept is not served by a second", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    using node = new SoftNode();
    node.listen(folder.file("node"), reactor);
    await using _device = DeviceProcess.start(["rng", "--socket", folder.file("card")]);
    using store = new OwnStore(folder.file("store"));
    const args = ["attach", "rng", "--socket", folder.file("card"), "--keep"];
    args.push("--loopback", `soft:${folder.file("node")}`);
    const start = (): Process =>
      Process.start(Deno.execPath(), ["run", "-A", "--no-prompt", MAIN, ...args], {
        env: store.env,
      });
    await using first = start();
    await using guest = await startGuest(rng, node.wires);
    await guest.probe();
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
    await using second = start();
    const { code } = await second.ended;
    assertEquals(code, 2, second.stderr);
    assertStringIncludes(second.stderr, "another viola serves it");
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
    assertEquals(first.status, null);
  });
});
