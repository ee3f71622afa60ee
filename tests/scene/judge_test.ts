// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertMatch } from "@std/assert";
import type { Expectation } from "../../lib/scene/cues.ts";
import { type CardSound, judge, percentile } from "../../lib/scene/judge.ts";
import type { DemoEvent } from "../../lib/scene/perform.ts";

const RATE = 1000;
const FORMAT = { encoding: "pcm", bits: 16, channels: 2, rate: RATE } as const;

/** Frames that are their numbers. */
const INPUT = new Uint8Array(Uint32Array.from({ length: 2 * RATE }, (_, i) => i).buffer);

function sound(recording: Uint8Array, input = INPUT): CardSound {
  return { device: "music", format: FORMAT, input, recording };
}

const PLAYED: DemoEvent = {
  t: 2,
  event: "played",
  device: "music",
  frames: 2 * RATE,
  xruns: 0,
  underruns: 0,
  ioErrors: 0,
};
const KILL: DemoEvent = { t: 1, event: "cue", kind: "kill", device: "music" };

/** Judges one expectation. */
function found(
  one: Expectation,
  recording: Uint8Array | null,
  events: DemoEvent[] = [PLAYED],
): [ok: boolean, found: string] {
  const sounds = recording === null ? [] : [sound(recording)];
  const [verdict] = judge([one], { sounds, events });
  return [verdict!.ok, verdict!.found];
}

const EQUAL: Expectation = { kind: "equal", device: "music", from: 0, to: Infinity };
const LOST: Expectation = { kind: "nothing-lost", device: "music" };

Deno.test("a recording is equal, or the first difference is found", () => {
  const wrong = INPUT.slice();
  wrong[4 * 300 + 2]! ^= 1;
  assertEquals(found(EQUAL, INPUT), [true, "2000 frames are equal"]);
  assertEquals(found(EQUAL, wrong), [false, "frame 300 differs"]);
  assertEquals(found(EQUAL, INPUT.subarray(4)), [false, "frame 0 differs"]);
  assertEquals(found(EQUAL, INPUT.subarray(0, 400)), [
    false,
    "100 frames were recorded, expected 2000",
  ]);
  assertEquals(found(EQUAL, null), [false, "there is no recording"]);
});

Deno.test("only the part from and to counts", () => {
  const wrong = INPUT.slice();
  wrong[4 * 300]! ^= 1;
  const part = (from: number, to: number): Expectation => ({ ...EQUAL, from, to } as Expectation);
  assertEquals(found(part(0.5, 1), wrong), [true, "500 frames are equal"]);
  assertEquals(found(part(0.25, Infinity), wrong), [false, "frame 50 differs"]);
  assertEquals(found(part(3, 4), wrong), [false, "nothing was played then"]);
});

Deno.test("nothing is lost over a kill: what was in flight may be there twice, and no more", () => {
  const twice = (frames: number): Uint8Array =>
    Uint8Array.of(...INPUT.subarray(0, 4000), ...INPUT.subarray(4000 - 4 * frames));
  assertEquals(found(LOST, INPUT), [true, "all 2000 frames are there, each once"]);
  assertEquals(found(LOST, twice(160), [PLAYED, KILL]), [
    true,
    "all 2000 frames are there, 160 of them twice",
  ]);
  assertEquals(found(LOST, twice(161), [PLAYED, KILL]), [
    false,
    "161 frames are there twice, expected at most 160",
  ]);
  assertEquals(found(LOST, twice(1)), [false, "1 frames are there twice, expected at most 0"]);
  const other = { ...KILL, device: "viola" };
  assertEquals(found(LOST, twice(160), [PLAYED, other])[0], true);
  assertEquals(found(LOST, twice(1), [PLAYED, { ...KILL, device: "voice" }])[0], false);
});

Deno.test("what is lost is found", () => {
  const gap = Uint8Array.of(...INPUT.subarray(0, 4000), ...INPUT.subarray(4004));
  assertEquals(found(LOST, INPUT.subarray(0, 4000)), [false, "1000 of 2000 frames are missing"]);
  assertEquals(found(LOST, gap), [
    false,
    "frame 1000 of the recording is not what was played there",
  ]);
});

Deno.test("xruns are those of all that was played on the card", () => {
  const one: Expectation = { kind: "no-xruns", device: "music" };
  const with_ = (change: Partial<DemoEvent>): DemoEvent[] => [PLAYED, { ...PLAYED, ...change }];
  assertEquals(found(one, null), [true, "0 xruns, 0 underruns, 0 I/O errors"]);
  assertEquals(found(one, null, with_({ xruns: 2 })), [
    false,
    "2 xruns, 0 underruns, 0 I/O errors",
  ]);
  assertEquals(found(one, null, with_({ ioErrors: 1 }))[0], false);
  assertEquals(found(one, null, with_({ device: "voice", xruns: 1 }))[0], true);
  assertEquals(found(one, null, []), [false, "nothing was played to its end"]);
});

Deno.test("the latency is that of all the time that the card ran", () => {
  const one: Expectation = { kind: "latency-below", device: "music", ms: 100 };
  const sample = (latencyMs: number, state = "running"): DemoEvent => ({
    t: 0,
    event: "sample",
    device: "music",
    state,
    latencyMs,
  });
  assertEquals(found(one, null, [sample(20), sample(99.9), sample(500, "prepared")]), [
    true,
    "at most 99.9 ms, half of the time 20 ms or less",
  ]);
  assertEquals(found(one, null, [sample(20), sample(100)])[0], false);
  assertEquals(found(one, null, []), [false, "it was never seen running"]);
});

Deno.test("a cue that has failed is a fault, whatever is expected", () => {
  const failed: DemoEvent = { t: 1.5, event: "failed", text: "Cannot send: no such frame" };
  const verdicts = judge([], { sounds: [], events: [PLAYED, failed] });
  assertEquals(verdicts.map(({ ok }) => ok), [false]);
  assertMatch(verdicts[0]!.found, /^at 1.5 s: Cannot send/);
  assertEquals(judge([], { sounds: [], events: [PLAYED] })[0]!.ok, true);
});

Deno.test("percentiles are values that were seen", () => {
  const values = [5, 1, 4, 2, 3];
  assertEquals([0, 0.2, 0.5, 0.99, 1].map((share) => percentile(values, share)), [1, 1, 3, 5, 5]);
});
