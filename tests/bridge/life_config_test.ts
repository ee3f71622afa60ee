// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch } from "@std/assert";
import type { Problem, Rules } from "../../lib/bridge/states.ts";
import { COMMON, problem } from "./machine_world.ts";
import { Scene } from "./life_scene.ts";

/** VIRTIO_F_INDIRECT_DESC. */
const INDIRECT = 1n << 28n;

// ---- the config space ----

const WRITE = { offset: 0, bytes: Uint8Array.of(7) };

Deno.test("cached: the driver's writes are sent to the back-end, the last one of each field", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: false });
  const later = { offset: 0, bytes: Uint8Array.of(8) };
  const other = { offset: 4, bytes: Uint8Array.of(9) };
  for (const write of [{ ...later, bytes: Uint8Array.of(1) }, other, later]) {
    scene.happens({ on: "config written", write, isHeld: false });
  }
  assertEquals(scene.did(), ["write config"]);
  scene.ends("write config");
  const [second] = scene.world.actions;
  assertEquals(second, { do: "write config", writes: [other, later] });
  scene.ends("write config");
  assertEquals([scene.phase, scene.world.state.job], ["running", null]);
});

Deno.test("config writes that a lost back-end did not get are sent to the next", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: false }).fails("write config");
  scene.did();
  scene.ends("detach").expires("retry").ends("connect");
  assertEquals(scene.world.state.config.sent, [WRITE]);
  assertEquals(scene.did().at(-1), "write config");
});

Deno.test("cached: the next back-end is sent the driver's config writes before it gets requests", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: false }).ends("write config");
  scene.happens({ on: "back-end lost", problem: problem("lost") });
  const publish = scene.ends("detach").expires("retry").ends("connect").world.actions
    .find((action) => action.do === "publish config");
  // What the driver reads meanwhile is what it wrote.
  assertEquals(publish?.config, Uint8Array.of(7, 0, 0, 0));
  assertEquals(scene.world.state.config.sent, [WRITE]);
  scene.did();
  scene.ends("write config");
  assertEquals(scene.did().at(-1), "activate");
});

Deno.test("cached: a reset forgets the driver's config writes, and the config space is read again", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: false }).ends("write config");
  scene.reset();
  assertEquals(scene.world.state.config, { writes: [], sent: [], written: [], isStale: true });
});

Deno.test("forwarded: a write is answered when the back-end has it and its config was read back", () => {
  const scene = new Scene({ config: "forwarded" }).runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: true });
  scene.ends("write config", "read config");
  assertEquals(scene.did(), [
    "timer held 2000",
    "write config",
    "read config",
    "publish config, interrupt never",
    "no timer held",
    "release config",
  ]);
});

Deno.test("forwarded: each write goes with the earlier ones of the driver's life, and none after a reset", () => {
  const scene = new Scene({ config: "forwarded" }).runs();
  const other = { offset: 1, bytes: Uint8Array.of(3) };
  const writes = (): unknown[] =>
    scene.world.actions.flatMap((action) => action.do === "write config" ? action.writes : []);
  scene.happens({ on: "config written", write: WRITE, isHeld: true });
  assertEquals(writes(), [WRITE]);
  scene.ends("write config");
  const published = scene.ends("read config").world.actions[0];
  assertEquals(published?.do === "publish config" && published.config, Uint8Array.of(7, 0, 0, 0));
  scene.happens({ on: "config written", write: other, isHeld: true });
  assertEquals(writes(), [WRITE, other]);
  scene.ends("write config", "read config").reset().ends("stop", "detach", "reset device");
  scene.ends("read config").happens({ on: "config written", write: other, isHeld: true });
  assertEquals(writes(), [other]);
});

Deno.test("forwarded: no access waits for a back-end that is slow, lost, or absent", () => {
  const scene = new Scene({ config: "forwarded" }).runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: true }).expires("held");
  assertEquals(scene.did().at(-1), "release config");
  scene.ends("write config", "read config");
  // By now the driver has read what was there before.
  assertEquals(scene.did().at(-1), "publish config, interrupt always");
  scene.happens({ on: "config written", write: WRITE, isHeld: true }).fails("write config");
  scene.ends("detach");
  assertEquals(scene.world.held, null);
  scene.did();
  scene.happens({ on: "config written", write: WRITE, isHeld: true });
  assertEquals(scene.did(), ["no timer held", "release config"]);
});

Deno.test("a back-end's changed config space is read, and the driver interrupted", () => {
  const scene = new Scene().runs().happens({ on: "config changed" });
  // Another change, while the first is being read.
  scene.happens({ on: "config changed" }).ends("read config", "read config");
  assertEquals(scene.did(), [
    "read config",
    "publish config, interrupt always",
    "read config",
    "publish config, interrupt always",
  ]);
});

const UNTRACKED = {
  features: COMMON,
  queueCount: 4,
  config: new Uint8Array(4),
  tracksInflight: false,
};

/** A device whose driver uses indirect tables, with a back-end that has none: its start fails again and again. */
function flatSizes(
  fault: Problem["fault"],
  times: number,
): [sizes: number[], said: string[]] {
  const scene = new Scene({ ownFeatures: INDIRECT }).ends("restore");
  const backEnd = { ...UNTRACKED, features: COMMON | INDIRECT };
  scene.endsWith("connect", backEnd).ends("prepare", "present", "announce");
  scene.driverOk(COMMON | INDIRECT).runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  const sizes: number[] = [];
  const said: string[] = [];
  for (let i = 0; i < times; i++) {
    scene.expires("retry").endsWith("connect", UNTRACKED);
    sizes.push(scene.flatSize!);
    scene.fails("activate", fault).ends("detach");
    said.push(...scene.did().filter((line) => line.includes("indirect tables")));
  }
  return [sizes, said];
}

Deno.test("a back-end without indirect tables that does not start large rings is tried with smaller ones", () => {
  for (const fault of ["lost", "refused"] as const) {
    const [sizes, said] = flatSizes(fault, 9);
    assertEquals(sizes, [1024, 512, 256, 128, 64, 32, 16, 1024, 512]);
    assertEquals(
      said[0],
      "waiting: the back-end has no indirect tables and did not start rings of 1024 entries or more, trying 512",
    );
  }
  for (const fault of ["late", "other"] as const) {
    assertEquals(flatSizes(fault, 3), [[1024, 1024, 1024], []]);
  }
});

Deno.test("rings are no smaller after a start that the driver's reset ended, or where tables are used", () => {
  const scene = new Scene({ ownFeatures: INDIRECT }).ends("restore");
  scene.endsWith("connect", UNTRACKED).ends("prepare", "present", "announce");
  scene.driverOk(COMMON | INDIRECT).reset();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).fails("activate").ends("detach");
  scene.driverOk(COMMON).expires("retry").endsWith("connect", UNTRACKED);
  assertEquals(scene.flatSize, 1024);
  scene.fails("activate", "lost").ends("detach").expires("retry");
  scene.endsWith("connect", UNTRACKED);
  assertEquals(scene.flatSize, 1024);
});

/** The reports that INFLIGHT_SHMFD is missing, of a first back-end and of the next. */
function reportsOfOrder(rules: Partial<Rules>, lives?: number): [first: string[], next: string[]] {
  const isOne = (line: string): boolean => line.includes("INFLIGHT_SHMFD");
  const scene = new Scene(rules, lives).ends("restore");
  scene.endsWith("connect", UNTRACKED).ends("prepare", "present", "announce");
  const first = scene.did().filter(isOne);
  scene.happens({ on: "back-end lost", problem: problem("lost") }).expires("retry");
  scene.endsWith("connect", UNTRACKED);
  return [first, scene.did().filter(isOne)];
}

Deno.test("direct memory and a back-end that does not track its requests: said once, where it matters", () => {
  assertEquals(reportsOfOrder({ memory: "direct" }), [[
    "connected: the back-end does not track its requests in flight (INFLIGHT_SHMFD): if it ends after it completed " +
    "some out of order, viola cannot know which with direct memory, and the driver must reset the device",
  ], []]);
  assertEquals(reportsOfOrder({ memory: "isolated" }), [[], []]);
  assertEquals(reportsOfOrder({ memory: "direct" }, 1), [[], []]);
});

Deno.test("a back-end with a config space of another size is not taken", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").expires("retry");
  const config = new Uint8Array(8);
  const offer = { features: COMMON, queueCount: 4, config, tracksInflight: true };
  scene.endsWith("connect", offer);
  assertMatch(scene.did().join(), /lost: .*8 bytes of config space, expected 4 as before/);
  assertEquals(scene.phase, "backing off");
});
