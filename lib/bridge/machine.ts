// SPDX-License-Identifier: Apache-2.0
/**
 * A bridged device's life as a state machine: a pure function from state and event to the next state and the actions to
 * take. A {@linkcode Runner} carries the actions out.
 *
 * At most one job (an action that takes time) runs at once. Events that arrive meanwhile (a reset by the driver, the loss
 * of the back-end, a request to close) are noted, and decide what follows when the job has ended. When the device ends,
 * connecting is aborted and the connection closed, so that ending never waits for a back-end.
 *
 * From `activating` to `detaching` is one activation, within one epoch of the driver. In `activating` the ring Worker
 * attaches to the driver's rings, the shadow rings are started, control requests are replayed, and requests in flight are
 * resubmitted. Direct rings start after the replay only, in a phase of their own, `resuming`.
 *
 * The table lists which event leads from which phase to which others; any other event leaves the phase as it is. A test
 * compares the table with what the machine does.
 *
 * | phase | event | leads to |
 * | --- | --- | --- |
 * | restoring | restore done | awaiting access, closing, connecting |
 * | restoring | restore failed | closing |
 * | awaiting access | announce done | closing, connecting |
 * | awaiting access | announce failed | closing |
 * | awaiting access | close | closing |
 * | awaiting access | config written | connecting |
 * | awaiting access | driver | connecting |
 * | awaiting access | lane failed | closing |
 * | connecting | connect done | activating, backing off, closing, preparing, waiting |
 * | connecting | connect failed | backing off, closing |
 * | preparing | prepare done | backing off, closing, presenting |
 * | preparing | prepare failed | closing |
 * | presenting | present done | announcing, closing |
 * | presenting | present failed | closing |
 * | announcing | announce done | activating, backing off, closing, waiting |
 * | announcing | announce failed | closing |
 * | waiting | back-end lost | backing off |
 * | waiting | close | closing |
 * | waiting | driver | activating |
 * | waiting | lane failed | closing |
 * | waiting | read config done | activating, closing |
 * | waiting | read config failed | backing off, closing |
 * | waiting | write config done | activating, closing |
 * | waiting | write config failed | backing off, closing |
 * | activating | activate done | detaching, resuming, stopping |
 * | activating | activate failed | detaching, stopping |
 * | activating | back-end error | detaching |
 * | activating | back-end lost | detaching |
 * | activating | close | detaching |
 * | activating | driver error | stopping |
 * | activating | driver | detaching, stopping |
 * | activating | lane failed | detaching |
 * | activating | live | running |
 * | activating | replayed | resuming |
 * | activating | timer replay | detaching |
 * | resuming | back-end error | detaching |
 * | resuming | back-end lost | detaching |
 * | resuming | close | detaching, stopping |
 * | resuming | driver error | stopping |
 * | resuming | driver | detaching, stopping |
 * | resuming | lane failed | detaching, stopping |
 * | resuming | live | running |
 * | resuming | check done | detaching, stopping |
 * | resuming | check failed | detaching, stopping |
 * | resuming | read config done | detaching, stopping |
 * | resuming | read config failed | detaching |
 * | resuming | resume done | detaching, stopping |
 * | resuming | resume failed | detaching, stopping |
 * | resuming | write config done | stopping |
 * | resuming | write config failed | detaching |
 * | running | activate done | detaching, stopping |
 * | running | activate failed | detaching, stopping |
 * | running | back-end error | detaching |
 * | running | back-end lost | detaching |
 * | running | close | detaching, stopping |
 * | running | driver error | stopping |
 * | running | driver | stopping |
 * | running | lane failed | detaching, stopping |
 * | running | check done | detaching, stopping |
 * | running | check failed | detaching, stopping |
 * | running | read config done | detaching, stopping |
 * | running | read config failed | detaching |
 * | running | resume done | detaching, stopping |
 * | running | resume failed | detaching, stopping |
 * | running | write config done | detaching, stopping |
 * | running | write config failed | detaching |
 * | stopping | stop done | detaching |
 * | stopping | stop failed | detaching |
 * | detaching | detach done | backing off, closing, resetting |
 * | detaching | detach failed | backing off, closing |
 * | resetting | reset device done | activating, backing off, closing, connecting, waiting |
 * | resetting | reset device failed | backing off, closing |
 * | backing off | close | closing |
 * | backing off | lane failed | closing |
 * | backing off | timer retry | connecting |
 * | closing | free done | closed, failed |
 * | closing | free failed | closed, failed |
 *
 * @module
 */
import { note } from "./machine_events.ts";
import {
  activate,
  type Draft,
  enter,
  epochOf,
  FLAT_SIZE,
  isInterrupted,
  isServing,
  leave,
  RETRY_MS,
  run,
  syncConfig,
  unwind,
} from "./machine_moves.ts";
import type { Action, Event, PhaseName, Rules, State } from "./states.ts";

/** What follows in each phase when no job runs; repeated until the machine must wait for an event. */
const NEXT: { [P in PhaseName]?: (d: Draft) => void } = {
  "restoring": leaveIfNeeded,
  "awaiting access": leaveIfNeeded,
  "connecting": leaveIfNeeded,
  "preparing": leaveIfNeeded,
  "presenting": leaveIfNeeded,
  "announcing": leaveIfNeeded,
  "waiting": (d) => {
    if (mustLeave(d)) leave(d);
    // What the driver has written comes first: it may change what becomes of its requests.
    else if (d.config.writes.length > 0 || !d.driver.isReady) syncConfig(d);
    else activate(d);
  },
  "activating": (d) => {
    if (d.phase.at !== "activating") return;
    const { epoch, isReplayed } = d.phase;
    if (isInterrupted(d)) unwind(d);
    else if (isReplayed) enter(d, { at: "resuming", epoch, isCheckDue: false, isSlow: false });
  },
  "resuming": serve,
  "running": serve,
  "stopping": unwind,
  "detaching": (d) => {
    if (mustLeave(d)) leave(d);
    else enter(d, { at: "resetting", epoch: epochOf(d) });
  },
  "resetting": leaveIfNeeded,
  "backing off": leaveIfNeeded,
};

/** In the phases where the back-end serves the driver, or is about to. */
function serve(d: Draft): void {
  if (!isServing(d.phase)) return;
  if (isInterrupted(d)) return unwind(d);
  if (syncConfig(d) || !isServing(d.phase) || !d.phase.isCheckDue) return;
  d.phase = { ...d.phase, isCheckDue: false };
  run(d, { do: "check" });
}

/** Whether the back-end is lost, or the device ends. */
function mustLeave({ end, loss }: Draft): boolean {
  return end !== null || loss !== null;
}

function leaveIfNeeded(d: Draft): void {
  if (mustLeave(d)) leave(d);
}

/** Moves through phases until the machine must wait for an event. */
function advance(d: Draft): void {
  let before: unknown = null;
  while (d.job === null && d.phase !== before) {
    before = d.phase;
    NEXT[d.phase.at]?.(d);
  }
}

/** The first state of a device. */
export function begin(rules: Rules): [State, Action[]] {
  const d: Draft = {
    rules,
    phase: { at: "restoring" },
    job: null,
    device: null,
    driver: { epoch: -1, isReady: false, isFaulty: false, isServed: false, features: 0n },
    held: null,
    config: { writes: [], sent: [], written: [], isStale: false },
    isConnected: false,
    backEnd: null,
    loss: null,
    end: null,
    history: {
      retryMs: RETRY_MS.first,
      replyMs: rules.replyMs,
      lastLoss: "",
      sameLosses: 0,
      flatSize: FLAT_SIZE.most,
      isOrderReported: false,
    },
    actions: [],
  };
  enter(d, d.phase);
  return finish(d);
}

/** The state that follows an event, and the actions to take. */
export function step(state: State, event: Event): [State, Action[]] {
  const d: Draft = { ...state, actions: [] };
  note(d, event);
  advance(d);
  return finish(d);
}

function finish({ actions, ...state }: Draft): [State, Action[]] {
  return [state, actions];
}
