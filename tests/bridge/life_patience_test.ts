// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertMatch } from "@std/assert";
import { MOST_REPLY_MS } from "../../lib/bridge/machine_moves.ts";
import { problem } from "./machine_world.ts";
import { Scene } from "./life_scene.ts";

// ---- patience ----

Deno.test("a late reply lengthens the next deadline, up to minutes, and is reported once", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").expires("retry");
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const connect = scene.world.actions.find((action) => action.do === "connect")!;
    waits.push(connect.replyMs);
    scene.did();
    scene.fails("connect", "late", `late ${i}`);
    const lines = scene.did().filter((line) => line.startsWith("waiting"));
    assertEquals(lines.length, i < 6 ? 1 : 0, lines.join());
    scene.expires("retry");
  }
  assertEquals(waits, [2000, 4000, 8000, 16_000, 32_000, 64_000, MOST_REPLY_MS, MOST_REPLY_MS]);
});

Deno.test("a configured deadline above the maximum is not reduced", () => {
  const scene = new Scene({ replyMs: 10 ** 8 }).runs();
  scene.happens({ on: "back-end lost", problem: problem("late") }).ends("detach").expires("retry");
  assertEquals(scene.world.state.history.replyMs, 10 ** 8);
});

Deno.test("a back-end that does not last is waited for longer each time; one that serves, not", () => {
  const scene = new Scene().runs();
  const waits: string[] = [];
  for (let i = 0; i < 8; i++) {
    scene.happens({ on: "back-end lost", problem: problem("lost") });
    if (i === 0) scene.ends("detach");
    else scene.fails("connect");
    waits.push(...scene.did().filter((line) => line.startsWith("timer retry")));
    scene.expires("retry");
  }
  assertEquals(waits.map((line) => Number(line.split(" ")[2])), [
    50,
    100,
    200,
    400,
    800,
    1600,
    2000,
    2000,
  ]);
  scene.runs().happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  assert(scene.did().includes("timer retry 50"));
});

Deno.test("the same loss is reported the 1st, the 10th, the 100th time", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost", "gone") }).ends("detach");
  for (let i = 1; i < 100; i++) {
    scene.expires("retry").fails("connect", "lost", "gone");
  }
  const told = scene.did().filter((line) => line.startsWith("lost"));
  assertEquals(told, [
    "lost: gone",
    "lost: gone (for the 10th time)",
    "lost: gone (for the 100th time)",
  ]);
});

Deno.test("a slow queue is reported once; a stuck one ends the connection", () => {
  const scene = new Scene().runs();
  for (let i = 0; i < 3; i++) {
    scene.expires("check").endsWith("check", { kind: "slow", text: "queue 0 takes its time" });
  }
  assertEquals(scene.did().filter((line) => line.startsWith("waiting")), [
    "waiting: queue 0 takes its time",
  ]);
  scene.expires("check").endsWith("check", { kind: "stuck", text: "queue 0 stands still" });
  scene.ends("detach");
  assert(scene.did().includes("lost: queue 0 stands still"));
});

Deno.test("a back-end without requests is not checked until the driver kicks a queue", () => {
  const scene = new Scene().runs();
  scene.expires("check").endsWith("check", { kind: "idle" });
  assertEquals(scene.did(), ["check"]);
  scene.happens({ on: "kicked" });
  assertEquals(scene.did(), ["timer check 1000"]);
});

Deno.test("a kick while a back-end is checked is not forgotten when the check finds nothing", () => {
  const scene = new Scene().runs();
  scene.expires("check").happens({ on: "kicked" }).endsWith("check", { kind: "idle" });
  assertEquals([scene.did(), scene.world.timers], [["check", "timer check 1000"], ["check"]]);
});

Deno.test("a back-end that does not answer the replayed requests is disconnected", () => {
  const scene = new Scene();
  scene.ends("restore", "connect", "prepare", "present", "announce");
  scene.driverOk().ends("activate").expires("replay").ends("detach");
  assertMatch(scene.did().join(), /lost: .* did not answer the replayed control requests in time/);
});
