// SPDX-License-Identifier: Apache-2.0
/**
 * What a bridged device's state machine acts on, as plain data: who owns what, what is under way, where the driver stands.
 * It says what may happen next, and minds each action on what is not there.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { begin, step } from "../../lib/bridge/machine.ts";
import type {
  Action,
  Done,
  Event,
  Held,
  JobName,
  PhaseName,
  Problem,
  Rules,
  State,
  Timer,
} from "../../lib/bridge/states.ts";

export const RULES: Rules = {
  name: "card",
  socket: "/run/card.sock",
  node: "/dev/loopback-1",
  memory: "isolated",
  isKept: false,
  config: "cached",
  ownFeatures: 0n,
  replyMs: 2000,
  replayMs: 5000,
  checkMs: 1000,
};

/** Features that every driver here accepts, and a bit that only some back-ends have. */
export const [COMMON, RARE] = [1n, 2n];

export function problem(fault: Problem["fault"], text: string = fault): Problem {
  return { text, fault, cause: new Error(text) };
}

/** See the module. */
export interface World {
  readonly state: State;
  /** What was done so far, the last event's doing alone. */
  readonly actions: readonly Action[];
  readonly lives: number;
  /** What is under way. */
  readonly job: JobName | null;
  readonly hasFrontEnd: boolean;
  readonly hasSession: boolean;
  readonly hasDevice: boolean;
  readonly timers: readonly Timer[];
  /** What the session's ring Worker was asked for and has not reported. */
  readonly owed: "replayed" | "live" | null;
  /** A check has found nothing due, and the driver has kicked no queue since it began. */
  readonly isIdle: boolean;
  /** The driver has kicked a queue since the last check began. */
  readonly isKicked: boolean;
  /** The access that the driver waits in. */
  readonly held: Held | null;
  /** The driver itself. */
  readonly epoch: number;
  readonly isReady: boolean;
}

export function createWorld(rules: Partial<Rules> = {}, lives: number = Infinity): World {
  const [state, actions] = begin({ ...RULES, ...rules });
  const world: World = {
    state,
    actions: [],
    lives,
    job: null,
    hasFrontEnd: false,
    hasSession: false,
    hasDevice: false,
    timers: [],
    owed: null,
    isIdle: false,
    isKicked: false,
    held: null,
    epoch: 0,
    isReady: false,
  };
  return act(world, state, actions);
}

export function isOver({ state }: World): boolean {
  return state.phase.at === "closed" || state.phase.at === "failed";
}

// ---- what the machine does ----

/** What must be there for a job, and what must not. */
const NEEDS: Record<JobName, (world: World) => boolean> = {
  "restore": (w) => !w.hasDevice,
  "connect": (w) => !w.hasFrontEnd,
  "prepare": (w) => w.hasFrontEnd && !w.hasDevice,
  "present": (w) => !w.hasDevice,
  "announce": (w) => w.hasDevice,
  "activate": (w) => w.hasDevice && w.hasFrontEnd && !w.hasSession,
  "resume": (w) => w.hasFrontEnd && w.hasSession,
  "check": (w) => w.hasFrontEnd && w.hasSession,
  "write config": (w) => w.hasFrontEnd && w.hasDevice,
  "read config": (w) => w.hasFrontEnd && w.hasDevice,
  "stop": (w) => w.hasFrontEnd && w.hasSession,
  "detach": (w) => w.hasSession,
  "reset device": (w) => w.hasFrontEnd && !w.hasSession,
  "free": (w) => !w.hasSession && !w.hasFrontEnd,
};

/** What becomes of the world by an action. */
function change(w: World, action: Action): Partial<World> {
  switch (action.do) {
    case "close front-end":
      assert(w.hasFrontEnd, "a front-end is closed that is not there");
      return { hasFrontEnd: false };
    case "abort connect":
      assertEquals(w.state.job, "connect");
      return {};
    case "activate":
      return {
        hasSession: true,
        isIdle: false,
        isKicked: false,
        owed: w.state.rules.memory === "direct" ? "replayed" : "live",
      };
    case "resume":
      return { owed: "live" };
    case "check":
      return { isKicked: false };
    case "release":
      assertEquals(action.held, w.held, "an access is answered that is not held");
      return { held: null };
    case "set timer":
      return { timers: [...w.timers.filter((timer) => timer !== action.timer), action.timer] };
    case "clear timer":
      return { timers: w.timers.filter((timer) => timer !== action.timer) };
    case "needs reset":
      assert(w.hasDevice);
      return action.epoch === w.epoch ? { isReady: false } : {};
    case "offer":
    case "publish config":
    case "config interrupt":
    case "mark announced":
    case "expect driver":
    case "count":
      assert(w.hasDevice, `${action.do} without a device`);
      return {};
    default:
      return {};
  }
}

/** Takes up a new state, and does what is to be done. */
function act(world: World, state: State, actions: readonly Action[]): World {
  let w: World = { ...world, state, actions };
  for (const action of actions) {
    if (action.do in NEEDS) {
      const job = action.do as JobName;
      assertEquals(w.job, null, `${job} is begun while something else is under way`);
      assert(NEEDS[job](w), `${job} is begun while ${state.phase.at} without what it needs`);
      w = { ...w, job };
    }
    w = { ...w, ...change(w, action) };
  }
  assertEquals(state.job, w.job);
  assertWatched(w);
  if (isOver(w)) assertEnded(w);
  return w;
}

/** A back-end that serves the driver, or is about to, is checked again and again while it has requests. */
function assertWatched({ state: { phase }, job, timers, isIdle }: World): void {
  if (!("isCheckDue" in phase) || isIdle) return;
  assert(
    timers.includes("check") || phase.isCheckDue || job === "check",
    `nobody checks while ${phase.at}`,
  );
}

/** Nothing is left when the device has ended. */
function assertEnded(w: World): void {
  assertEquals(
    [w.hasFrontEnd, w.hasSession, w.hasDevice, w.state.job, w.timers],
    [false, false, false, null, []],
    "something is left",
  );
  if (!w.state.rules.isKept) assertEquals(w.held, null, "a driver waits for ever");
  assert(w.held !== "reset", "a driver waits for ever in a reset");
}

// ---- what may happen ----

/** What a job may end with when it goes well. */
function results(w: World, job: JobName): Done["result"][] {
  const backEnd = {
    features: COMMON,
    queueCount: 4,
    config: new Uint8Array(4),
    tracksInflight: true,
  };
  switch (job) {
    case "restore": {
      const found = {
        configSize: 4,
        backEndLives: w.lives,
        mappings: "",
        driver: { epoch: 0, isReady: true, features: COMMON },
      };
      const kept = [{ ...found, isAnnounced: true }, { ...found, isAnnounced: false }];
      return w.state.rules.isKept ? [null, ...kept] : [null];
    }
    case "connect":
      return [
        backEnd,
        { ...backEnd, features: COMMON | RARE },
        { ...backEnd, config: new Uint8Array(8) },
      ];
    case "present":
      return [{ configSize: 4, backEndLives: w.lives, mappings: "" }];
    case "activate":
      return [true, false];
    case "reset device":
      return ["reset", "clean", "used"];
    case "check":
      return [
        { kind: "well" },
        { kind: "idle" },
        { kind: "slow", text: "slow" },
        { kind: "stuck", text: "stuck" },
      ];
    case "read config":
      return [new Uint8Array(4)];
    case "free":
      return w.state.rules.isKept ? ["held by init", null] : [null];
    default:
      return [undefined];
  }
}

/** What becomes of the world by the end of a job. */
function ended(job: JobName, result: Done["result"], isDone: boolean): Partial<World> {
  if (job === "connect") return { hasFrontEnd: isDone };
  if (job === "present") return { hasDevice: isDone };
  if (job === "restore" && isDone && result !== null) return { hasDevice: true, isReady: true };
  if (job === "activate" && !(isDone && result === true)) return { owed: null };
  if (job === "detach") return { hasSession: false, owed: null };
  if (job === "free") return { hasDevice: false };
  return {};
}

/** What a check has found; it may not have seen a kick that came meanwhile. */
function found({ isKicked }: World, event: Done): Partial<World> {
  return event.job === "check" ? { isIdle: event.result.kind === "idle" && !isKicked } : {};
}

/** What the world is when something has happened, before the machine hears of it. */
function happened(w: World, event: Event): Partial<World> {
  switch (event.on) {
    case "done":
      return { job: null, ...ended(event.job, event.result, true), ...found(w, event) };
    case "failed":
      return { job: null, ...ended(event.job, undefined, false) };
    case "timer":
      return { timers: w.timers.filter((timer) => timer !== event.timer) };
    case "driver": {
      const { epoch, isReady } = event.driver;
      return { epoch, isReady, held: event.held };
    }
    case "config written":
      return event.isHeld ? { held: "config" } : {};
    case "kicked":
      return { isIdle: false, isKicked: true };
    case "replayed":
    case "live":
      return { owed: null };
    default:
      return {};
  }
}

/** What follows from an event. */
export function after(w: World, event: Event): World {
  const now = { ...w, ...happened(w, event) };
  const [state, actions] = step(w.state, event);
  return act(now, state, actions);
}

/** What the driver may do now: nothing while it waits for an answer. */
function driverEvents(w: World): Event[] {
  if (!w.hasDevice || w.held !== null) return [];
  const { rules } = w.state;
  const life = (epoch: number, isReady: boolean, features: bigint) => ({
    epoch,
    isReady,
    features,
  });
  const events: Event[] = [{ on: "bad access", text: "bad" }];
  const isHeld = w.isReady && rules.memory === "direct";
  events.push({
    on: "driver",
    driver: life(w.epoch + 1, false, 0n),
    needsReset: false,
    held: isHeld ? "reset" : null,
  });
  if (w.isReady) {
    events.push({
      on: "driver",
      driver: life(w.epoch, false, COMMON),
      needsReset: true,
      held: null,
    });
  }
  for (const features of w.isReady ? [] : [COMMON, COMMON | RARE]) {
    events.push({
      on: "driver",
      driver: life(w.epoch, true, features),
      needsReset: false,
      held: "DRIVER_OK",
    });
  }
  if (w.isIdle || (w.job === "check" && !w.isKicked)) events.push({ on: "kicked" });
  const write = { offset: 0, bytes: Uint8Array.of(1) };
  events.push({ on: "config written", write, isHeld: rules.config === "forwarded" });
  return events;
}

/** What the ring Worker and the back-end may do now. */
function backEndEvents(w: World): Event[] {
  const events: Event[] = [];
  if (w.hasFrontEnd || w.job === "connect") {
    events.push({ on: "back-end lost", problem: problem("lost") }, { on: "config changed" });
  }
  if (!w.hasSession) return events;
  if (w.owed === "replayed") events.push({ on: "replayed" });
  if (w.owed === "live") events.push({ on: "live", resubmitted: 3, replayed: 1 });
  const { epoch } = w;
  events.push({ on: "driver error", text: "lie", epoch }, { on: "replay refused", text: "no" });
  events.push({ on: "driver error", text: "lie", epoch: epoch - 1 });
  events.push({ on: "back-end error", text: "malformed" });
  return events;
}

/** The job under way ends well. */
export function done(w: World, result?: Done["result"]): Event {
  const job = w.state.job!;
  const value = result === undefined ? results(w, job)[0] : result;
  return { on: "done", job, result: value } as Event;
}

/** All that may happen now. */
export function possible(w: World): Event[] {
  const { job } = w.state;
  const events: Event[] = [];
  if (job !== null) {
    for (const result of results(w, job)) events.push({ on: "done", job, result } as Event);
    for (const fault of ["late", "lost", "refused", "other"] as const) {
      events.push({ on: "failed", job, problem: problem(fault) });
    }
  }
  for (const timer of w.timers) events.push({ on: "timer", timer });
  events.push(...driverEvents(w), ...backEndEvents(w));
  events.push({ on: "close" }, { on: "lane failed", problem: problem("other", "dead") });
  return events;
}

/** An event as the machine's table calls it. */
export function nameOf(event: Event): string {
  if (event.on === "done") return `${event.job} done`;
  if (event.on === "failed") return `${event.job} failed`;
  if (event.on === "timer") return `timer ${event.timer}`;
  return event.on;
}

export function phaseOf({ state }: World): PhaseName {
  return state.phase.at;
}

// ---- a way on ----

/** What happens when all goes well: jobs end, timers expire, the driver is ready. Null when there is nothing to wait for. */
function fair(w: World): Event | null {
  if (w.state.job !== null) return done(w);
  if (w.owed === "replayed") return { on: "replayed" };
  if (w.owed === "live") return { on: "live", resubmitted: 0, replayed: 0 };
  const [timer] = w.timers.filter((timer) => timer !== "check");
  if (timer !== undefined) return { on: "timer", timer };
  const drivers = driverEvents(w).filter(({ on }) => on === "driver");
  // One that is ready and not served must reset the device; else it becomes ready.
  return drivers[w.isReady || w.state.driver.isFaulty ? 0 : 1] ?? null;
}

/** Goes on until something is so. @throws {AssertionError} when there is no way there */
export function goOn(world: World, isThere: (w: World) => boolean): World {
  let w = world;
  for (let i = 0; i < 100; i++) {
    if (isThere(w)) return w;
    const event = fair(w);
    if (event === null) break;
    w = after(w, event);
  }
  throw new Error(`No way on from ${describe(world)}, it ends at ${describe(w)}`);
}

export function describe(w: World): string {
  const { phase, job, driver, held, end, loss } = w.state;
  return JSON.stringify({ phase, job, driver, held, end, loss, owed: w.owed, timers: w.timers }, (
    _,
    value,
  ) => typeof value === "bigint" ? `${value}` : value);
}
