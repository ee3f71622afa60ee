// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { problem } from "./machine_world.ts";
import { Scene } from "./life_scene.ts";

// ---- beginnings and ends ----

Deno.test("a first back-end of another class ends the device; one that disconnects is waited for", () => {
  const scene = new Scene().ends("restore").fails("connect", "lost");
  assertEquals(scene.phase, "backing off");
  scene.expires("retry").fails("connect", "refused", "no such device");
  scene.ends("free");
  assertEquals(scene.phase, "failed");
});

Deno.test("a node that cannot be opened or started ends the device", () => {
  const scene = new Scene().ends("restore", "connect", "prepare");
  scene.fails("present", "other").ends("free");
  assertEquals([scene.phase, scene.world.hasFrontEnd], ["failed", false]);
  const other = new Scene().ends("restore", "connect", "prepare", "present");
  other.fails("announce", "other", "EIO").ends("free");
  assertEquals(other.phase, "failed");
  assert(other.did().includes("error: EIO"));
});

Deno.test("a device that is restored is announced, unless the driver shows that it was", () => {
  const scene = new Scene({ isKept: true });
  const found = {
    configSize: 4,
    backEndLives: Infinity,
    mappings: ", 3 of its 200 mappings used",
    isAnnounced: false,
    driver: { epoch: 3, isReady: false, features: 0n },
  };
  scene.endsWith("restore", found).expires("first access").ends("announce");
  assertEquals(scene.did(), [
    "restore",
    "listen",
    "timer first access 200",
    "announce",
    "restored: /dev/loopback-1 restored from the descriptor store, 3 of its 200 mappings used",
    "no timer first access",
    "connect",
  ]);
  const other = new Scene({ isKept: true }).endsWith("restore", found);
  other.did();
  other.reset();
  assertEquals(other.did(), [
    "mark announced",
    "restored: /dev/loopback-1 restored from the descriptor store, 3 of its 200 mappings used",
    "no timer first access",
    "connect",
  ]);
});

Deno.test("the end: the back-end is stopped in order, within a second", () => {
  const scene = new Scene().runs().happens({ on: "close" });
  assertEquals(scene.did(), ["no timer check", "timer stop 1000", "stop"]);
  scene.expires("stop").fails("stop").ends("detach", "free");
  assertEquals(scene.did(), ["close front-end", "no timer stop", "detach", "free"]);
  assertEquals(scene.phase, "closed");
});

Deno.test("the end of a device that is kept: nothing is stopped, and what is held stays so", () => {
  const scene = new Scene({ isKept: true }).runs().happens({ on: "close" });
  assertEquals(scene.did(), ["no timer check", "detach"]);
  scene.ends("detach").endsWith("free", "held by init");
  assertEquals(scene.did(), ["close front-end", "no timer held", "free", "kept: held by init"]);

  const held = new Scene({ isKept: true }).runs().reset();
  held.ends("stop", "detach").endsWith("reset device", "reset").driverOk().happens({ on: "close" });
  held.fails("activate").ends("detach", "free");
  assertEquals([held.phase, held.world.held], ["closed", "DRIVER_OK"]);
});

Deno.test("the end waits for no silent back-end, in any phase", () => {
  const scene = new Scene().ends("restore").happens({ on: "close" });
  assertEquals(scene.did().at(-1), "abort connect");
  scene.fails("connect").ends("free");
  assertEquals(scene.phase, "closed");
  const other = new Scene().ends("restore", "connect").happens({ on: "close" }); // the lane is being started
  assertEquals(other.did().at(-1), "close front-end");
  other.ends("prepare", "free");
  assertEquals(other.phase, "closed");
  const third = new Scene({ memory: "direct" }).runs();
  third.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").expires("retry");
  third.ends("connect", "activate").happens({ on: "replayed" });
  third.happens({ on: "close" }); // its rings are being started
  assertEquals(third.did().at(-1), "close front-end");
  third.fails("resume").ends("detach", "free");
  assertEquals(third.phase, "closed");
});

Deno.test("a Worker of the lane that fails ends the device, with its reason", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "lane failed", problem: problem("other", "the Worker failed") });
  scene.fails("stop").ends("detach", "free");
  assertEquals(scene.phase, "failed");
  assertEquals(scene.did()[0], "error: the Worker failed");
});
