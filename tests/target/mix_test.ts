// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { frameOf, MUSIC, type Part, PERIOD, takeApart, VOICE } from "./mix.ts";

/** Adds a part's frames `from` to `to` to a mix, the first of them at `at`. */
function add(mix: Float32Array, part: Part, at: number, from: number, to: number, gain = 1): void {
  for (let n = from; n < to; n++) {
    frameOf(part, n).forEach((v, i) => mix[2 * (at + n - from) + i]! += v * gain / 32_768);
  }
}

const count = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

Deno.test("takeApart() finds both parts complete, with their gains", () => {
  const mix = new Float32Array(2 * (MUSIC.frames + 500));
  const [down, up] = [3 * PERIOD + 77, 25 * PERIOD];
  add(mix, MUSIC, 100, 0, down);
  add(mix, MUSIC, 100 + down, down, up, 1 / 8);
  add(mix, MUSIC, 100 + up, up, MUSIC.frames);
  add(mix, VOICE, 4 * PERIOD, 0, VOICE.frames);
  const { music, voice, gains, foreign } = takeApart(mix);
  assertEquals(music.numbers, count(0, MUSIC.frames));
  assertEquals(voice.numbers, count(0, VOICE.frames));
  assertEquals([voice.first, voice.last], [4 * PERIOD, 4 * PERIOD + VOICE.frames - 1]);
  assertEquals(gains, [
    { gain: 1, from: 100 },
    { gain: 1 / 8, from: 100 + down },
    { gain: 1, from: 100 + up },
  ]);
  assertEquals(foreign, []);
});

Deno.test("takeApart() reports frames that are missing, repeated, or in neither part", () => {
  const mix = new Float32Array(2 * 6 * PERIOD);
  add(mix, MUSIC, 0, 0, PERIOD - 1);
  add(mix, MUSIC, PERIOD - 1, 2 * PERIOD, 3 * PERIOD);
  add(mix, VOICE, 0, 0, 100);
  add(mix, VOICE, 100, 99, 200);
  mix[2 * 5 * PERIOD] = 0.1;
  const { music, voice, foreign } = takeApart(mix);
  assertEquals(music.numbers, [...count(0, PERIOD - 1), ...count(2 * PERIOD, 3 * PERIOD)]);
  assertEquals(voice.numbers[100], 100 + VOICE.modulus - 1, "a number that cannot be");
  assertEquals(foreign, [5 * PERIOD]);
});
