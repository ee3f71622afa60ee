// SPDX-License-Identifier: Apache-2.0
/**
 * What the loudspeakers of the car's scenarios must have played, judged from the recordings of their monitor.
 *
 * Each frame of music and voice must be there, in order and exact, but for what vhost-device-sound 0.3.0 drops by itself
 * when it has taken it (losses.ts; its own log tells that): that is counted, and told.
 *
 * @module
 */
import { playbacks, type Request, unexcused } from "../integration/real/losses.ts";
import { type Heard, PERIOD, takeApart, type Track } from "./mix.ts";

/** The recordings of each scenario, with the gains that the music has one after the other. */
const RECORDINGS: Record<string, Record<string, readonly number[]>> = {
  "car": { mix: [1], turned: [1, 1 / 8, 1] },
  "car-roles": { ducked: [1, 1 / 4, 1] },
};

/** Whether a scenario leaves recordings to be judged here. */
export function isJudged(scenario: string): boolean {
  return Object.hasOwn(RECORDINGS, scenario);
}

/**
 * Judges a scenario's recordings.
 *
 * @param folder Where they are, as SCENARIO.RECORDING.f32: stereo, 32-bit floats; and the daemons' logs, SCENARIO.PART.log
 * @returns what they show
 * @throws {Error} when something is missing, foreign, or not at the gain it should have
 */
export function judge(scenario: string, folder: string): string {
  const logs = (part: string) =>
    playbacks(Deno.readTextFileSync(`${folder}/${scenario}.${part}.log`));
  const [music, voice] = [logs("music"), logs("voice")];
  const seen = Object.entries(RECORDINGS[scenario]!).map(([name, gains], i) => {
    const bytes = Deno.readFileSync(`${folder}/${scenario}.${name}.f32`);
    const heard = takeApart(new Float32Array(bytes.buffer, 0, bytes.length >>> 2));
    const taken = { music: music[i] ?? [], voice: voice[i] ?? [] };
    const wrong = faults(heard, gains, taken);
    if (wrong.length > 0) throw new Error(`${name}: ${wrong.slice(0, 3).join("; ")}`);
    return `${name}: ${description(heard)}`;
  });
  return seen.join("; ");
}

/** What each daemon took of a playback. */
export type Taken = Record<"music" | "voice", readonly Request[]>;

/** What is wrong with a recording of music that has these gains, one sentence each. */
export function faults(heard: Heard, gains: readonly number[], taken: Taken): string[] {
  const { music, voice, foreign } = heard;
  const wrong = foreign.map((frame) => `frame ${frame} is no sum of music and voice`);
  for (const { part, numbers } of [music, voice]) {
    const playback = { count: part.frames, period: PERIOD, quantum: PERIOD };
    const found = unexcused(numbers, taken[part.name], playback);
    wrong.push(...found.map((text) => `${part.name}: ${text}`));
  }
  const together = Math.min(music.last, voice.last) - Math.max(music.first, voice.first);
  if (together < voice.part.frames / 2) wrong.push("music and voice are not played at once");
  return [...wrong, ...faultsOfGain(heard, gains)];
}

/** Between the first gain and the last lies the one that the music has while the voice speaks. */
function faultsOfGain({ voice, gains }: Heard, expected: readonly number[]): string[] {
  const found = gains.map(({ gain }) => gain);
  if (String(found) !== String(expected)) {
    return [`the music's gains are ${found.join(", ")}, expected ${expected.join(", ")}`];
  }
  const [, down, up] = gains;
  const wrong: string[] = [];
  if (down && voice.first < down.from) wrong.push("the voice speaks before the music is low");
  if (up && voice.last >= up.from) wrong.push("the music is high before the voice has spoken");
  return wrong;
}

function description({ music, voice, gains }: Heard): string {
  const gain = gains.map(({ gain }) => gain).join(", ");
  return `all is there, the music's gain ${gain}, but for the last frames of periods + the tail, ` +
    `which the daemons drop: ${dropped(music)}, ${dropped(voice)}`;
}

function dropped({ part, numbers }: Track): string {
  const tail = part.frames - 1 - numbers.at(-1)!;
  return `${part.name} ${part.frames - numbers.length - tail} + ${tail}`;
}
