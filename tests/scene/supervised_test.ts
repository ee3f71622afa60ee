// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { type Running, Supervised } from "../../lib/scene/supervised.ts";
import { FakeTime, turn } from "../support/fake_time.ts";

/** Something that a test ends. */
class Bench {
  readonly time = new FakeTime();
  readonly log: string[] = [];
  /** Thrown by the next starts. */
  readonly failures: string[] = [];
  end: (reason: string) => void = () => {};
  now = 0;
  readonly supervised = new Supervised({
    start: () => Promise.resolve().then(() => this.#start()),
    onEnd: (reason, ms) => void this.log.push(`${reason}, again in ${ms}`),
    now: () => this.now,
  });

  #start(): Running {
    const failure = this.failures.shift();
    if (failure !== undefined) throw new Error(failure);
    const { promise, resolve } = Promise.withResolvers<string>();
    this.end = resolve;
    this.log.push("start");
    return { ended: promise, stop: () => Promise.resolve(void this.log.push("stop")) };
  }

  /** Lets so much time pass, and what it brings. */
  async pass(ms: number): Promise<void> {
    await turn();
    this.time.pass(ms);
    await turn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.supervised.stop();
    this.time[Symbol.dispose]();
  }
}

Deno.test("what ends is stopped, and started again after a pause that grows", async () => {
  await using bench = new Bench();
  await bench.supervised.tried;
  for (const ms of [500, 1000, 2000]) {
    bench.end("it crashed");
    await bench.pass(ms - 1);
    assertEquals(bench.log, ["start", "stop", `it crashed, again in ${ms}`]);
    bench.log.length = 0;
    await bench.pass(1);
  }
  assertEquals(bench.log, ["start"]);
});

Deno.test("what cannot be started is tried again, at most every 30 s", async () => {
  await using bench = new Bench();
  bench.failures.push(...Array(9).fill("no such file"));
  await bench.supervised.tried;
  await turn();
  assertEquals(bench.log.splice(0), ["no such file, again in 500"]);
  for (const [ms, next] of [[500, 1000], [1000, 2000], [2000, 4000], [4000, 8000]] as const) {
    await bench.pass(ms);
    assertEquals(bench.log.splice(0), [`no such file, again in ${next}`]);
  }
  for (const ms of [8000, 16_000, 30_000]) await bench.pass(ms);
  assertEquals(
    bench.log.splice(0),
    [16_000, 30_000, 30_000].map((ms) => `no such file, again in ${ms}`),
  );
});

Deno.test("what has run for 10 s is started again after the shortest pause", async () => {
  await using bench = new Bench();
  await bench.supervised.tried;
  bench.end("it crashed");
  await bench.pass(500);
  bench.now = 10_000;
  bench.end("it crashed later");
  await bench.pass(0);
  assertEquals(bench.log.at(-1), "it crashed later, again in 500");
});

Deno.test("it is stopped while it runs, and while it waits to be started again", async () => {
  await using running = new Bench();
  await running.supervised.tried;
  await running.supervised.stop();
  assertEquals(running.log, ["start", "stop"]);

  running.time[Symbol.dispose]();
  await using waiting = new Bench();
  waiting.failures.push("no such file");
  await waiting.supervised.tried;
  await waiting.supervised.stop();
  assertEquals(waiting.log, ["no such file, again in 500"]);
});
