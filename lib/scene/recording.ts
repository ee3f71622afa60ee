// SPDX-License-Identifier: Apache-2.0
/**
 * What a card's recording has of what was played on it.
 *
 * @module
 */

/** A stretch of a recording that was there before: a device that came back was given what was in flight. */
export interface Repeat {
  /** The first frame of it in the recording. */
  readonly at: number;
  /** How many frames are there again. */
  readonly frames: number;
}

/** What was found. */
export interface Found {
  /** Frames of the input that the recording has, in order and without a gap, from the first. */
  readonly covered: number;
  readonly repeats: readonly Repeat[];
  /** The frame of the recording that is not what was played there or shortly before; null when all of it is. */
  readonly strange: number | null;
}

/** So many frames tell where a recording goes on. */
const WITNESSES = 64;
/** Going on further back than that is a fault, in frames: more than any card's buffer. */
const FURTHEST = 1 << 17;

/**
 * Follows a recording along its input. Where it does not go on, it is looked for at the latest earlier place that it could go
 * on from: a place later than the true one leads to another repeat, never past a frame that is missing.
 *
 * @param input What was played, whole frames
 * @param recording What was recorded, whole frames
 * @param size Bytes of a frame
 */
export function follow(input: Uint8Array, recording: Uint8Array, size: number): Found {
  const [inputFrames, frames] = [input.length / size, recording.length / size];
  const repeats: Repeat[] = [];
  let covered = 0;
  for (let at = 0, from = 0;;) {
    const run = commonFrames(input, from, recording, at, size);
    at += run;
    from += run;
    covered = Math.max(covered, from);
    if (at === frames) return { covered, repeats, strange: null };
    const back = earlierPlace(input, Math.min(from, inputFrames), recording, at, size);
    if (back === null) return { covered, repeats, strange: at };
    repeats.push({ at, frames: covered - back });
    from = back;
  }
}

/** How many frames are the same, from two places on. */
function commonFrames(
  input: Uint8Array,
  from: number,
  recording: Uint8Array,
  at: number,
  size: number,
): number {
  const most = Math.min(input.length - from * size, recording.length - at * size);
  const [left, right] = [from * size, at * size];
  let same = 0;
  while (same < most && input[left + same] === recording[right + same]) same++;
  return Math.floor(same / size);
}

/** The last place before `from` where the input is as the recording at `at`. */
function earlierPlace(
  input: Uint8Array,
  from: number,
  recording: Uint8Array,
  at: number,
  size: number,
): number | null {
  const wanted = Math.min(WITNESSES, recording.length / size - at);
  for (let place = from - 1; place >= Math.max(0, from - FURTHEST); place--) {
    if (input[place * size] !== recording[at * size]) continue;
    const same = commonFrames(input, place, recording, at, size);
    if (same >= wanted || place + same === input.length / size) return place;
  }
  return null;
}
