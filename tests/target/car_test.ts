// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { faults } from "./car.ts";
import { type Heard, MUSIC, type Part, PERIOD, Track, VOICE } from "./mix.ts";

type Gain = Heard["gains"][number];

/** Frames `from` to `to`, but for the last of each period. */
const count = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => from + i).filter((n) => (n + 1) % PERIOD !== 0);

function track(part: Part, numbers: number[], first: number): Track {
  return Object.assign(new Track(part), { numbers, first, last: first + numbers.length - 1 });
}

const music = track(MUSIC, count(0, MUSIC.frames - 5000), 100);
const voice = track(VOICE, count(0, VOICE.frames), 90_000);
const gains = [{ gain: 1, from: 100 }, { gain: 0.25, from: 90_000 }, { gain: 1, from: 300_000 }];
const good = { music, voice, gains, foreign: [] };

Deno.test("faults() excuses what the daemon drops", () => {
  assertEquals(faults(good, [1, 0.25, 1]), []);
  assertEquals(faults({ ...good, gains: gains.slice(0, 1) }, [1]), []);
});

Deno.test("faults() names every other fault", () => {
  const holed = track(MUSIC, [...count(0, 5), ...count(7, MUSIC.frames)], 100);
  assertEquals(faults({ ...good, music: holed }, [1, 0.25, 1]), [
    "music: frames 5 to 6 are missing",
  ]);
  const [first, down, up] = gains as [Gain, Gain, Gain];
  const late = [first, { ...down, from: 90_001 }, up];
  const early = [first, down, { ...up, from: 200_000 }];
  const apart = track(VOICE, count(0, VOICE.frames), 10_000_000);
  const cases: [Partial<Heard>, string][] = [
    [{ foreign: [7] }, "frame 7 is no sum of music and voice"],
    [{ gains: [first] }, "the music's gains are 1, expected 1, 0.25, 1"],
    [{ gains: late }, "the voice speaks before the music is low"],
    [{ gains: early }, "the music is high before the voice has spoken"],
    [{ voice: apart }, "music and voice are not played at once"],
  ];
  for (const [change, fault] of cases) {
    assertEquals(faults({ ...good, ...change }, [1, 0.25, 1])[0], fault);
  }
});
