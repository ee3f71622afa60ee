// SPDX-License-Identifier: Apache-2.0
/**
 * The moves of a bridged device's state machine: from phase to phase, and what is done on the way.
 *
 * @module
 */
import { describeFeatures } from "../virtio/features.ts";
import type {
  Action,
  Held,
  Job,
  Phase,
  PhaseName,
  Problem,
  ReportKind,
  State,
  Timer,
} from "./states.ts";

/** A step under way: the state as it will be, and what is to be done. */
export type Draft = { -readonly [K in keyof State]: State[K] } & { readonly actions: Action[] };

/** Waits between connections that end before they serve: 50 ms, doubled up to 2 s. */
export const RETRY_MS = { first: 50, most: 2000 };
/** The longest wait for a reply that patience grows to. */
export const MOST_REPLY_MS = 120_000;
/** How long a driver waits at most, by what it waits in: what is late then is left to the driver's own time limits. */
export const HELD_MS: Readonly<Record<Held, number>> = {
  "reset": 10_000,
  "DRIVER_OK": 2000,
  "config": 2000,
};
/** How long a restored device's driver may take for an access that shows that it was announced. */
export const FIRST_ACCESS_MS = 200;
/** How long the end waits for a back-end to stop in order. */
export const STOP_MS = 1000;

/** The timer that belongs to a phase. */
const TIMERS: Partial<Record<PhaseName, Timer>> = {
  "awaiting access": "first access",
  "replaying": "replay",
  "resuming": "look",
  "running": "look",
  "stopping": "stop",
  "backing off": "retry",
};

/** Phases in which the back-end has rings. */
const HAS_RINGS: ReadonlySet<PhaseName> = new Set<PhaseName>([
  "starting",
  "replaying",
  "starting rings",
  "resuming",
  "running",
]);

/** Makes a problem of a text. */
export function problemOf(text: string): Problem {
  return { text, fault: "other", cause: new Error(text) };
}

export function report(d: Draft, kind: ReportKind, text: string): void {
  d.actions.push({ do: "report", kind, text });
}

/** Begins what takes its time. */
export function run(d: Draft, job: Job): void {
  d.job = job.do;
  d.actions.push(job);
}

export function setTimer(d: Draft, timer: Timer, ms: number): void {
  d.actions.push({ do: "set timer", timer, ms });
}

export function clearTimer(d: Draft, timer: Timer): void {
  d.actions.push({ do: "clear timer", timer });
}

/** The epoch of the activation that is under way. @throws {TypeError} when none is */
export function epochOf({ phase }: Pick<State, "phase">): number {
  if ("epoch" in phase) return phase.epoch;
  throw new TypeError(`Cannot tell the epoch of an activation while ${phase.at}`);
}

/** Whether the driver is still in the life that the activation is of, and wants it. */
export function isCurrent(d: State): boolean {
  return "epoch" in d.phase && d.driver.isReady && d.driver.epoch === d.phase.epoch;
}

/** Whether the activation is to end. */
export function isInterrupted(d: State): boolean {
  return d.end !== null || d.loss !== null || !isCurrent(d);
}

/** What is done at the beginning of a phase. */
const ENTRIES: { [P in PhaseName]?: (d: Draft) => void } = {
  "restoring": (d) => run(d, { do: "restore" }),
  "awaiting access": (d) => setTimer(d, "first access", FIRST_ACCESS_MS),
  "connecting": (d) => run(d, { do: "connect", replyMs: d.history.replyMs }),
  "negotiating": (d) => run(d, { do: "negotiate" }),
  "preparing": (d) => run(d, { do: "prepare" }),
  "presenting": (d) => run(d, { do: "present" }),
  "announcing": (d) => run(d, { do: "announce" }),
  "attaching": (d) => {
    run(d, { do: "attach", epoch: epochOf(d), features: acceptedFeatures(d) });
  },
  "starting": (d) => run(d, { do: "start" }),
  "replaying": (d) => {
    setTimer(d, "replay", d.rules.replayMs);
    run(d, { do: "replay" });
  },
  "starting rings": (d) => run(d, { do: "start rings" }),
  "resuming": (d) => {
    setTimer(d, "look", d.rules.lookMs);
    run(d, { do: "resume" });
  },
  "stopping": (d) => {
    if (d.end !== null) setTimer(d, "stop", STOP_MS);
    run(d, { do: "stop" });
  },
  "detaching": (d) => {
    // First: an interrupt that is being raised may wait, by way of the driver, for the answer to its reset.
    if (d.held === "reset") release(d);
    run(d, { do: "detach" });
  },
  "resetting": (d) => run(d, { do: "reset device", epoch: epochOf(d) }),
  "backing off": (d) => setTimer(d, "retry", d.history.retryMs),
  "closing": (d) => {
    if (isLeft(d)) clearTimer(d, "held");
    else release(d);
    run(d, { do: "free" });
  },
};

/** Goes over to another phase. */
export function enter(d: Draft, phase: Phase): void {
  const timer = TIMERS[d.phase.at];
  if (timer !== undefined && timer !== TIMERS[phase.at]) clearTimer(d, timer);
  d.phase = phase;
  ENTRIES[phase.at]?.(d);
}

/** What the back-end is told was accepted: what the driver accepted; but viola takes the offers for rings of its own. */
function acceptedFeatures({ rules: { ownFeatures }, driver, backEnd }: Draft): bigint {
  return (driver.features & ~ownFeatures) | (backEnd!.features & ownFeatures);
}

/** Answers the access that is held. */
export function release(d: Draft): void {
  if (d.held === null) return;
  clearTimer(d, "held");
  d.actions.push({ do: "release", held: d.held });
  d.held = null;
}

/** Ends the connection; whatever is asked of the back-end fails then. */
export function closeFrontEnd(d: Draft): void {
  if (d.isConnected) d.actions.push({ do: "close front-end" });
  d.isConnected = false;
  d.backEnd = null;
  if (d.held === "config" && !isLeft(d)) release(d);
}

/** Whether what is held stays so for a successor, which holds it in its turn. */
export function isLeft({ end, rules }: State): boolean {
  return end !== null && rules.isKept;
}

/** Lets go of the back-end at hand, and goes on without: to the next, or to the end. */
export function leave(d: Draft): void {
  closeFrontEnd(d);
  if (d.end === null && d.loss !== null) lose(d, d.loss);
  d.loss = null;
  if (d.end !== null) enter(d, { at: "closing" });
}

/** The back-end was lost: says so, and waits before the next if this one did not last. */
function lose(d: Draft, problem: Problem): void {
  const { text, fault } = problem;
  if (d.device === null && fault === "other") {
    d.end = problem; // a first back-end that is not what it should be
    return;
  }
  if (d.device !== null) d.actions.push({ do: "count", counter: "losses", by: 1 });
  const { history } = d;
  const sameLosses = text === history.lastLoss ? history.sameLosses + 1 : 1;
  d.history = { ...history, lastLoss: text, sameLosses };
  // The same again and again is told the 1st, the 10th, the 100th time.
  if (Number.isInteger(Math.log10(sameLosses))) {
    report(d, "lost", sameLosses === 1 ? text : `${text} (for the ${sameLosses}th time)`);
  }
  if (fault === "late") growPatience(d);
  enter(d, { at: "backing off" });
  d.history = { ...d.history, retryMs: Math.min(2 * history.retryMs, RETRY_MS.most) };
}

/** Slow is not dead: who answered too late has longer the next time. */
function growPatience(d: Draft): void {
  const { replyMs } = d.history;
  const longer = Math.max(replyMs, Math.min(2 * replyMs, MOST_REPLY_MS));
  if (longer === replyMs) return;
  d.history = { ...d.history, replyMs: longer };
  report(d, "waiting", `the back-end is slow: its next replies may take ${longer / 1000} s`);
}

/** The driver is ready and there is a back-end. */
export function activate(d: Draft): void {
  const { driver, backEnd, rules } = d;
  const missing = driver.features & ~(backEnd!.features | rules.ownFeatures);
  if (missing === 0n) return enter(d, { at: "attaching", epoch: driver.epoch });
  report(
    d,
    "error",
    `Cannot use the back-end of ${rules.name}: it lacks features that the driver relies on ` +
      `(${describeFeatures(missing)}), the driver must reset the device`,
  );
  demandReset(d);
}

/** The driver's present life has no way on: it is told to reset the device. */
export function demandReset(d: Draft): void {
  d.driver = { ...d.driver, isReady: false, isFaulty: true };
  d.actions.push({ do: "needs reset", epoch: d.driver.epoch });
  if (d.held === "DRIVER_OK") release(d);
}

/** Ends an activation: in order where the back-end has rings and can be asked. */
export function unwind(d: Draft): void {
  const epoch = epochOf(d);
  const canStop = d.isConnected && d.loss === null && HAS_RINGS.has(d.phase.at);
  // A successor takes over what the back-end has in flight, as after a crash.
  enter(d, { at: canStop && !isLeft(d) ? "stopping" : "detaching", epoch });
}

/** Tells the back-end what the driver wrote, and asks it what it changed. @returns whether there was anything to do */
export function syncConfig(d: Draft): boolean {
  const { writes, isStale } = d.config;
  if (writes.length > 0) {
    d.config = { writes: [], sent: writes, isStale };
    run(d, { do: "write config", writes });
  } else if (isStale) {
    d.config = { ...d.config, isStale: false }; // what changes from here on is another change
    run(d, { do: "read config" });
  }
  return d.job !== null;
}
