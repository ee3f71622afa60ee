// SPDX-License-Identifier: Apache-2.0
// A bridged device's life, scene by scene: what its state machine has done, and in which order. No process, no clock.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { HELD_MS } from "../../lib/bridge/machine_moves.ts";
import type { JobName, Residue, Rules } from "../../lib/bridge/states.ts";
import { COMMON, problem, RARE } from "./machine_world.ts";
import { Scene } from "./life_scene.ts";

Deno.test("at the beginning the back-end connects, the node is opened and the driver served", () => {
  const scene = new Scene();
  scene.ends("restore", "connect", "prepare", "present", "announce");
  assertEquals(scene.did(), [
    "restore",
    "connect",
    "connected: connected to /run/card.sock",
    "prepare",
    "present",
    "listen",
    "announce",
    "started: /dev/loopback-1 is open, the driver may probe",
    "expect driver",
    "count connects",
  ]);
  scene.driverOk().ends("activate");
  scene.happens({ on: "live", resubmitted: 0, replayed: 0 });
  assertEquals(scene.did(), [
    "timer held 2000",
    "activate",
    "timer replay 5000",
    "count replays",
    "running: the back-end serves the driver",
    "no timer held",
    "release DRIVER_OK",
    "no timer replay",
    "timer check 1000",
  ]);
  assertEquals(scene.phase, "running");
});

Deno.test("a back-end dies and comes back", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost", "it is gone") }).ends("detach");
  assertEquals(scene.did(), [
    "no timer check",
    "detach",
    "close front-end",
    "count losses",
    "lost: it is gone",
    "timer retry 50",
  ]);
  scene.expires("retry").ends("connect", "activate");
  scene.happens({ on: "live", resubmitted: 3, replayed: 1 });
  assertEquals(scene.did(), [
    "no timer retry",
    "connect",
    "publish config, interrupt if changed",
    "offer",
    "connected: /run/card.sock accepted a new connection",
    "count connects",
    "activate",
    "timer replay 5000",
    "count replays",
    "resumed: resumed: 3 in-flight requests resubmitted, 1 control request replayed",
    "no timer replay",
    "timer check 1000",
  ]);
});

Deno.test("direct: the driver's rings start when the control requests have been replayed", () => {
  const scene = new Scene({ memory: "direct" }).runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  scene.expires("retry").ends("connect", "activate").did();
  scene.happens({ on: "replayed" }).happens({ on: "live", resubmitted: 3, replayed: 1 });
  assertEquals([scene.phase, scene.world.state.job], ["running", "resume"]);
  scene.ends("resume");
  assertEquals(scene.did(), [
    "no timer replay",
    "timer check 1000",
    "resume",
    "count replays",
    "resumed: resumed: 3 in-flight requests resubmitted, 1 control request replayed",
    "timer check 1000",
  ]);
});

Deno.test("a back-end that goes at the end of its handshake is not taken, and the next one is waited for", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").expires("retry");
  scene.happens({ on: "back-end lost", problem: problem("lost", "gone again") }).ends("connect");
  assertEquals([scene.phase, scene.world.hasFrontEnd], ["backing off", false]);
  assert(scene.did().includes("lost: gone again"));
});

Deno.test("the replay may end before the job that began it", () => {
  for (const memory of ["isolated", "direct"] as const) {
    const scene = new Scene({ memory }).ends(
      "restore",
      "connect",
      "prepare",
      "present",
      "announce",
    );
    scene.driverOk();
    if (memory === "direct") scene.happens({ on: "replayed" });
    else scene.happens({ on: "live", resubmitted: 0, replayed: 0 });
    scene.ends("activate");
    const [phase, timers] = memory === "direct"
      ? ["resuming", ["held", "check"]]
      : ["running", ["check"]];
    assertEquals([scene.phase, scene.world.timers], [phase, timers]);
  }
});

Deno.test("a back-end dies while it is being started, at any step", () => {
  const steps: JobName[] = ["activate", "resume"];
  for (const step of steps) {
    const scene = new Scene({ memory: "direct" });
    const { world } = scene.runs();
    assertEquals(world.hasSession, true);
    scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
    scene.expires("retry").ends("connect");
    if (step === "resume") scene.ends("activate").happens({ on: "replayed" });
    scene.did();
    scene.happens({ on: "back-end lost", problem: problem("lost") }).fails(step);
    scene.ends("detach");
    assertEquals(scene.phase, "backing off", step);
    assertEquals(scene.did().filter((line) => line === "close front-end").length, 1);
    scene.runs();
  }
});

Deno.test("isolated: a driver's reset is answered at once, and the back-end stopped and reset", () => {
  const scene = new Scene().runs().reset();
  scene.ends("stop", "detach").endsWith("reset device", "reset");
  assertEquals(scene.did(), [
    "reset: the driver reset the device",
    "no timer check",
    "stop",
    "no timer stop",
    "detach",
    "reset device",
  ]);
  assertEquals(scene.phase, "waiting");
});

Deno.test("direct: a driver's reset is answered when the back-end has stopped using its memory", () => {
  const scene = new Scene({ memory: "direct" }).runs().reset("reset");
  assertEquals(scene.world.held, "reset");
  scene.ends("stop");
  assertEquals(scene.did().slice(-4), [
    "no timer stop",
    "no timer held",
    "release reset",
    "detach",
  ]);
});

Deno.test("direct: a back-end that does not stop is cut off, and the reset answered", () => {
  const scene = new Scene({ memory: "direct" }).runs().reset("reset").expires("held");
  assertEquals(scene.did().at(-1), "close front-end");
  scene.fails("stop").ends("detach");
  assertEquals(scene.world.held, null);
  assertMatch(scene.did().join(), /lost: .* did not stop in time when the driver reset the device/);
});

Deno.test("direct: a driver that resets does not wait for a back-end that is being started", () => {
  const scene = new Scene({ memory: "direct" }).runs().reset("reset");
  scene.ends("stop", "detach").endsWith("reset device", "reset").driverOk();
  // It gives up waiting for DRIVER_OK to be answered.
  scene.expires("held").reset("reset").fails("activate", "other").ends("detach");
  assertEquals(scene.world.held, null);
  assertMatch(scene.did().join(), /close front-end.*lost: .* before its back-end served it/);
});

Deno.test("no RESET_DEVICE: the rings are started again on the same connection, where nothing is remembered", () => {
  const cases: [Rules["memory"], number, Residue, string][] = [
    ["isolated", Infinity, "reset", "waiting"],
    ["isolated", Infinity, "clean", "waiting"],
    ["isolated", Infinity, "used", "connecting"],
    ["direct", Infinity, "reset", "waiting"],
    ["direct", Infinity, "clean", "connecting"],
    ["direct", 1, "used", "waiting"],
  ];
  for (const [memory, lives, residue, phase] of cases) {
    const scene = new Scene({ memory }, lives).runs().reset(memory === "direct" ? "reset" : null);
    scene.ends("stop", "detach").endsWith("reset device", residue);
    assertEquals(scene.phase, phase, `${memory}, ${lives}, ${residue}`);
    scene.runs();
  }
});

Deno.test("DRIVER_OK is answered after its deadline, whether a back-end is there or not", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").reset();
  scene.did();
  scene.driverOk();
  assertEquals(scene.did(), [`timer held ${HELD_MS.DRIVER_OK}`]);
  scene.expires("held");
  assertEquals(scene.did(), ["no timer held", "release DRIVER_OK"]);
});

Deno.test("a driver with malformed rings must reset, once, and is served after that", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "driver error", text: "a lie", epoch: 0 });
  const { epoch } = scene.world;
  assertEquals(scene.did(), ["error: a lie", "needs reset", "no timer check", "stop"]);
  scene.happens({
    on: "driver",
    driver: { epoch, isReady: false, features: COMMON },
    needsReset: true,
    held: null,
  });
  assertEquals(scene.did(), ["config interrupt"]);
  scene.ends("stop", "detach").endsWith("reset device", "reset");
  assertEquals(scene.phase, "waiting");
  scene.reset().driverOk();
  assertEquals(scene.phase, "activating");
});

Deno.test("an error of an earlier epoch changes nothing", () => {
  const scene = new Scene().runs().reset();
  scene.ends("stop", "detach").endsWith("reset device", "reset").driverOk();
  scene.happens({ on: "driver error", text: "old", epoch: 0 });
  assertEquals([scene.phase, scene.world.state.driver.isReady], ["activating", true]);
});

Deno.test("a new back-end lacks an accepted feature: the driver must reset, and is offered what it has", () => {
  const scene = new Scene();
  scene.ends("restore").endsWith("connect", {
    features: COMMON | RARE,
    queueCount: 4,
    config: new Uint8Array(4),
    tracksInflight: true,
  });
  scene.ends("prepare", "present", "announce").driverOk(COMMON | RARE).runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  scene.expires("retry");
  scene.did();
  scene.ends("connect");
  const did = scene.did();
  assert(did.includes("offer") && did.includes("needs reset"), did.join());
  assertMatch(did.join(), /error: .* lacks features that the driver relies on \(bit 1\)/);
  assertEquals([scene.phase, scene.world.hasFrontEnd], ["waiting", true]);
  scene.reset().driverOk(COMMON);
  assertEquals(scene.phase, "activating");
});

Deno.test("a feature that viola implements need not be offered by a back-end", () => {
  const scene = new Scene({ ownFeatures: RARE });
  scene.ends("restore", "connect", "prepare", "present", "announce");
  scene.driverOk(COMMON | RARE);
  const activate = scene.world.actions.find((action) => action.do === "activate");
  assertEquals(activate, { do: "activate", epoch: 0, features: COMMON, flatSize: 1024 });
});
