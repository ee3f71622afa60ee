// SPDX-License-Identifier: Apache-2.0
/**
 * Performs a demo: begins its steps in time, and notes what happened and when.
 *
 * @module
 */
import { runSteps, type Step } from "./timeline.ts";

/** Something that happened, a line of JSON. */
export interface DemoEvent {
  /** Seconds since the first cue's time 0; before that below 0. */
  readonly t: number;
  /** `cue`, its result such as `played`, `failed`, or what a device or viola reported. */
  readonly event: string;
  readonly device?: string;
  readonly text?: string;
  readonly [fact: string]: unknown;
}

/** The facts of an event. */
export type Facts = Readonly<Record<string, unknown>>;

/** Notes events with their times. */
export class EventLog {
  readonly events: DemoEvent[] = [];
  #zero: number;

  /**
   * @param onEvent Called with each
   * @param now A monotonic clock, in milliseconds
   */
  constructor(
    readonly onEvent: (event: DemoEvent) => void,
    readonly now: () => number = () => performance.now(),
  ) {
    this.#zero = now();
  }

  /** From now on times are counted from now; events before are told from it too. */
  begin(): void {
    const shift = this.now() - this.#zero;
    this.#zero += shift;
    this.events.forEach((event, i) => {
      this.events[i] = { ...event, t: rounded(event.t - shift / 1000) };
    });
  }

  /** The time, in seconds. */
  get t(): number {
    return rounded((this.now() - this.#zero) / 1000);
  }

  /** Notes an event. */
  add(event: string, facts: Facts): void {
    const one: DemoEvent = { t: this.t, event, ...facts };
    this.events.push(one);
    this.onEvent(one);
  }
}

function rounded(seconds: number): number {
  return Math.round(1000 * seconds) / 1000;
}

/** What carries steps out. */
export interface Stage {
  /** Carries a step out. @returns what came of it, when that is worth an event; @throws {Error} when it cannot be done */
  act(step: Step): Promise<({ readonly event: string } & Facts) | null>;
}

/**
 * Performs all steps, and waits for the end of what they have begun.
 *
 * @param signal Ends it early: no further step is begun
 */
export async function perform(
  steps: readonly Step[],
  stage: Stage,
  log: EventLog,
  signal: AbortSignal,
): Promise<void> {
  const begun: Promise<void>[] = [];
  log.begin();
  await runSteps(steps, {
    act: (step) => void begun.push(carryOut(step, stage, log)),
    signal,
    now: log.now,
  });
  await Promise.all(begun);
}

async function carryOut(step: Step, stage: Stage, log: EventLog): Promise<void> {
  const { cue, action } = step;
  log.add("cue", { cue, ...action });
  const about = "device" in action ? { cue, device: action.device } : { cue };
  try {
    const result = await stage.act(step);
    if (result === null) return;
    const { event, ...facts } = result;
    log.add(event, { ...about, ...facts });
  } catch (error) {
    log.add("failed", { ...about, text: (error as Error).message });
  }
}
