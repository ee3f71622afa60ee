// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import type { Request } from "../integration/real/losses.ts";
import { faults } from "./car.ts";
import { type Heard, MUSIC, type Part, PERIOD, Track, VOICE } from "./mix.ts";

type Gain = Heard["gains"][number];

function requestsOf({ frames }: Part): Request[] {
  const bytes = 4 * (PERIOD - 1);
  return new Array(frames / PERIOD).fill({ pos: bytes, len: bytes });
}
const taken = { music: requestsOf(MUSIC), voice: requestsOf(VOICE) };

/** So many frames from a number on, but for the last of each period. */
function count(frames: number, from = 0): number[] {
  const numbers: number[] = [];
  for (let n = from; numbers.length < frames; n++) if ((n + 1) % PERIOD !== 0) numbers.push(n);
  return numbers;
}

function track(part: Part, numbers: number[], first: number): Track {
  return Object.assign(new Track(part), { numbers, first, last: first + numbers.length - 1 });
}

const music = track(MUSIC, count(MUSIC.frames - PERIOD), 100);
const voice = track(VOICE, count(VOICE.frames - PERIOD), 90_000);
const gains = [{ gain: 1, from: 100 }, { gain: 0.25, from: 90_000 }, { gain: 1, from: 300_000 }];
const good = { music, voice, gains, foreign: [] };

Deno.test("faults() excuses what the daemon drops", () => {
  assertEquals(faults(good, [1, 0.25, 1], taken), []);
  assertEquals(faults({ ...good, gains: gains.slice(0, 1) }, [1], taken), []);
  const shorter = track(VOICE, count(VOICE.frames - 2 * PERIOD), 90_000);
  assertEquals(faults({ ...good, voice: shorter }, [1, 0.25, 1], taken), []);
});

Deno.test("faults() names every other fault", () => {
  const holed = track(MUSIC, [...count(5), ...count(MUSIC.frames - PERIOD - 5, 7)], 100);
  assertEquals(faults({ ...good, music: holed }, [1, 0.25, 1], taken), [
    "music: frame 7 came, 5 was expected, after 5 frames",
  ]);
  const less = { ...taken, voice: taken.voice.slice(1) };
  assertEquals(faults(good, [1, 0.25, 1], less), [
    `voice: the daemon got 15 requests of ${4 * 15 * PERIOD} bytes, expected 16 of ${
      4 * VOICE.frames
    }`,
  ]);
  const [first, down, up] = gains as [Gain, Gain, Gain];
  const late = [first, { ...down, from: 90_001 }, up];
  const early = [first, down, { ...up, from: 200_000 }];
  const apart = track(VOICE, count(VOICE.frames - PERIOD), 10_000_000);
  const cases: [Partial<Heard>, string][] = [
    [{ foreign: [7] }, "frame 7 is no sum of music and voice"],
    [{ gains: [first] }, "the music's gains are 1, expected 1, 0.25, 1"],
    [{ gains: late }, "the voice speaks before the music is low"],
    [{ gains: early }, "the music is high before the voice has spoken"],
    [{ voice: apart }, "music and voice are not played at once"],
  ];
  for (const [change, fault] of cases) {
    assertEquals(faults({ ...good, ...change }, [1, 0.25, 1], taken)[0], fault);
  }
});
