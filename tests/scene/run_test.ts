// SPDX-License-Identifier: Apache-2.0
// A scene's parts come, go and change: on a host that only notes what it is asked.
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { loadSceneClasses, readScene, type Scene } from "../../lib/scene/mod.ts";
import { InTurn } from "../../lib/scene/in_turn.ts";
import { RunningScene, type SceneEvent, type SceneHost } from "../../lib/scene/run.ts";
import type { Running } from "../../lib/scene/supervised.ts";
import { FakeTime, turn } from "../support/fake_time.ts";

const CLASSES = await loadSceneClasses();

/** See the module. */
class FakeHost implements SceneHost {
  /** What was started and stopped, in order. */
  readonly log: string[] = [];
  readonly events: SceneEvent[] = [];
  /** Ends what runs under this name. */
  readonly ends = new Map<string, (reason: string) => void>();
  /** Names that cannot be started. */
  readonly broken = new Set<string>();
  /** A start of this name waits for it. */
  readonly slow = new Map<string, Promise<void>>();

  async #start(what: string): Promise<Running> {
    await this.slow.get(what);
    if (this.broken.has(what)) throw new Error(`Cannot start ${what}`);
    this.log.push(`+${what}`);
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    this.ends.set(what, resolve);
    return { ended, stop: () => Promise.resolve(void this.log.push(`-${what}`)) };
  }

  startOwn = ({ name }: { name: string }, _spec: object, socket: string): Promise<Running> =>
    this.#start(`${name} at ${socket}`);
  startCommand = ({ name }: { name: string }, command: string): Promise<Running> =>
    this.#start(`${name}: ${command}`);
  attach = ({ name }: { name: string }, socket: string): Promise<Running> =>
    this.#start(`${name} to ${socket}`);
  addLane = ({ name }: { name: string }): void => {
    if (this.broken.has(name)) throw new Error(`Cannot set up lane ${name}`);
    this.log.push(`lane ${name}`);
  };
  report = (event: SceneEvent): void => void this.events.push(event);

  /** What happened since this was last asked. */
  take(): string[] {
    return this.log.splice(0);
  }
}

/** A scene of entropy: names, and what more their sections say. */
function scene(devices: Record<string, string>, lanes = ""): Scene {
  const text = Object.entries(devices).map(([name, more]) =>
    `[[device]]\nclass = "rng"\nname = "${name}"\nloopback = "soft:/${name}"\n${more}\n`
  );
  return readScene(text.join("") + lanes, CLASSES);
}

Deno.test("what serves a device is started before it is attached, and stopped after it", async () => {
  const host = new FakeHost();
  const running = new RunningScene(host, "/t");
  await running.start(scene({
    own: "",
    daemon: 'socket = "/s"\ncommand = "daemon"',
    foreign: 'socket = "/f"',
  }));
  const log = host.take();
  assertEquals(log.toSorted(), [
    "+daemon to /s",
    "+daemon: daemon",
    "+foreign to /f",
    "+own at /t/device0",
    "+own to /t/device0",
  ]);
  const before = (a: string, b: string): boolean => log.indexOf(a) < log.indexOf(b);
  assertEquals(before("+own at /t/device0", "+own to /t/device0"), true);
  assertEquals(before("+daemon: daemon", "+daemon to /s"), true);
  await running.close();
  const ends = host.take();
  assertEquals(ends.length, 5);
  assertEquals(ends.indexOf("-own to /t/device0") < ends.indexOf("-own at /t/device0"), true);
  assertEquals(host.events, []);
});

Deno.test("a part that ends or does not start is reported and tried again, and the others are left alone", async () => {
  using time = new FakeTime();
  const host = new FakeHost();
  host.broken.add("b at /t/device1");
  const running = new RunningScene(host, "/t");
  await running.start(scene({ a: "", b: "" }));
  await turn();
  assertEquals(host.events.map(({ device, kind }) => [device, kind]), [["b", "failed"]]);
  assertMatch(host.events[0]!.text, /Cannot start b at .*; trying again in 0.5 s/);
  host.take();
  host.broken.clear();
  host.ends.get("a to /t/device0")!("the node is gone");
  await turn();
  time.pass(500);
  await turn();
  assertEquals(host.take().toSorted(), [
    "+a to /t/device0",
    "+b at /t/device1",
    "-a to /t/device0",
  ]);
  await running.close();
});

Deno.test("a changed file: what is gone, changed or new is carried out, the rest is not touched", async () => {
  const host = new FakeHost();
  const running = new RunningScene(host, "/t");
  await running.start(scene({ same: "", changed: "", gone: "" }));
  host.take();
  await running.change(scene({ added: "", changed: "priority = 1", same: "" }));
  const log = host.take();
  assertEquals(log.some((line) => line.includes("same")), false, log.join());
  // The places of what is gone are used again.
  assertEquals(log.filter((line) => line.startsWith("+")).toSorted(), [
    "+added at /t/device2",
    "+added to /t/device2",
    "+changed at /t/device1",
    "+changed to /t/device1",
  ]);
  assertEquals(log.filter((line) => line.startsWith("-")).length, 4);
  assertEquals(host.events.map(({ kind, device }) => [kind, device]), [
    ["removed", "gone"],
    ["changed", "changed"],
    ["added", "added"],
  ]);
  await running.close();
  assertEquals(host.take().length, 6);
});

Deno.test("lanes: a new one is set up, another one's settings stay until viola is started again", async () => {
  const host = new FakeHost();
  const running = new RunningScene(host, "/t");
  await running.start(scene({ a: 'lane = "x"' }, "[lane.x]\ncpus = [1]\n"));
  host.take();
  const lanes = "[lane.x]\ncpus = [0]\n[lane.y]\nrealtime = 5\n";
  await running.change(scene({ a: 'lane = "x"', b: 'lane = "y"' }, lanes));
  assertEquals(host.take(), ["lane y", "+b at /t/device1", "+b to /t/device1"]);
  assertEquals(host.events.map(({ kind, device }) => [kind, device]), [
    ["unchanged", null],
    ["added", "b"],
  ]);
  await running.close();
});

Deno.test("a scene that is closed while it starts leaves nothing", async () => {
  const host = new FakeHost();
  const { promise, resolve } = Promise.withResolvers<void>();
  host.slow.set("a at /t/device0", promise);
  const running = new RunningScene(host, "/t");
  const starting = running.start(scene({ a: "", b: "" }));
  await turn();
  const closing = running.close();
  resolve();
  await Promise.all([starting, closing]);
  const log = host.take();
  const left = log.filter((line) => line.startsWith("+") && !log.includes(`-${line.slice(1)}`));
  assertEquals([log.length, left], [8, []]);
});

Deno.test("a change that fails leaves the devices as they were, and keeps neither the next change nor the end from being done", async () => {
  const host = new FakeHost();
  const running = new RunningScene(host, "/t");
  await running.start(scene({ one: "" }));
  host.take();
  host.broken.add("late");
  const change = (...names: string[]) => {
    const inLanes = names.map((name) => [`in-${name}`, `lane = "${name}"`]);
    const lanes = names.map((name) => `[lane.${name}]\n`).join("");
    return running.change(scene({ one: "", ...Object.fromEntries(inLanes) }, lanes));
  };
  await assertRejects(() => change("quick", "late"), Error, "Cannot set up lane late");
  assertEquals(host.take(), ["lane quick"]);
  host.broken.clear();
  await change("quick", "late");
  assertEquals(host.take(), [
    "lane late",
    "+in-quick at /t/device1",
    "+in-late at /t/device2",
    "+in-quick to /t/device1",
    "+in-late to /t/device2",
  ]);
  host.broken.add("last");
  await assertRejects(() => change("quick", "late", "last"), Error, "Cannot set up lane last");
  assertEquals(host.take(), []);
  await running.close();
  assertEquals(host.take().toSorted(), [
    "-in-late at /t/device2",
    "-in-late to /t/device2",
    "-in-quick at /t/device1",
    "-in-quick to /t/device1",
    "-one at /t/device0",
    "-one to /t/device0",
  ]);
});

Deno.test("work in turn: each piece begins when the last one has ended, whichever way", async () => {
  const turns = new InTurn();
  const log: string[] = [];
  const first = Promise.withResolvers<void>();
  const one = turns.do(async () => {
    await first.promise;
    log.push("one");
    throw new Error("one fails");
  });
  const two = turns.do(() => Promise.resolve(log.push("two")));
  await turn();
  assertEquals(log, []);
  first.resolve();
  await assertRejects(() => one, Error, "one fails");
  assertEquals([await two, log], [2, ["one", "two"]]);
});
