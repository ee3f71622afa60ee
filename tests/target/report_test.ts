// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { limitIn, logOf, parseLine } from "./report.ts";

Deno.test("parseLine() reads each kind of line", () => {
  assertEquals(parseLine("alive 12.34"), { kind: "alive", uptime: 12.34 });
  assertEquals(parseLine("next"), { kind: "next" });
  assertEquals(parseLine("end take-over 0 12.5 played, and 3 kills"), {
    kind: "end",
    result: {
      scenario: "take-over",
      ok: true,
      seconds: 12.5,
      processor: 0,
      text: "played, and 3 kills",
    },
  });
  assertEquals(parseLine("end car 137 120.0 "), {
    kind: "end",
    result: { scenario: "car", ok: false, seconds: 120, processor: 0, text: "" },
  });
  assertThrows(() => parseLine("end car"), Error, '"end car"');
});

Deno.test("limitIn() reads the limit from the script; the default is a minute", () => {
  assertEquals(limitIn("#!/bin/sh\n# limit: 150 s\nplay\n"), 150);
  assertEquals(limitIn("play # limit: 150 s of it\n"), 60);
});

Deno.test("logOf() returns the log of a scenario's last run", () => {
  const live = "scenario car\na\nscenario rng\nb\nscenario car\nc\nd\n";
  assertEquals(logOf("car", live), "c\nd\n");
  assertEquals(logOf("rng", live), "b\nscenario car\nc\nd\n");
  assertEquals([logOf("car", "scenario car\nx\n"), logOf("car", "")], ["x\n", ""]);
});
