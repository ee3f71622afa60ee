// SPDX-License-Identifier: Apache-2.0
/**
 * How a bridged device's state machine handles each event.
 *
 * @module
 */
import {
  closeFrontEnd,
  demandReset,
  type Draft,
  enter,
  epochOf,
  HELD_MS,
  isCurrent,
  isLeft,
  isServing,
  problemOf,
  release,
  report,
  RETRY_MS,
  run,
  setTimer,
  shrinkRings,
  withWrite,
} from "./machine_moves.ts";
import { withWrites } from "./states.ts";
import type {
  Done,
  Event,
  Held,
  JobName,
  Offer,
  PhaseName,
  Problem,
  Residue,
  Restored,
  ResultOf,
  Timer,
} from "./states.ts";

/** Phases of an activation. */
const ACTIVE: ReadonlySet<PhaseName> = new Set<PhaseName>([
  "activating",
  "resuming",
  "running",
  "stopping",
]);

/** Phases in which a back-end is being started; a reset by the driver does not wait for it. */
const STARTING: ReadonlySet<PhaseName> = new Set<PhaseName>(["activating", "resuming"]);

/** Jobs that use the driver's rings: when the driver resets the device meanwhile, their failure is no fault of the back-end. */
const USES_RINGS: ReadonlySet<JobName> = new Set<JobName>(["activate", "resume", "check"]);

/** Jobs whose failure ends the device. */
const VITAL: ReadonlySet<JobName> = new Set<JobName>(["restore", "prepare", "present", "announce"]);

// ---- jobs that succeeded: what follows, unless an event came meanwhile ----

type DoneHandlers = { [J in JobName]?: (d: Draft, result: ResultOf<J>) => void };

const ON_DONE: DoneHandlers = {
  "restore": (d, found) => {
    if (found !== null) restore(d, found);
    else if (d.end === null) enter(d, { at: "connecting" });
  },
  "connect": (d, backEnd) => {
    d.isConnected = true;
    if (d.end === null && d.loss === null) acceptBackEnd(d, backEnd);
  },
  "prepare": (d) => {
    if (d.end === null && d.loss === null) enter(d, { at: "presenting" });
  },
  "present": (d, device) => {
    d.device = device;
    d.actions.push({ do: "listen" });
    if (d.end === null) enter(d, { at: "announcing" });
  },
  "announce": (d) => {
    if (d.end !== null) return;
    if (d.phase.at === "awaiting access") return reportRestored(d);
    report(d, "started", `${d.rules.node} is open, the driver may probe`);
    d.actions.push({ do: "expect driver" });
    enterWaiting(d);
  },
  "activate": (d, hasRings) => {
    if (d.phase.at !== "activating") return; // it is live already
    if (!hasRings) enter(d, { at: "detaching", epoch: epochOf(d) });
    else setTimer(d, "replay", d.rules.replayMs);
  },
  "check": (d, finding) => {
    if (finding.kind !== "idle") setTimer(d, "check", d.rules.checkMs);
    if (finding.kind === "stuck" && isCurrent(d)) d.loss ??= problemOf(finding.text);
    if (finding.kind !== "slow" || !isServing(d.phase) || d.phase.isSlow) return;
    report(d, "waiting", finding.text);
    d.phase = { ...d.phase, isSlow: true };
  },
  "write config": (d) => {
    const { sent, isStale } = d.config;
    const written = sent.reduce(withWrite, d.config.written);
    const isForwarded = d.rules.config === "forwarded";
    d.config = { ...d.config, sent: [], written, isStale: isStale || isForwarded };
  },
  "read config": (d, found) => {
    // With forwarded config the driver finds what it wrote, whatever the back-end returns there.
    const isForwarded = d.rules.config === "forwarded";
    const config = isForwarded ? withWrites(found, d.config.written) : found;
    // A driver that waits in an access for this config needs no interrupt.
    const interrupt = d.held === "config" ? "never" : "always";
    d.actions.push({ do: "publish config", config, interrupt });
    if (d.held === "config" && d.config.writes.length === 0) release(d);
  },
  "reset device": (d, residue) => {
    if (d.end === null && d.loss === null) startAgain(d, residue);
  },
  "free": (d, holder) => {
    if (holder !== null) report(d, "kept", holder);
    finish(d);
  },
};

/** The device continues where the previous process left it. */
function restore(d: Draft, found: Restored): void {
  const { configSize, backEndLives, mappings, driver } = found;
  d.device = { configSize, backEndLives, mappings };
  d.driver = { ...driver, isFaulty: false, isServed: driver.isReady };
  d.actions.push({ do: "listen" });
  if (d.end !== null) return;
  if (found.isAnnounced) reportRestored(d);
  else enter(d, { at: "awaiting access" });
}

function reportRestored(d: Draft): void {
  report(d, "restored", `${d.rules.node} restored from the descriptor store${d.device!.mappings}`);
  enter(d, { at: "connecting" });
}

/** Checks what a back-end offers; the first back-end decides what the driver is presented with. */
function acceptBackEnd(d: Draft, backEnd: Offer): void {
  const { rules: { name, socket }, device } = d;
  d.backEnd = backEnd;
  if (device === null) {
    report(d, "connected", `connected to ${socket}`);
    return enter(d, { at: "preparing" });
  }
  const { length } = backEnd.config;
  if (length !== device.configSize) {
    const text = `${length} bytes of config space, expected ${device.configSize} as before`;
    d.loss = problemOf(`Cannot use the back-end of ${name}: it has ${text}`);
    return;
  }
  const writes = d.config.writes.reduce(withWrite, d.config.written);
  d.config = { ...d.config, writes };
  const config = withWrites(backEnd.config, writes);
  d.actions.push({ do: "publish config", config, interrupt: "if changed" });
  d.actions.push({ do: "offer", features: backEnd.features });
  report(d, "connected", `${socket} accepted a new connection`);
  enterWaiting(d);
}

function enterWaiting(d: Draft): void {
  d.actions.push({ do: "count", counter: "connects", by: 1 });
  if (d.rules.memory === "direct" && !d.backEnd!.tracksInflight) reportUntracked(d);
  enter(d, { at: "waiting" });
}

/** Reports once that chains may be lost with this back-end; not where there can be no second back-end. */
function reportUntracked(d: Draft): void {
  if (d.history.isOrderReported || d.device!.backEndLives === 1) return;
  d.history = { ...d.history, isOrderReported: true };
  const text =
    "the back-end does not track its requests in flight (INFLIGHT_SHMFD): if it ends after it " +
    "completed some out of order, viola cannot know which with direct memory, and the driver must reset the device";
  report(d, "connected", text);
}

/**
 * After a reset by the driver: chooses between this connection and a new one. A back-end without RESET_DEVICE keeps state of
 * the last epoch: what requests have set and, with rings in the driver's memory, the used index (vhost-device-rng 0.1.0).
 * A new connection clears both. Where there is no such state this one is kept, since not every back-end accepts a second.
 */
function startAgain(d: Draft, residue: Residue): void {
  const { rules: { memory }, device } = d;
  const hasState = residue === "used" || (residue === "clean" && memory === "direct");
  const canReconnect = memory === "isolated" || device!.backEndLives === Infinity;
  if (!hasState || !canReconnect) return enter(d, { at: "waiting" });
  closeFrontEnd(d);
  enter(d, { at: "connecting" });
}

function finish(d: Draft): void {
  d.device = null;
  enter(d, { at: d.end === "close" ? "closed" : "failed" });
}

// ---- jobs that failed ----

function failed(d: Draft, job: JobName, problem: Problem): void {
  const isFromReset = USES_RINGS.has(job) && !isCurrent(d);
  if (VITAL.has(job)) {
    if (job === "announce" && d.end === null) report(d, "error", problem.text);
    d.end ??= problem;
  } else if (job === "free") finish(d);
  else if (!isFromReset) d.loss ??= problem;
  const isBackEnds = problem.fault === "lost" || problem.fault === "refused";
  if (job === "activate" && isBackEnds && isCurrent(d) && d.end === null) shrinkRings(d);
  if (job !== "write config") return;
  const { sent, writes } = d.config;
  d.config = { ...d.config, writes: writes.reduce(withWrite, sent), sent: [] };
}

// ---- the driver ----

/** The driver waits in an access, which is answered at once if there is nothing to wait for. */
function hold(d: Draft, held: Held): void {
  d.held = held;
  const mustWait = held === "reset"
    ? ACTIVE.has(d.phase.at)
    : held === "DRIVER_OK" || d.backEnd !== null;
  if (!mustWait || (d.end !== null && held !== "reset")) {
    if (held === "reset" || !isLeft(d)) release(d);
    return;
  }
  setTimer(d, "held", HELD_MS[held]);
  if (held === "reset" && STARTING.has(d.phase.at)) {
    dropConnection(d, "the driver reset the device before its back-end served it");
  }
}

/** Closes the connection so that a job waiting for the back-end fails at once. */
function dropConnection(d: Draft, why: string): void {
  if (!d.isConnected) return;
  d.loss ??= problemOf(`Cannot keep the connection of ${d.rules.name}: ${why}`);
  closeFrontEnd(d);
}

/** The driver has made an access, so the device was announced to it. */
function noteAccess(d: Draft): void {
  if (d.phase.at !== "awaiting access" || d.job !== null || d.end !== null) return;
  d.actions.push({ do: "mark announced" });
  reportRestored(d);
}

function noteDriver(d: Draft, { driver, needsReset, held }: EventOf<"driver">): void {
  const isNew = driver.epoch !== d.driver.epoch;
  if (isNew && d.driver.isServed) report(d, "reset", "the driver reset the device");
  // A reset undoes what the driver has written; it must read what the back-end has then.
  if (isNew && d.config.written.length > 0) d.config = { ...d.config, written: [], isStale: true };
  const { isFaulty, isServed } = isNew ? { isFaulty: false, isServed: false } : d.driver;
  d.driver = { ...driver, isReady: driver.isReady && !isFaulty, isFaulty, isServed };
  // Virtio 1.2 §2.1.2: a device that sets DEVICE_NEEDS_RESET notifies the driver.
  if (needsReset) d.actions.push({ do: "config interrupt" });
  if (held !== null) hold(d, held);
  noteAccess(d);
}

// ---- the back-end, and the ring Worker ----

function noteLive(d: Draft, { resubmitted, replayed }: EventOf<"live">): void {
  const { phase } = d;
  if ((phase.at !== "activating" && phase.at !== "resuming") || !isCurrent(d)) return;
  d.actions.push({ do: "count", counter: "replays", by: replayed });
  const text = `resumed: ${many(resubmitted, "in-flight request")} resubmitted, ` +
    `${many(replayed, "control request")} replayed`;
  if (d.driver.isServed) report(d, "resumed", text);
  else report(d, "running", "the back-end serves the driver");
  d.driver = { ...d.driver, isServed: true };
  d.history = { ...d.history, retryMs: RETRY_MS.first, lastLoss: "", sameLosses: 0 };
  if (d.held === "DRIVER_OK") release(d);
  enter(d, { at: "running", epoch: phase.epoch, isCheckDue: false, isSlow: false });
}

function many(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

// ---- the rest ----

const TIMEOUTS: { [T in Timer]: (d: Draft) => void } = {
  "retry": (d) => {
    if (d.phase.at === "backing off") enter(d, { at: "connecting" });
  },
  "first access": (d) => {
    if (d.phase.at === "awaiting access" && d.job === null) run(d, { do: "announce" });
  },
  "held": (d) => {
    if (d.held === "reset") {
      dropConnection(d, "it did not stop in time when the driver reset the device");
    } else release(d);
  },
  "replay": (d) => {
    if (d.phase.at !== "activating") return;
    const text = "it did not answer the replayed control requests in time";
    d.loss ??= problemOf(`Cannot use the back-end of ${d.rules.name}: ${text}`);
  },
  "check": (d) => {
    if (isServing(d.phase)) d.phase = { ...d.phase, isCheckDue: true };
  },
  "stop": (d) => closeFrontEnd(d),
};

/** Ends the device. */
function end(d: Draft, why: "close" | Problem): void {
  if (d.end !== null) return;
  d.end = why;
  if (why !== "close") report(d, "error", why.text);
  if (d.job === "connect") d.actions.push({ do: "abort connect" });
  else if (!hasAllRings(d)) closeFrontEnd(d);
}

/** Whether the back-end has started all rings, so that it is stopped in order. */
function hasAllRings({ phase, job }: Draft): boolean {
  return phase.at === "running" || (phase.at === "resuming" && job !== "resume");
}

type EventOf<On extends Event["on"]> = Extract<Event, { readonly on: On }>;

/** The handler of each event. */
const HANDLERS: { [On in Event["on"]]: (d: Draft, event: EventOf<On>) => void } = {
  "done": (d, { job, result }) => {
    d.job = null;
    (ON_DONE[job] as ((d: Draft, result: Done["result"]) => void) | undefined)?.(d, result);
  },
  "failed": (d, { job, problem }) => {
    d.job = null;
    failed(d, job, problem);
  },
  "timer": (d, { timer }) => TIMEOUTS[timer](d),
  "driver": noteDriver,
  "config written": (d, { write, isHeld }) => {
    d.config = { ...d.config, writes: withWrite(d.config.writes, write) };
    if (isHeld) hold(d, "config");
    noteAccess(d);
  },
  "kicked": (d) => {
    if (isServing(d.phase)) setTimer(d, "check", d.rules.checkMs);
  },
  "bad access": (d, { text }) => report(d, "error", text),
  "driver error": (d, { text, epoch }) => {
    report(d, "error", text);
    if (epoch === d.driver.epoch) demandReset(d);
  },
  "replayed": (d) => {
    if (d.phase.at === "activating") d.phase = { ...d.phase, isReplayed: true };
  },
  "live": noteLive,
  "replay refused": (d, { text }) => report(d, "error", text),
  "back-end error": (d, { text }) => {
    report(d, "error", text);
    if (d.isConnected) d.loss ??= problemOf(text);
  },
  "back-end lost": (d, { problem }) => {
    if (d.isConnected || d.job === "connect") d.loss ??= problem; // it may come just before the job's end
  },
  "config changed": (d) => {
    d.config = { ...d.config, isStale: true };
  },
  "lane failed": (d, { problem }) => end(d, problem),
  "close": (d) => end(d, "close"),
};

/** Handles an event; what follows from the new state is left to `advance` in machine.ts. */
export function note(d: Draft, event: Event): void {
  (HANDLERS[event.on] as (d: Draft, event: Event) => void)(d, event);
}
