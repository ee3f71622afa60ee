// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { Patience, usageOf } from "./patience.ts";

Deno.test("Patience waits for a machine that makes progress, however slow the host is", () => {
  const patience = new Patience({ wall: 0, processor: 5 });
  patience.begin(30, { wall: 100, processor: 10 });
  // A twentieth of a processor: ten seconds of the machine take an hour.
  for (let beat = 0; beat < 9; beat++) {
    const now = { wall: 3600 * beat, processor: 10 + 180 * beat };
    patience.alive(7 + 10 * beat, now);
    assertEquals(patience.judge(now), null);
  }
  assertEquals(patience.begin(30, { wall: 40_000, processor: 1500 }), 1490);
});

Deno.test("Patience ends a scenario over its limit, by the machine's own time", () => {
  const patience = new Patience({ wall: 0, processor: 0 });
  const now = { wall: 1, processor: 1 };
  patience.begin(30, now);
  patience.alive(100, now);
  patience.alive(190, now);
  assertEquals(patience.judge(now), null);
  patience.alive(191, now);
  assertEquals(patience.judge(now), "not ended after 91 s, where its limit is 30 s");
  patience.begin(30, now);
  assertEquals(patience.judge(now), null, "that was another's time");
});

Deno.test("Patience ends a machine that is busy without progress", () => {
  const patience = new Patience({ wall: 0, processor: 0 });
  patience.begin(1000, { wall: 10, processor: 10 });
  assertEquals(patience.judge({ wall: 2000, processor: 1210 }), null);
  assertEquals(
    patience.judge({ wall: 2002, processor: 1211 }),
    "no sign of life while the emulator used 1201 s of processor time",
  );
});

Deno.test("Patience ends an emulator that is idle", () => {
  const patience = new Patience({ wall: 0, processor: 0 });
  assertEquals(patience.judge({ wall: 290, processor: 0.5 }), null);
  assertEquals(patience.judge({ wall: 310, processor: 1.1 }), null);
  assertEquals(patience.judge({ wall: 600, processor: 1.2 }), null);
  assertEquals(
    patience.judge({ wall: 611, processor: 1.3 }),
    "the emulator has done nothing for 301 s",
  );
});

Deno.test("usageOf() grows with what a process does, and is null for none", () => {
  const before = usageOf(Deno.pid)!;
  let used = before;
  while (used.processor === before.processor) used = usageOf(Deno.pid)!;
  assert(used.processor > before.processor && used.wall > before.wall);
  assertEquals(usageOf(2 ** 30), null);
});
