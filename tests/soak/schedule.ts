// SPDX-License-Identifier: Apache-2.0
/**
 * What happens to a stage, and when: drawn from a seed, so that the seed repeats it.
 *
 * @module
 */
import type { Draws } from "../support/random.ts";
import type { Card, Ending } from "./card.ts";
import { oneOf, sendHalf } from "./peers.ts";
import type { Stage } from "./stage.ts";

/** Longest time between two events, in milliseconds. */
const MOST_MS = 500;
/** Longest time that a process is stopped, in milliseconds. */
const STOPPED_MS = 2500;

/** How often what happened. */
export interface Happened {
  kills: number;
  stops: number;
  resets: number;
  halves: number;
  acts: number;
}

/** A process that may be stopped, and the cards that stand still meanwhile. */
interface Stoppable {
  process(): { signal(signal: Deno.Signal): void };
  cards: readonly Card[];
}

/** See the module. */
export class Schedule {
  readonly happened: Happened = { kills: 0, stops: 0, resets: 0, halves: 0, acts: 0 };
  readonly #stopped = new Map<object, Promise<void>>();
  #violaEnds = false;
  /** What goes on beside the schedule. */
  readonly #aside = new Set<Promise<unknown>>();

  /** @param onFail Told what failed beside the schedule */
  constructor(
    readonly stage: Stage,
    readonly draws: Draws,
    readonly onFail: (error: Error) => void,
  ) {}

  /** Has something happen, after a while. @param withViola Whether viola may be ended, too */
  async next(withViola: boolean): Promise<void> {
    const { draws } = this;
    await delay(draws.integer(MOST_MS));
    // Drawn in any case, so that the seed draws the same whatever came of it.
    const [what, which, how] = [draws.integer(100), draws.integer(2), draws.integer(1000)];
    const card = this.stage.cards[which]!;
    if (what < 15) await this.#killDevice(card);
    else if (what < 30) this.#stop({ process: () => card.device.process, cards: [card] }, how);
    else if (what < 36) this.#stop(this.#viola, how);
    else if (what < 60) this.#interrupt(card, how);
    else if (what < 70) this.#sendHalf(card);
    else if (what < 92 || !withViola) this.#act();
    else this.#goOn(this.#endViola(how));
  }

  /** Waits until nothing is stopped, and nothing goes on. */
  async settle(): Promise<void> {
    await Promise.all([...this.#stopped.values(), ...this.#aside]);
  }

  get #viola(): Stoppable {
    return { process: () => this.stage.adapter.process, cards: this.stage.cards };
  }

  async #killDevice(card: Card): Promise<void> {
    this.happened.kills++;
    card.disturb();
    await card.device.killAndRestart();
  }

  /** @param how Drawn from [0, 1000) */
  #stop({ process, cards }: Stoppable, how: number): void {
    const stopped = process();
    if (this.#stopped.has(stopped) || this.#violaEnds) return;
    this.happened.stops++;
    for (const card of cards) card.hold();
    stopped.signal("SIGSTOP");
    const goOn = (): void => {
      stopped.signal("SIGCONT");
      this.#stopped.delete(stopped);
      for (const card of cards) card.release();
    };
    this.#stopped.set(stopped, delay(STOPPED_MS * how / 1000).then(goOn));
  }

  #interrupt(card: Card, how: number): void {
    const ending = (["stop", "kill", "unbind", "reset"] satisfies Ending[])[how % 4]!;
    if (!card.isPlaying) return;
    if (ending === "reset" || ending === "unbind") this.happened.resets++;
    this.#goOn(card.interrupt(ending));
  }

  #sendHalf(card: Card): void {
    this.happened.halves++;
    this.#goOn(sendHalf(this.stage.folder.file(card.name), this.draws));
  }

  #act(): void {
    this.happened.acts++;
    oneOf(this.draws, this.stage.peers).act(this.draws);
  }

  /** Now and then its successor is ended, too, while it starts. */
  async #endViola(how: number): Promise<void> {
    if (this.#violaEnds) return;
    this.#violaEnds = true;
    await Promise.all(this.#stopped.values());
    const times = how % 4 === 0 ? 2 : 1;
    for (let i = 0; i < times; i++) {
      this.happened.kills++;
      for (const card of this.stage.cards) card.disturb();
      await this.stage.end(how % 3 === 0 ? "SIGTERM" : "SIGKILL");
      if (i + 1 < times) await delay(how);
    }
    await this.stage.restored();
    this.#violaEnds = false;
  }

  #goOn(aside: Promise<unknown>): void {
    const done = aside.catch((error) => this.onFail(error as Error)).finally(() =>
      this.#aside.delete(done)
    );
    this.#aside.add(done);
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
