// SPDX-License-Identifier: Apache-2.0
// What a device may report at once, on a fake clock.
import { assertEquals } from "@std/assert";
import {
  EVENT_RATE,
  type LimitedEvent,
  limitEvents,
  QUIET_RATE,
} from "../../lib/virtio/event_limit.ts";

class Bench {
  ms = 1000;
  readonly passed: LimitedEvent[] = [];
  readonly report = limitEvents<LimitedEvent>(
    (event) => void this.passed.push(event),
    () => this.ms,
  );

  /** Reports events of a kind without pause. @returns how many were passed on */
  flood(kind: string, count: number, quiet?: true): number {
    const before = this.passed.length;
    for (let i = 0; i < count; i++) {
      this.report({ kind, text: `${kind} ${i}`, ...(quiet && { quiet }) });
    }
    return this.passed.length - before;
  }
}

Deno.test("a kind of event is passed on in a burst, then at its rate", () => {
  const bench = new Bench();
  assertEquals(bench.flood("reset", 2000), EVENT_RATE.burst);
  for (let second = 0; second < 5; second++) {
    bench.ms += 1000;
    assertEquals(bench.flood("reset", 2000), EVENT_RATE.perSecond);
  }
  bench.ms += 1000 * EVENT_RATE.burst / EVENT_RATE.perSecond;
  assertEquals(bench.flood("reset", 2000), EVENT_RATE.burst);
  bench.ms += 1e9; // a long silence allows no more than a burst
  assertEquals(bench.flood("reset", 2000), EVENT_RATE.burst);
});

Deno.test("events that come no faster than the rate are all passed on, unchanged", () => {
  const bench = new Bench();
  for (let i = 0; i < 500; i++, bench.ms += 1000 / EVENT_RATE.perSecond) bench.flood("lost", 1);
  assertEquals(bench.passed.length, 500);
  assertEquals(bench.passed.every(({ text }) => text === "lost 0"), true);
});

Deno.test("the next event says once how many were left out, also when it is of another kind", () => {
  const bench = new Bench();
  bench.flood("reset", EVENT_RATE.burst + 3);
  bench.flood("error", 2);
  assertEquals(bench.passed.slice(-2).map(({ text }) => text), [
    "error 0 (3 reports before this were left out)",
    "error 1",
  ]);
  bench.flood("reset", 1);
  bench.ms += 1000;
  bench.flood("reset", 1);
  assertEquals(bench.passed.at(-1)!.text, "reset 0 (1 report before this was left out)");
});

Deno.test("quiet events have a rate of their own, and do not carry the count", () => {
  const bench = new Bench();
  bench.flood("reset", EVENT_RATE.burst + 1);
  assertEquals(bench.flood("position", 2 * QUIET_RATE.burst, true), QUIET_RATE.burst);
  bench.ms += 1000;
  assertEquals(bench.flood("position", 2 * QUIET_RATE.perSecond, true), QUIET_RATE.perSecond);
  assertEquals(bench.passed.some(({ text }) => text.includes("left out")), false);
});
