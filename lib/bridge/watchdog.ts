// SPDX-License-Identifier: Apache-2.0
/**
 * Finds back-ends that hang: their socket answers, but their rings make no progress. In some daemons one bad request ends
 * the thread that serves a ring while the process stays.
 *
 * How long a queue may make no progress depends on the class. Streams are paced by a clock, so a class with streams has a
 * short limit for all its requests; other classes have none unless the user sets one.
 *
 * It looks at the device's state in shared memory, and asks the ring Worker only if it sees no progress there. When no chain
 * is due it disarms itself, until the driver kicks a queue: see `arming.ts`.
 *
 * @module
 */
import type { QueueClass } from "../virtio/device_class.ts";
import { type DeviceState, QUEUE_COUNTERS } from "../virtio/state.ts";
import { arm, type Arming, disarm } from "./arming.ts";
import type { ActivationRing } from "./lane_messages.ts";
import type { Progress } from "./lane_queue.ts";

/** How long a queue with requests in flight may give none back, in milliseconds. */
export interface QueueLimits {
  /** For a class with streams. */
  readonly streamMs: number;
  /** For other classes; Infinity: no limit while the back-end's socket answers. */
  readonly requestMs: number;
}

/** A queue that makes no progress. */
export interface StillQueue {
  readonly index: number;
  /** For how long, in milliseconds. */
  readonly ms: number;
  /** The limit is reached. */
  readonly isStuck: boolean;
}

/** What a {@linkcode Watchdog} checks. */
export interface Watched {
  readonly queues: readonly QueueClass[];
  readonly state: DeviceState;
  readonly arming: Arming;
  /** The activation's rings. */
  readonly rings: readonly Pick<ActivationRing, "index" | "slots">[];
}

/** Checks an activation's queues periodically while they have work. */
export class Watchdog {
  /** Checks made within the shorter of the two limits. */
  static readonly CHECKS = 5;

  /** Milliseconds between two checks. */
  readonly checkMs: number;
  readonly #watched: Watched;
  readonly #limitMs: number;
  readonly #completions: number[];
  readonly #still: number[];

  /** It is armed at first. */
  constructor(watched: Watched, limits: QueueLimits) {
    const { queues, state, arming } = watched;
    this.checkMs = checkMsOf(limits);
    const hasStreams = queues.some(({ kind }) => kind === "stream");
    this.#watched = watched;
    this.#limitMs = hasStreams ? limits.streamMs : limits.requestMs;
    this.#completions = state.queues.map(() => -1);
    this.#still = state.queues.map(() => 0);
    arm(arming);
  }

  /**
   * Checks once; call it every {@linkcode checkMs} while it is armed.
   *
   * @param ask Asks the ring Worker for the progress of each queue
   * @returns `"idle"`: it has disarmed itself, and the access Worker reports the next kick. A queue without progress for at
   *   least {@linkcode CHECKS} checks, or null: it stays armed
   */
  async check(ask: () => Promise<readonly Progress[]>): Promise<StillQueue | "idle" | null> {
    const { rings, arming } = this.#watched;
    const seen = rings.map((ring) => this.#look(ring));
    if (seen.includes("moving") && !seen.includes("unknown")) return this.#note(seen);
    if (!seen.includes("moving")) disarm(arming);
    const asked = await ask();
    const found = seen.map((one, i) =>
      one === "moving" ? one : this.#unlessEvent(rings[i]!, asked)
    );
    const still = this.#note(found);
    if (found.every((one) => one === "settled")) return "idle";
    arm(arming);
    return still;
  }

  /** The progress of a queue since the last look, as far as shared memory shows it. */
  #look({ index, slots }: Watched["rings"][number]): Progress | "unknown" {
    const { queues, state } = this.#watched;
    if (queues[index]!.kind === "event") return "settled";
    const { counters, isIdle } = state.queues[index]!;
    const completions = counters[QUEUE_COUNTERS.completions]!;
    const isMoving = completions !== this.#completions[index];
    this.#completions[index] = completions;
    if (slots === null) return "unknown"; // a direct queue, whose chains viola does not note
    return isIdle ? "settled" : isMoving ? "moving" : "unknown";
  }

  /** Buffers for events come back when there are events. */
  #unlessEvent({ index }: { readonly index: number }, asked: readonly Progress[]): Progress {
    return this.#watched.queues[index]!.kind === "event" ? "settled" : asked[index]!;
  }

  /** @param found What was found of each ring */
  #note(found: readonly (Progress | "unknown")[]): StillQueue | null {
    let worst: StillQueue | null = null;
    for (const [i, { index }] of this.#watched.rings.entries()) {
      const still = this.#still[index] = found[i] === "due" ? this.#still[index]! + 1 : 0;
      const ms = still * this.checkMs;
      const isStuck = ms >= this.#limitMs;
      if (still >= Watchdog.CHECKS && (worst === null || isStuck)) worst = { index, ms, isStuck };
    }
    return worst;
  }
}

/** Milliseconds between two checks. */
export function checkMsOf({ streamMs, requestMs }: QueueLimits): number {
  return Math.min(streamMs, requestMs) / Watchdog.CHECKS;
}
