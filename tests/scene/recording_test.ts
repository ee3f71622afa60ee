// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { follow } from "../../lib/scene/recording.ts";

const FRAME = 4;

/** Frames that are their numbers. */
function numbered(count: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Uint32Array.from({ length: count }, (_, i) => i).buffer);
}

/** Parts of an input, from frame to frame. */
function parts(input: Uint8Array, ...ranges: [from: number, to: number][]): Uint8Array {
  const all = ranges.map(([from, to]) => input.subarray(FRAME * from, FRAME * to));
  return Uint8Array.from(all.flatMap((part) => [...part]));
}

const INPUT = numbered(5000);

Deno.test("a recording that equals its input covers it", () => {
  assertEquals(follow(INPUT, INPUT, FRAME), { covered: 5000, repeats: [], strange: null });
});

Deno.test("one that ends early covers what it has", () => {
  const found = follow(INPUT, parts(INPUT, [0, 4000]), FRAME);
  assertEquals(found, { covered: 4000, repeats: [], strange: null });
});

Deno.test("what is there twice is found, also in the middle of what is there twice", () => {
  const recording = parts(INPUT, [0, 2000], [1200, 1800], [1500, 5000]);
  const { covered, repeats, strange } = follow(INPUT, recording, FRAME);
  assertEquals([covered, strange], [5000, null]);
  assertEquals(repeats.map(({ at }) => at), [2000, 2600]);
  assertEquals(repeats[0]!.frames, 800);
});

Deno.test("one frame that is missing is found", () => {
  const found = follow(INPUT, parts(INPUT, [0, 2000], [2001, 5000]), FRAME);
  assertEquals([found.covered, found.strange], [2000, 2000]);
});

Deno.test("one byte that differs is found", () => {
  const recording = INPUT.slice();
  recording[FRAME * 777 + 1]! ^= 1;
  assertEquals(follow(INPUT, recording, FRAME).strange, 777);
});

Deno.test("in sound that is like itself nothing missing is overlooked, and what is whole is found whole", () => {
  // A period of 10 frames with silence in it, and one frame of its own in the middle and at the end.
  const input = new Uint8Array(FRAME * 3000);
  for (let i = 0; i < 3000; i++) input[FRAME * i] = i % 10 < 5 ? 0 : i % 10;
  input[FRAME * 1500] = 200;
  input[FRAME * 2999] = 201;
  const whole = follow(input, parts(input, [0, 1700], [1433, 3000]), FRAME);
  assertEquals([whole.covered, whole.strange], [3000, null]);
  const lost = follow(input, parts(input, [0, 1499], [1501, 3000]), FRAME);
  assert(lost.covered < 3000, JSON.stringify(lost));
  const short = follow(input, parts(input, [0, 1700], [1733, 3000]), FRAME);
  assert(short.covered < 3000, JSON.stringify(short));
});

Deno.test("an empty recording covers nothing, and one without an input is strange", () => {
  assertEquals(follow(INPUT, new Uint8Array(0), FRAME).covered, 0);
  assertEquals(follow(new Uint8Array(0), INPUT, FRAME).strange, 0);
});
