// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { ORDER, Progress } from "../../lib/guest/progress.ts";

Deno.test("Progress is one memory seen from both sides", () => {
  const guest = new Progress();
  const owner = new Progress(guest.shared);
  assertEquals(owner.state, "unbound");
  guest.begin(48_000);
  guest.state = "draining";
  guest.count("xruns");
  guest.count("dry");
  guest.count("dry");
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
    dry: 2,
    ioErrors: 0,
    buffered: 1920,
    latencyBytes: 0xfffffff0,
    interrupts: 0,
    messages: 1,
    lastPeriodMs: 20.5,
    longestPeriodMs: 21.25,
  });
});

Deno.test("a stream that begins clears what was counted, and neither state, interrupts nor order", () => {
  const progress = new Progress();
  progress.state = "prepared";
  progress.count("interrupts");
  progress.count("xruns");
  progress.write("position", 7);
  progress.set("order", ORDER.stop);
  progress.begin(9);
  const { position, total, xruns, interrupts, state } = progress.snapshot();
  assertEquals([position, total, xruns, interrupts, state], [0, 9, 0, 1, "prepared"]);
  assertEquals(progress.get("order"), ORDER.stop);
});
