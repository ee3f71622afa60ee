// SPDX-License-Identifier: Apache-2.0
/**
 * What vhost-device-sound 0.3.0 with its PipeWire back-end loses of a playback, whoever attaches it, and that nothing else
 * is missing.
 *
 * - The last frame of each request: it takes the 4-byte header off the length twice.
 * - The tail: it completes a request when it has copied it for PipeWire. So after the last request the driver ends the
 *   stream at once, and with the stream goes what PipeWire had not played yet: what it was given of the quantum that is
 *   not full, and at times the full one before.
 *
 * What it took of each request it says in its log, so that what was lost before it took it cannot hide among what it
 * drops itself.
 *
 * @module
 */

/** What the daemon is to log, as RUST_LOG. */
export const DAEMON_LOG =
  "vhost_device_sound::stream=trace,vhost_device_sound::audio_backends::pipewire=debug";

/** Bytes of a frame: two channels of 16 bits. */
const FRAME = 4;

/** A request as the daemon let it go. */
export interface Request {
  /** Bytes that it had copied for PipeWire … */
  readonly pos: number;
  /** … of so many. */
  readonly len: number;
}

/** A playback of numbered frames. */
export interface Playback {
  /** How many frames were played; they are numbered from 0. */
  readonly count: number;
  /** Frames per request. */
  readonly period: number;
  /** Frames that PipeWire moves at a time. */
  readonly quantum: number;
  /** The first frame that this daemon got: 0, unless another had those before. */
  readonly first?: number;
}

/** The playbacks in a daemon's log, each from "pipewire start" on: the requests that it let go, in order. */
export function playbacks(log: string): Request[][] {
  const found: Request[][] = [];
  for (const line of log.split("\n")) {
    if (/pipewire start$/.test(line)) found.push([]);
    const [, pos, len] = /dropping Output request Request \{ pos: (\d+), len: (\d+),/.exec(line) ??
      [];
    if (pos !== undefined) found.at(-1)?.push({ pos: Number(pos), len: Number(len) });
  }
  return found;
}

/** The frames that the daemon gives PipeWire of a playback: all but the last of each request. */
function framesOf({ count, period, first = 0 }: Playback): number[] {
  const frames: number[] = [];
  for (let from = first; from < count; from += period) {
    for (let n = from; n < Math.min(from + period, count) - 1; n++) frames.push(n);
  }
  return frames;
}

/** What the daemon did not get, or did not take whole. */
function faultsOfRequests(
  requests: readonly Request[],
  { count, period, first = 0 }: Playback,
): string[] {
  const wrong = requests.flatMap(({ pos, len }, i) =>
    pos === len ? [] : [`the daemon took ${pos} of ${len} bytes of request ${i}`]
  );
  const bytes = requests.reduce((sum, { len }) => sum + len + FRAME, 0);
  const expected = FRAME * (count - first);
  const number = Math.ceil((count - first) / period);
  if (bytes !== expected || requests.length !== number) {
    wrong.push(
      `the daemon got ${requests.length} requests of ${bytes} bytes, ` +
        `expected ${number} of ${expected}`,
    );
  }
  return wrong;
}

/**
 * Compares what was heard of a playback with what was played.
 *
 * @param heard Numbers of the frames heard, in order
 * @param requests What the daemon took of it
 * @returns what is wrong beyond what the daemon loses by itself, one sentence each; empty if nothing is
 */
export function unexcused(
  heard: readonly number[],
  requests: readonly Request[],
  playback: Playback,
): string[] {
  const wrong = faultsOfRequests(requests, playback);
  const frames = framesOf(playback);
  const at = heard.findIndex((frame, i) => frame !== frames[i]);
  if (at >= 0) {
    wrong.push(
      `frame ${heard[at]} came, ${frames[at] ?? "none"} was expected, after ${at} frames`,
    );
  }
  const quanta = Math.floor(frames.length / playback.quantum);
  const whole = heard.length / playback.quantum;
  if (whole !== quanta && whole !== quanta - 1) {
    wrong.push(
      `${heard.length} frames were heard, expected ${quanta} times ${playback.quantum}, or once less`,
    );
  }
  return wrong;
}
