// SPDX-License-Identifier: Apache-2.0
// A bridged device's life, scene by scene: what its state machine has done, and in which order. No process, no clock.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { HELD_MS, MOST_REPLY_MS } from "../../lib/bridge/machine_moves.ts";
import type {
  Action,
  Done,
  Event,
  JobName,
  Residue,
  Rules,
  Timer,
} from "../../lib/bridge/states.ts";
import {
  after,
  COMMON,
  createWorld,
  done,
  goOn,
  phaseOf,
  problem,
  RARE,
  type World,
} from "./machine_world.ts";

/** VIRTIO_F_INDIRECT_DESC. */
const INDIRECT = 1n << 28n;
const KICK_OFF = { on: "driver", needsReset: false } as const;

/** A device that things happen to. */
class Scene {
  #world: World;
  /** What was done since it was last asked. */
  #actions: Action[] = [];

  constructor(rules: Partial<Rules> = {}, lives = Infinity) {
    this.#world = createWorld(rules, lives);
    this.#actions = [...this.#world.actions];
  }

  get world(): World {
    return this.#world;
  }

  get phase(): string {
    return phaseOf(this.#world);
  }

  happens(event: Event): this {
    this.#world = after(this.#world, event);
    this.#actions.push(...this.#world.actions);
    return this;
  }

  /** Jobs end well, one after the other. */
  ends(...jobs: JobName[]): this {
    for (const job of jobs) {
      assertEquals(this.#world.state.job, job);
      this.happens(done(this.#world));
    }
    return this;
  }

  endsWith(job: JobName, result: Done["result"]): this {
    assertEquals(this.#world.state.job, job);
    return this.happens({ on: "done", job, result } as Event);
  }

  fails(job: JobName, fault: "late" | "lost" | "other" = "lost", text: string = fault): this {
    assertEquals(this.#world.state.job, job);
    return this.happens({ on: "failed", job, problem: problem(fault, text) });
  }

  expires(timer: Timer): this {
    assert(this.#world.timers.includes(timer), `no timer ${timer}`);
    return this.happens({ on: "timer", timer });
  }

  /** The driver says DRIVER_OK. */
  driverOk(features = COMMON): this {
    const { epoch } = this.#world;
    return this.happens({
      ...KICK_OFF,
      driver: { epoch, isReady: true, features },
      held: "DRIVER_OK",
    });
  }

  /** The driver resets the device. */
  reset(held: "reset" | null = null): this {
    const epoch = this.#world.epoch + 1;
    return this.happens({ ...KICK_OFF, driver: { epoch, isReady: false, features: 0n }, held });
  }

  /** Goes on until a back-end serves the driver. */
  runs(): this {
    this.#world = goOn(this.#world, (w) => phaseOf(w) === "running" && w.state.job === null);
    this.#actions = [];
    return this;
  }

  /** The size of flat rings in the last "attach". */
  get flatSize(): number | undefined {
    const attach = this.#world.actions.find((action) => action.do === "attach");
    return attach?.do === "attach" ? attach.flatSize : undefined;
  }

  /** What was done since this was last asked, a line each. */
  did(): string[] {
    return this.#actions.splice(0).map(lineOf);
  }
}

function lineOf(action: Action): string {
  switch (action.do) {
    case "report":
      return `${action.kind}: ${action.text}`;
    case "set timer":
      return `timer ${action.timer} ${action.ms}`;
    case "clear timer":
      return `no timer ${action.timer}`;
    case "release":
      return `release ${action.held}`;
    case "count":
      return `count ${action.counter}`;
    case "publish config":
      return `publish config, interrupt ${action.interrupt}`;
    default:
      return action.do;
  }
}

Deno.test("a device begins: its back-end is met, the node opened, the driver served", () => {
  const scene = new Scene();
  scene.ends("restore", "connect", "negotiate", "prepare", "present", "announce");
  assertEquals(scene.did(), [
    "restore",
    "connect",
    "negotiate",
    "connected: connected to /run/card.sock",
    "prepare",
    "present",
    "listen",
    "announce",
    "started: /dev/loopback-1 is open, the driver may probe",
    "expect driver",
    "count connects",
  ]);
  scene.driverOk().ends("attach", "start", "replay").happens({ on: "replayed" });
  scene.ends("start rings").happens({ on: "live", requeued: 0, replayed: 0 }).ends("resume");
  assertEquals(scene.did(), [
    "timer held 2000",
    "attach",
    "start",
    "timer replay 5000",
    "replay",
    "no timer replay",
    "start rings",
    "timer look 1000",
    "resume",
    "count replays",
    "running: the back-end serves the driver",
    "no timer held",
    "release DRIVER_OK",
  ]);
  assertEquals(scene.phase, "running");
});

Deno.test("a back-end dies and comes back", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost", "it is gone") }).ends("detach");
  assertEquals(scene.did(), [
    "no timer look",
    "detach",
    "close front-end",
    "count losses",
    "lost: it is gone",
    "timer retry 50",
  ]);
  scene.expires("retry").ends("connect", "negotiate", "attach", "start", "replay");
  scene.happens({ on: "replayed" }).ends("start rings");
  scene.happens({ on: "live", requeued: 3, replayed: 1 }).ends("resume");
  assertEquals(scene.did(), [
    "no timer retry",
    "connect",
    "negotiate",
    "publish config, interrupt if changed",
    "offer",
    "connected: /run/card.sock accepted a new connection",
    "count connects",
    "attach",
    "start",
    "timer replay 5000",
    "replay",
    "no timer replay",
    "start rings",
    "timer look 1000",
    "resume",
    "count replays",
    "resumed: resumed: 3 in-flight requests resubmitted, 1 control request replayed",
  ]);
});

Deno.test("a back-end dies while it is being started, at any step", () => {
  const steps: JobName[] = ["attach", "start", "replay", "start rings", "resume"];
  for (const step of steps) {
    const scene = new Scene();
    const { world } = scene.runs();
    assertEquals(world.hasSession, true);
    scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
    scene.expires("retry").ends("connect", "negotiate");
    for (const job of steps.slice(0, steps.indexOf(step))) {
      scene.ends(job);
      if (job === "replay") scene.happens({ on: "replayed" });
    }
    scene.did();
    scene.happens({ on: "back-end lost", problem: problem("lost") });
    if (step === "attach") scene.ends("attach");
    else scene.fails(step);
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
    "no timer look",
    "stop",
    "no timer stop",
    "detach",
    "reset device",
  ]);
  assertEquals(scene.phase, "waiting");
});

Deno.test("direct: a driver's reset is answered when the back-end has let go of its memory", () => {
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
  scene.ends("stop", "detach").endsWith("reset device", "reset").driverOk().ends("attach");
  // It gives up waiting for DRIVER_OK to be answered.
  scene.expires("held").reset("reset").fails("start", "other").ends("detach");
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

Deno.test("a driver that lies in its rings is told to reset, once, and is served after that", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "driver error", text: "a lie", epoch: 0 });
  const { epoch } = scene.world;
  assertEquals(scene.did(), ["error: a lie", "needs reset", "no timer look", "stop"]);
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
  assertEquals(scene.phase, "attaching");
});

Deno.test("a stale error of the driver's last life changes nothing", () => {
  const scene = new Scene().runs().reset();
  scene.ends("stop", "detach").endsWith("reset device", "reset").driverOk();
  scene.happens({ on: "driver error", text: "old", epoch: 0 });
  assertEquals([scene.phase, scene.world.state.driver.isReady], ["attaching", true]);
});

Deno.test("a feature that no new back-end has: the driver must reset, and is offered what there is", () => {
  const scene = new Scene();
  scene.ends("restore", "connect");
  scene.endsWith("negotiate", {
    features: COMMON | RARE,
    queueCount: 4,
    config: new Uint8Array(4),
    tracksInflight: true,
  });
  scene.ends("prepare", "present", "announce").driverOk(COMMON | RARE).runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  scene.expires("retry").ends("connect");
  scene.did();
  scene.ends("negotiate");
  const did = scene.did();
  assert(did.includes("offer") && did.includes("needs reset"), did.join());
  assertMatch(did.join(), /error: .* lacks features that the driver relies on \(bit 1\)/);
  assertEquals([scene.phase, scene.world.hasFrontEnd], ["waiting", true]);
  scene.reset().driverOk(COMMON);
  assertEquals(scene.phase, "attaching");
});

Deno.test("a feature that viola stands in for is none that a back-end must have", () => {
  const scene = new Scene({ ownFeatures: RARE });
  scene.ends("restore", "connect", "negotiate", "prepare", "present", "announce");
  scene.driverOk(COMMON | RARE);
  const attach = scene.world.actions.find((action) => action.do === "attach");
  assertEquals(attach, { do: "attach", epoch: 0, features: COMMON, flatSize: 1024 });
});

// ---- patience ----

Deno.test("who answers too late has longer the next time, up to minutes; one line says so", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach").expires("retry");
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const connect = scene.world.actions.find((action) => action.do === "connect")!;
    waits.push(connect.replyMs);
    scene.did();
    scene.ends("connect").fails("negotiate", "late", `late ${i}`);
    const lines = scene.did().filter((line) => line.startsWith("waiting"));
    assertEquals(lines.length, i < 6 ? 1 : 0, lines.join());
    scene.expires("retry");
  }
  assertEquals(waits, [2000, 4000, 8000, 16_000, 32_000, 64_000, MOST_REPLY_MS, MOST_REPLY_MS]);
});

Deno.test("a wait that is longer than patience ever grows is not cut", () => {
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
    else scene.fails("negotiate");
    waits.push(...scene.did().filter((line) => line.startsWith("timer retry")));
    scene.expires("retry").ends("connect");
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

Deno.test("the same loss again and again is told the 1st, the 10th, the 100th time", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "back-end lost", problem: problem("lost", "gone") }).ends("detach");
  for (let i = 1; i < 100; i++) {
    scene.expires("retry").ends("connect").fails("negotiate", "lost", "gone");
  }
  const told = scene.did().filter((line) => line.startsWith("lost"));
  assertEquals(told, [
    "lost: gone",
    "lost: gone (for the 10th time)",
    "lost: gone (for the 100th time)",
  ]);
});

Deno.test("a look that finds a slow queue says so once; one that finds it stuck lets the back-end go", () => {
  const scene = new Scene().runs();
  for (let i = 0; i < 3; i++) {
    scene.expires("look").endsWith("look", { kind: "slow", text: "queue 0 takes its time" });
  }
  assertEquals(scene.did().filter((line) => line.startsWith("waiting")), [
    "waiting: queue 0 takes its time",
  ]);
  scene.expires("look").endsWith("look", { kind: "stuck", text: "queue 0 stands still" });
  scene.ends("detach");
  assert(scene.did().includes("lost: queue 0 stands still"));
});

Deno.test("what is replayed and not answered lets the back-end go", () => {
  const scene = new Scene();
  scene.ends("restore", "connect", "negotiate", "prepare", "present", "announce");
  scene.driverOk().ends("attach", "start", "replay").expires("replay").ends("detach");
  assertMatch(scene.did().join(), /lost: .* did not answer the replayed control requests in time/);
});

// ---- the config space ----

const WRITE = { offset: 0, bytes: Uint8Array.of(7) };

Deno.test("cached: what the driver writes is passed on, the last of each field", () => {
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

Deno.test("what a back-end was not told before it was lost is told to the next", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "config written", write: WRITE, isHeld: false }).fails("write config");
  scene.ends("detach").expires("retry").ends("connect", "negotiate");
  assertEquals(scene.world.state.config.writes, [WRITE]);
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

Deno.test("forwarded: nobody waits for a back-end that is slow, lost, or not there", () => {
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

Deno.test("a back-end whose config space changed is asked, and the driver told", () => {
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
  fault: "late" | "lost" | "other",
  times: number,
): [sizes: number[], said: string[]] {
  const scene = new Scene({ ownFeatures: INDIRECT }).ends("restore", "connect");
  const backEnd = { ...UNTRACKED, features: COMMON | INDIRECT };
  scene.endsWith("negotiate", backEnd).ends("prepare", "present", "announce");
  scene.driverOk(COMMON | INDIRECT).runs();
  scene.happens({ on: "back-end lost", problem: problem("lost") }).ends("detach");
  const sizes: number[] = [];
  const said: string[] = [];
  for (let i = 0; i < times; i++) {
    scene.expires("retry").ends("connect").endsWith("negotiate", UNTRACKED);
    sizes.push(scene.flatSize!);
    scene.ends("attach").fails("start", fault).ends("detach");
    said.push(...scene.did().filter((line) => line.includes("indirect tables")));
  }
  return [sizes, said];
}

Deno.test("a back-end without indirect tables that does not start large rings is tried with smaller ones", () => {
  for (const fault of ["lost", "other"] as const) {
    const [sizes, said] = flatSizes(fault, 9);
    assertEquals(sizes, [1024, 512, 256, 128, 64, 32, 16, 1024, 512]);
    assertEquals(
      said[0],
      "waiting: the back-end has no indirect tables and did not start rings of 1024 entries or more, trying 512",
    );
  }
  assertEquals(flatSizes("late", 3), [[1024, 1024, 1024], []]);
});

Deno.test("rings are no smaller after a start that the driver's reset ended, or where tables are used", () => {
  const scene = new Scene({ ownFeatures: INDIRECT }).ends("restore", "connect");
  scene.endsWith("negotiate", UNTRACKED).ends("prepare", "present", "announce");
  scene.driverOk(COMMON | INDIRECT).ends("attach").reset().fails("start", "lost").ends("detach");
  scene.driverOk(COMMON).expires("retry").ends("connect").endsWith("negotiate", UNTRACKED);
  assertEquals(scene.flatSize, 1024);
  scene.ends("attach").fails("start", "lost").ends("detach").expires("retry").ends("connect");
  scene.endsWith("negotiate", UNTRACKED);
  assertEquals(scene.flatSize, 1024);
});

/** The reports that INFLIGHT_SHMFD is missing, of a first back-end and of the next. */
function reportsOfOrder(rules: Partial<Rules>, lives?: number): [first: string[], next: string[]] {
  const isOne = (line: string): boolean => line.includes("INFLIGHT_SHMFD");
  const scene = new Scene(rules, lives).ends("restore", "connect");
  scene.endsWith("negotiate", UNTRACKED).ends("prepare", "present", "announce");
  const first = scene.did().filter(isOne);
  scene.happens({ on: "back-end lost", problem: problem("lost") }).expires("retry");
  scene.ends("connect").endsWith("negotiate", UNTRACKED);
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
  scene.ends("connect").endsWith("negotiate", offer);
  assertMatch(scene.did().join(), /lost: .*8 bytes of config space, expected 4 as before/);
  assertEquals(scene.phase, "backing off");
});

// ---- beginnings and ends ----

Deno.test("a first back-end that is no such device ends it; one that went is waited for", () => {
  const scene = new Scene().ends("restore", "connect").fails("negotiate", "lost");
  assertEquals(scene.phase, "backing off");
  scene.expires("retry").ends("connect").fails("negotiate", "other", "no such device");
  scene.ends("free");
  assertEquals(scene.phase, "failed");
});

Deno.test("a node that cannot be opened, or a kernel that cannot be told, ends it", () => {
  const scene = new Scene().ends("restore", "connect", "negotiate", "prepare");
  scene.fails("present", "other").ends("free");
  assertEquals([scene.phase, scene.world.hasFrontEnd], ["failed", false]);
  const other = new Scene().ends("restore", "connect", "negotiate", "prepare", "present");
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
  assertEquals(scene.did(), ["no timer look", "timer stop 1000", "stop"]);
  scene.expires("stop").fails("stop").ends("detach", "free");
  assertEquals(scene.did(), ["close front-end", "no timer stop", "detach", "free"]);
  assertEquals(scene.phase, "closed");
});

Deno.test("the end of a device that is kept: nothing is stopped, and what is held stays so", () => {
  const scene = new Scene({ isKept: true }).runs().happens({ on: "close" });
  assertEquals(scene.did(), ["no timer look", "detach"]);
  scene.ends("detach").endsWith("free", "held by init");
  assertEquals(scene.did(), ["close front-end", "no timer held", "free", "kept: held by init"]);

  const held = new Scene({ isKept: true }).runs().reset();
  held.ends("stop", "detach").endsWith("reset device", "reset").driverOk().happens({ on: "close" });
  held.ends("attach", "detach", "free");
  assertEquals([held.phase, held.world.held], ["closed", "DRIVER_OK"]);
});

Deno.test("the end waits for no back-end that says nothing, wherever it is", () => {
  const scene = new Scene().ends("restore").happens({ on: "close" });
  assertEquals(scene.did().at(-1), "abort connect");
  scene.fails("connect").ends("free");
  assertEquals(scene.phase, "closed");
  const other = new Scene().ends("restore", "connect").happens({ on: "close" });
  assertEquals(other.did().at(-1), "close front-end");
  other.fails("negotiate").ends("free");
  assertEquals(other.phase, "closed");
});

Deno.test("a Worker of the lane that fails ends the device, with its reason", () => {
  const scene = new Scene().runs();
  scene.happens({ on: "lane failed", problem: problem("other", "the Worker failed") });
  scene.fails("stop").ends("detach", "free");
  assertEquals(scene.phase, "failed");
  assertEquals(scene.did()[0], "error: the Worker failed");
});
