// SPDX-License-Identifier: Apache-2.0
/**
 * A soak: events on a stage for as long as it is told, checkpoints now and then, and what came of it.
 *
 * @module
 */
import { until } from "../support/process.ts";
import { Draws } from "../support/random.ts";
import { QuietClock } from "./clock.ts";
import { growthOf, type Holdings, holdingsOf } from "./holdings.ts";
import { type Happened, Schedule } from "./schedule.ts";
import { Stage } from "./stage.ts";

/** Milliseconds between two checkpoints. */
const CHECK_MS = 10_000;
/** Frames that each card plays before it is looked at. */
const CHECK_FRAMES = 24_000;
/** How long what ends by itself may take at a checkpoint, in milliseconds of a quiet machine. */
const SETTLE_MS = 5000;
/** In the first part of a soak viola itself is left alone, so that what it holds can grow. */
const FIRST_PART = 0.6;

/** What came of a soak. */
export interface Outcome extends Happened {
  restores: number;
  playbacks: number;
  ended: number;
  frames: number;
  repeated: number;
  entropy: number;
  lies: number;
  checkpoints: number;
  /** How many times slower than a quiet machine it was. */
  slowness: number;
  /** Of viola, at the last checkpoint. */
  holdings: Holdings;
}

/** See the module. */
export class Soak {
  readonly #clock = new QuietClock();
  readonly #failed = Promise.withResolvers<never>();
  /** Of each process: what it held when it was first looked at. */
  readonly #before = new Map<number, Holdings>();
  #checkpoints = 0;
  #holdings: Holdings = { descriptors: 0, mappings: 0, memory: 0 };

  /** @param say Told a line now and then */
  constructor(readonly seed: number, readonly say: (line: string) => void) {
    this.#failed.promise.catch(() => {});
  }

  /** @throws {Error} for the first thing that is not as it should be */
  async run(ms: number): Promise<Outcome> {
    using _clock = this.#clock;
    const draws = new Draws(this.seed);
    const stage = await Stage.start(new Draws(draws.word() || 1));
    const fail = (error: Error): void => this.#failed.reject(error);
    const schedule = new Schedule(stage, draws, fail);
    this.#clock.onTick = (quiet) => {
      try {
        for (const card of stage.cards) card.tick(quiet);
      } catch (error) {
        fail(error as Error);
      }
    };
    const runs = stage.cards.map((card) => card.run());
    for (const run of runs) run.catch(fail);
    try {
      const played = this.#play(stage, schedule, runs, ms);
      const outcome = await Promise.race([this.#failed.promise, played]);
      await stage[Symbol.asyncDispose]();
      return outcome;
    } catch (error) {
      const report = stage.report();
      await stage.abort();
      throw new Error(`${(error as Error).message}\n${report}`, { cause: error });
    }
  }

  async #play(
    stage: Stage,
    schedule: Schedule,
    runs: Promise<void>[],
    ms: number,
  ): Promise<Outcome> {
    const start = performance.now();
    let checked = start;
    for (let now = start; now < start + ms; now = performance.now()) {
      await schedule.next(now > start + FIRST_PART * ms);
      if (now - checked < CHECK_MS) continue;
      await this.#check(stage, schedule);
      checked = performance.now();
      this.#tell(stage, schedule, checked - start);
    }
    await this.#check(stage, schedule);
    for (const card of stage.cards) card.end();
    await Promise.all(runs);
    const background = await stage.endPeers();
    return { ...this.#outcome(stage, schedule), ...background };
  }

  /** Lets all settle, and looks whether a process holds more than it did. */
  async #check(stage: Stage, schedule: Schedule): Promise<void> {
    await schedule.settle();
    for (const peer of stage.peers) peer.rest();
    const from = stage.cards.map(({ played }) => played);
    const isPlaying = (): boolean =>
      stage.cards.every((card, i) => card.isPlaying && card.played > from[i]! + CHECK_FRAMES);
    await until(isPlaying, "the cards to play on", 10 * 60_000);
    const { adapter, cards } = stage;
    const processes = { viola: adapter.process, isolated: cards[0]!.device.process } as const;
    for (
      const [name, { pid }] of Object.entries({ ...processes, direct: cards[1]!.device.process })
    ) {
      const now = await this.#expectNoGrowth(name, pid);
      if (name === "viola") this.#holdings = now;
    }
    this.#checkpoints++;
  }

  async #expectNoGrowth(name: string, pid: number): Promise<Holdings> {
    const before = this.#before.get(pid);
    if (before === undefined) {
      const first = holdingsOf(pid);
      this.#before.set(pid, first);
      return first;
    }
    const deadline = this.#clock.ms + SETTLE_MS;
    while (true) {
      const now = holdingsOf(pid);
      const growth = growthOf(before, now);
      if (growth === "") return now;
      if (this.#clock.ms > deadline) throw new Error(`${name} (process ${pid}) grows: ${growth}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  #outcome({ cards, restores }: Stage, { happened }: Schedule): Outcome {
    const sum = (what: keyof typeof cards[0]["counts"]): number =>
      cards.reduce((sum, { counts }) => sum + counts[what], 0);
    return {
      ...happened,
      restores,
      playbacks: sum("playbacks"),
      ended: sum("ended"),
      frames: sum("frames"),
      repeated: sum("repeated"),
      entropy: 0,
      lies: 0,
      checkpoints: this.#checkpoints,
      slowness: this.#clock.slowness,
      holdings: this.#holdings,
    };
  }

  #tell(stage: Stage, schedule: Schedule, ms: number): void {
    const { kills, stops, resets, playbacks, holdings } = this.#outcome(stage, schedule);
    this.say(
      `${Math.round(ms / 1000)} s: ${kills} kills, ${stops} stops, ${resets} resets, ` +
        `${playbacks} playbacks; viola holds ${holdingsText(holdings)}`,
    );
  }
}

/** Holdings in words. */
export function holdingsText({ descriptors, mappings, memory }: Holdings): string {
  return `${descriptors} descriptors, ${mappings} memory files, ${memory.toFixed(1)} MiB`;
}
