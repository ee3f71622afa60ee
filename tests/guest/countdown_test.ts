// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { Countdown } from "../../lib/guest/countdown.ts";

Deno.test("a countdown ends after its time, waited for in slices", () => {
  let now = 1e6;
  const countdown = new Countdown(2500, () => now);
  const slices: number[] = [];
  while (!countdown.isOver) {
    const slice = countdown.begin(1000);
    slices.push(slice);
    now += slice;
    countdown.end();
  }
  assertEquals([slices, now], [[1000, 1000, 500], 1e6 + 2500]);
});

Deno.test("a countdown whose slices end early lasts its whole time", () => {
  let now = 0;
  const countdown = new Countdown(100, () => now);
  let slices = 0;
  for (; !countdown.isOver; slices++) {
    countdown.begin(1000);
    now += 7.5;
    countdown.end();
  }
  assertEquals([slices, now], [14, 105]);
});

Deno.test("time in which the process was stopped does not count", () => {
  let now = 0;
  const countdown = new Countdown(10_000, () => now);
  for (let slices = 0; slices < 9; slices++) {
    countdown.begin(1000);
    now += 12_000;
    countdown.end();
    assertEquals(countdown.isOver, false);
  }
  countdown.begin(1000);
  now += 1000;
  countdown.end();
  assertEquals(countdown.isOver, true);
});
