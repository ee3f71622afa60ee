// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import type { Cue } from "../../lib/scene/cues.ts";
import { type DemoEvent, EventLog, perform, type Stage } from "../../lib/scene/perform.ts";
import { runSteps, type Step, stepsOf } from "../../lib/scene/timeline.ts";
import { FakeTime, turn } from "../support/fake_time.ts";

const caption = (at: number, text: string): Cue => ({ at, action: { kind: "caption", text } });

/** A clock that is turned with the timers. */
class Clock implements Disposable {
  readonly #time = new FakeTime();
  #now = 1000;

  readonly now = (): number => this.#now;

  /** Lets time pass, in steps, with the work that is due in between. */
  async pass(ms: number): Promise<void> {
    await turn();
    for (let left = ms; left > 0; left -= 10) {
      this.#now += Math.min(10, left);
      this.#time.pass(Math.min(10, left));
      await turn();
    }
  }

  [Symbol.dispose](): void {
    this.#time[Symbol.dispose]();
  }
}

Deno.test("steps are in the order of time, and of the file in one moment; a load has an end", () => {
  const cues: Cue[] = [
    caption(2, "c"),
    caption(1, "a"),
    { at: 0.5, action: { kind: "load", processes: 2, seconds: 1 } },
    caption(1, "b"),
  ];
  const steps = stepsOf(cues).map(({ atMs, cue, action }) => [atMs, cue, action.kind]);
  assertEquals(steps, [
    [500, 2, "load"],
    [1000, 1, "caption"],
    [1000, 3, "caption"],
    [1500, 2, "unload"],
    [2000, 0, "caption"],
  ]);
});

Deno.test("each step is begun at its time, counted from the beginning", async () => {
  using clock = new Clock();
  const begun: [number, number][] = [];
  const running = runSteps(stepsOf([caption(0, "a"), caption(0.05, "b"), caption(0.2, "c")]), {
    act: ({ cue }) => void begun.push([cue, clock.now() - 1000]),
    signal: new AbortController().signal,
    now: clock.now,
  });
  await clock.pass(250);
  await running;
  assertEquals(begun, [[0, 0], [1, 50], [2, 200]]);
});

Deno.test("steps end early when they are to", async () => {
  using clock = new Clock();
  const end = new AbortController();
  const begun: number[] = [];
  const running = runSteps(stepsOf([caption(0, "a"), caption(60, "b")]), {
    act: ({ cue }) => void begun.push(cue),
    signal: end.signal,
    now: clock.now,
  });
  await clock.pass(20);
  end.abort();
  await running;
  assertEquals(begun, [0]);
});

/** A stage whose plays end when they are told to. */
class FakeStage implements Stage {
  readonly ends = new Map<number, (error?: Error) => void>();

  act({ cue, action }: Step): ReturnType<Stage["act"]> {
    if (action.kind !== "play") return Promise.resolve(null);
    const { promise, resolve, reject } = Promise.withResolvers<{ event: string; frames: number }>();
    this.ends.set(cue, (error) => error ? reject(error) : resolve({ event: "played", frames: 7 }));
    return promise;
  }
}

const play = (at: number): Cue => ({
  at,
  action: { kind: "play", device: "music", what: "tone", seconds: 1 },
});

Deno.test("what happens is noted with its time, and a demo ends with what it has begun", async () => {
  using clock = new Clock();
  const told: string[] = [];
  const log = new EventLog(({ event }) => void told.push(event), clock.now);
  log.add("listening", { device: "music" });
  await clock.pass(30);
  const stage = new FakeStage();
  const performing = perform(
    stepsOf([play(0), play(0.1), caption(0.2, "x")]),
    stage,
    log,
    new AbortController().signal,
  );
  await clock.pass(250);
  stage.ends.get(0)!();
  await clock.pass(50);
  stage.ends.get(1)!(new Error("Cannot play: it is busy"));
  await performing;
  const expected: DemoEvent[] = [
    { t: -0.03, event: "listening", device: "music" },
    { t: 0, event: "cue", cue: 0, kind: "play", device: "music", what: "tone", seconds: 1 },
    { t: 0.1, event: "cue", cue: 1, kind: "play", device: "music", what: "tone", seconds: 1 },
    { t: 0.2, event: "cue", cue: 2, kind: "caption", text: "x" },
    { t: 0.25, event: "played", cue: 0, device: "music", frames: 7 },
    { t: 0.3, event: "failed", cue: 1, device: "music", text: "Cannot play: it is busy" },
  ];
  assertEquals(log.events, expected);
  assertEquals(told, expected.map(({ event }) => event));
});
