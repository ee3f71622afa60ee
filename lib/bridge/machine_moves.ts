// SPDX-License-Identifier: Apache-2.0
/**
 * The transitions of a bridged device's state machine: entering phases, and the actions on the way.
 *
 * @module
 */
import { describeFeatures, hasFeature, VIRTIO_F_RING_INDIRECT_DESC } from "../virtio/features.ts";
import { MAX_SEGMENTS } from "../virtio/split_ring.ts";
import type {
  Action,
  ConfigWrite,
  Held,
  Job,
  Phase,
  PhaseName,
  Problem,
  ReportKind,
  ServingPhase,
  State,
  Timer,
} from "./states.ts";

/** A step in progress: the next state, and the actions collected so far. */
export type Draft = { -readonly [K in keyof State]: State[K] } & { readonly actions: Action[] };

/** Wait after a connection that ended before it served, in milliseconds; doubled each time. */
export const RETRY_MS = { first: 50, most: 2000 };
/** The longest deadline for a reply, in milliseconds. */
export const MOST_REPLY_MS = 120_000;
/**
 * The least size of shadow rings for a back-end that lacks indirect tables, where the driver uses them. At first the most
 * segments of a chain, so that every chain fits; halved with each back-end that fails to start such rings, since it may not
 * serve such large ones; after the least from the most again, as the size was not the reason then.
 */
export const FLAT_SIZE = { most: MAX_SEGMENTS, least: 16 };
/** How long an access is held at most, in milliseconds; afterwards the driver's own time limits apply. */
export const HELD_MS: Readonly<Record<Held, number>> = {
  "reset": 10_000,
  "DRIVER_OK": 2000,
  "config": 2000,
};
/** How long to wait for an access of a restored device's driver, which shows that it was announced, in milliseconds. */
export const FIRST_ACCESS_MS = 200;
/** How long ending a device waits for the back-end to stop in order, in milliseconds. */
export const STOP_MS = 1000;

/** The timer that belongs to a phase. */
const TIMERS: Partial<Record<PhaseName, Timer>> = {
  "awaiting access": "first access",
  "activating": "replay",
  "resuming": "check",
  "running": "check",
  "stopping": "stop",
  "backing off": "retry",
};

/** Phases in which the back-end may have rings. */
const MAY_HAVE_RINGS: ReadonlySet<PhaseName> = new Set<PhaseName>([
  "activating",
  "resuming",
  "running",
]);

/** A back-end that is not fit for its device. */
export function problemOf(text: string): Problem {
  return { text, fault: "refused", cause: new Error(text) };
}

export function report(d: Draft, kind: ReportKind, text: string): void {
  d.actions.push({ do: "report", kind, text });
}

/** Starts a job. */
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

/** The epoch of the current activation. @throws {TypeError} when there is none */
export function epochOf({ phase }: Pick<State, "phase">): number {
  if ("epoch" in phase) return phase.epoch;
  throw new TypeError(`Cannot get the epoch of an activation while ${phase.at}`);
}

/** Whether the activation's epoch is still the driver's, and the driver is ready. */
export function isCurrent(d: State): boolean {
  return "epoch" in d.phase && d.driver.isReady && d.driver.epoch === d.phase.epoch;
}

/** Whether the back-end has its rings, and serves the driver or is about to. */
export function isServing(phase: Phase): phase is ServingPhase {
  return phase.at === "resuming" || phase.at === "running";
}

/** Whether the activation must end. */
export function isInterrupted(d: State): boolean {
  return d.end !== null || d.loss !== null || !isCurrent(d);
}

/** What is done on entering a phase. */
const ENTRIES: { [P in PhaseName]?: (d: Draft) => void } = {
  "restoring": (d) => run(d, { do: "restore" }),
  "awaiting access": (d) => setTimer(d, "first access", FIRST_ACCESS_MS),
  "connecting": (d) => run(d, { do: "connect", replyMs: d.history.replyMs }),
  "preparing": (d) => run(d, { do: "prepare" }),
  "presenting": (d) => run(d, { do: "present" }),
  "announcing": (d) => run(d, { do: "announce" }),
  "activating": (d) => {
    const { flatSize } = d.history;
    run(d, { do: "activate", epoch: epochOf(d), features: acceptedFeatures(d), flatSize });
  },
  "resuming": (d) => {
    setTimer(d, "check", d.rules.checkMs);
    run(d, { do: "resume" });
  },
  "running": (d) => setTimer(d, "check", d.rules.checkMs),
  "stopping": (d) => {
    if (d.end !== null) setTimer(d, "stop", STOP_MS);
    run(d, { do: "stop" });
  },
  "detaching": (d) => {
    // First: the ring Worker may be raising an interrupt, which returns only when the driver's reset is answered.
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

/** Enters a phase. */
export function enter(d: Draft, phase: Phase): void {
  const timer = TIMERS[d.phase.at];
  if (timer !== undefined && timer !== TIMERS[phase.at]) clearTimer(d, timer);
  d.phase = phase;
  ENTRIES[phase.at]?.(d);
}

/** The features set at the back-end: those the driver accepted, but for viola's own rings those the back-end offers. */
function acceptedFeatures({ rules: { ownFeatures }, driver, backEnd }: Draft): bigint {
  return (driver.features & ~ownFeatures) | (backEnd!.features & ownFeatures);
}

/** After a back-end failed to start: the next attempt has smaller rings, where they are large only for lack of indirect tables. */
export function shrinkRings(d: Draft): void {
  const { driver, history, backEnd } = d;
  const isFlat = backEnd !== null && hasFeature(driver.features, VIRTIO_F_RING_INDIRECT_DESC) &&
    !hasFeature(acceptedFeatures(d), VIRTIO_F_RING_INDIRECT_DESC);
  if (!isFlat) return;
  const { flatSize: size } = history;
  const flatSize = size > FLAT_SIZE.least ? size / 2 : FLAT_SIZE.most;
  d.history = { ...history, flatSize };
  const text =
    `the back-end has no indirect tables and did not start rings of ${size} entries or more, trying ${flatSize}`;
  report(d, "waiting", text);
}

/** Answers the access that is held. */
export function release(d: Draft): void {
  if (d.held === null) return;
  clearTimer(d, "held");
  d.actions.push({ do: "release", held: d.held });
  d.held = null;
}

/** Closes the connection; pending requests to the back-end fail. */
export function closeFrontEnd(d: Draft): void {
  if (d.isConnected) d.actions.push({ do: "close front-end" });
  d.isConnected = false;
  d.backEnd = null;
  if (d.held === "config" && !isLeft(d)) release(d);
}

/** Whether a held access stays unanswered for the next process, which restores it. */
export function isLeft({ end, rules }: State): boolean {
  return end !== null && rules.isKept;
}

/** Disconnects from the current back-end, and backs off or ends. */
export function leave(d: Draft): void {
  closeFrontEnd(d);
  if (d.end === null && d.loss !== null) lose(d, d.loss);
  d.loss = null;
  if (d.end !== null) enter(d, { at: "closing" });
}

/** Reports the loss of the back-end and backs off, longer each time unless a back-end served in between. */
function lose(d: Draft, problem: Problem): void {
  const { text, fault } = problem;
  if (d.device === null && fault !== "late" && fault !== "lost") {
    d.end = problem; // the first back-end does not fit the device class: retrying would not help
    return;
  }
  if (d.device !== null) d.actions.push({ do: "count", counter: "losses", by: 1 });
  const { history } = d;
  const sameLosses = text === history.lastLoss ? history.sameLosses + 1 : 1;
  d.history = { ...history, lastLoss: text, sameLosses };
  // A loss that repeats is reported the 1st, the 10th, the 100th time.
  if (Number.isInteger(Math.log10(sameLosses))) {
    report(d, "lost", sameLosses === 1 ? text : `${text} (for the ${sameLosses}th time)`);
  }
  if (fault === "late") extendReplyDeadline(d);
  enter(d, { at: "backing off" });
  d.history = { ...d.history, retryMs: Math.min(2 * history.retryMs, RETRY_MS.most) };
}

/** After a late reply: doubles the deadline for replies, as a slow back-end is no failed one. */
function extendReplyDeadline(d: Draft): void {
  const { replyMs } = d.history;
  const longer = Math.max(replyMs, Math.min(2 * replyMs, MOST_REPLY_MS));
  if (longer === replyMs) return;
  d.history = { ...d.history, replyMs: longer };
  report(
    d,
    "waiting",
    `the back-end replied late, waiting up to ${longer / 1000} s for its next replies`,
  );
}

/** Activates the back-end for a driver that is ready. */
export function activate(d: Draft): void {
  const { driver, backEnd, rules } = d;
  const missing = driver.features & ~(backEnd!.features | rules.ownFeatures);
  if (missing === 0n) {
    return enter(d, { at: "activating", epoch: driver.epoch, isReplayed: false });
  }
  report(
    d,
    "error",
    `Cannot use the back-end of ${rules.name}: it lacks features that the driver relies on ` +
      `(${describeFeatures(missing)}), the driver must reset the device`,
  );
  demandReset(d);
}

/** Requests DEVICE_NEEDS_RESET: the device cannot be served in this epoch. */
export function demandReset(d: Draft): void {
  d.driver = { ...d.driver, isReady: false, isFaulty: true };
  d.actions.push({ do: "needs reset", epoch: d.driver.epoch });
  if (d.held === "DRIVER_OK") release(d);
}

/** Ends an activation: stops the rings in order if the back-end has any and is connected. */
export function unwind(d: Draft): void {
  const epoch = epochOf(d);
  const canStop = d.isConnected && d.loss === null && MAY_HAVE_RINGS.has(d.phase.at);
  // With a descriptor store the next process resubmits what the back-end has in flight, as after a crash.
  enter(d, { at: canStop && !isLeft(d) ? "stopping" : "detaching", epoch });
}

/** Adds a write, replacing an earlier one to the same field, so that the list stays bounded. */
export function withWrite(
  writes: readonly ConfigWrite[],
  write: ConfigWrite,
): readonly ConfigWrite[] {
  return [...writes.filter(({ offset }) => offset !== write.offset), write];
}

/** Sends the driver's config writes to the back-end, or reads a changed config. @returns whether a job was started */
export function syncConfig(d: Draft): boolean {
  const { isStale, written } = d.config;
  if (d.config.writes.length > 0) {
    // A back-end with forwarded config is sent the whole of it, so it gets the earlier writes too.
    const isForwarded = d.rules.config === "forwarded";
    const writes = isForwarded ? d.config.writes.reduce(withWrite, written) : d.config.writes;
    d.config = { ...d.config, writes: [], sent: writes };
    run(d, { do: "write config", writes });
  } else if (isStale) {
    d.config = { ...d.config, isStale: false }; // a change from here on needs another read
    run(d, { do: "read config" });
  }
  return d.job !== null;
}
