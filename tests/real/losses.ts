// SPDX-License-Identifier: Apache-2.0
/**
 * What vhost-device-sound 0.3.0 with its PipeWire back-end loses of every playback, whoever attaches it: the last frame
 * of each period (it takes the 4-byte header off the length twice), and the tail, up to one period (it completes
 * requests when it has copied them, so the end comes early). Nothing else may be missing.
 *
 * @module
 */

/**
 * Compares what was heard with what was played, and excuses the daemon's known losses.
 *
 * @param heard Numbers of the frames heard, in order
 * @param count Frames played: 0 to count − 1
 * @param period Frames per period, as played
 * @param first The first frame that had to be heard
 * @returns what is wrong beyond that, one sentence each; empty if nothing is
 */
export function unexcused(
  heard: readonly number[],
  count: number,
  period: number,
  first = 0,
): string[] {
  const wrong: string[] = [];
  let next = first;
  const skipTo = (frame: number) => {
    while (next < frame) {
      const last = next + period - 1 - next % period;
      const end = Math.min(frame, last);
      if (end > next) wrong.push(`frames ${next} to ${end - 1} are missing`);
      next = Math.min(frame, last + 1);
    }
  };
  for (const frame of heard) {
    if (frame < next || frame >= count) wrong.push(`frame ${frame} came, ${next} was expected`);
    else {
      skipTo(frame);
      next = frame + 1;
    }
  }
  skipTo(count - period);
  return wrong;
}
