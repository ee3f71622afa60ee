// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { SOUND_PROGRESS } from "../../lib/classes/sound/progress.ts";
import { NO_PROGRESS, ORDER, Progress } from "../../lib/guest/progress.ts";

Deno.test("Progress is one memory seen from both sides", () => {
  const guest = new Progress(SOUND_PROGRESS);
  const owner = new Progress(SOUND_PROGRESS, guest.shared);
  assertEquals(owner.state, "unbound");
  guest.clear();
  guest.write("total", 48_000);
  guest.state = "draining";
  guest.count("xruns");
  guest.count("underruns");
  guest.count("underruns");
  guest.count("messages");
  guest.set("latencyBytes", 0xfffffff0);
  guest.write("buffered", 1920);
  guest.write("position", 2 ** 40);
  guest.write("lastPeriodMs", 20.5);
  guest.write("longestPeriodMs", 21.25);
  assertEquals(owner.snapshot(), {
    state: "draining",
    position: 2 ** 40,
    total: 48_000,
    periods: 0,
    xruns: 1,
    underruns: 2,
    ioErrors: 0,
    buffered: 1920,
    latencyBytes: 0xfffffff0,
    interrupts: 0,
    messages: 1,
    lastPeriodMs: 20.5,
    longestPeriodMs: 21.25,
  });
});

Deno.test("a call that begins clears what is counted of one, and neither state, totals nor order", () => {
  const progress = new Progress(SOUND_PROGRESS);
  progress.state = "prepared";
  progress.count("interrupts");
  progress.count("messages");
  progress.count("xruns");
  progress.write("position", 7);
  progress.set("order", ORDER.stop);
  progress.clear();
  const { position, messages, xruns, interrupts, state } = progress.snapshot();
  assertEquals([position, messages, xruns, interrupts, state], [0, 1, 0, 1, "prepared"]);
  assertEquals(progress.get("order"), ORDER.stop);
});

Deno.test("a driver with nothing of its own shows its state and its interrupts", () => {
  const progress = new Progress(NO_PROGRESS);
  progress.state = "bound";
  progress.count("interrupts");
  assertEquals(progress.snapshot(), { state: "bound", interrupts: 1 });
});

Deno.test("a layout has 29 words of its own and 32 numbers at most", () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);
  const whole = { states: [], totals: names(9), words: names(20), numbers: names(32) };
  const progress = new Progress(whole);
  progress.write("n31", 5);
  assertEquals([progress.read("n31"), progress.snapshot().n31], [5, 5]);
  assertThrows(() => new Progress({ ...whole, words: names(21) }), RangeError, "33 words");
  assertThrows(() => new Progress({ ...whole, numbers: names(33) }), RangeError, "33 numbers");
});
