// SPDX-License-Identifier: Apache-2.0
/**
 * What a sound driver shows while it plays or records.
 *
 * @module
 */
import type { ProgressSnapshot } from "../../guest/progress.ts";
import type { MmioDevice } from "../../guest/transport.ts";

/** As {@linkcode ProgressLayout} has it. */
export const SOUND_PROGRESS = {
  /** A stream's states, and `draining` while the last of it is played. */
  states: ["idle", "params set", "prepared", "running", "draining", "stopped", "released"],
  totals: ["messages"],
  words: ["xruns", "underruns", "ioErrors", "latencyBytes"],
  numbers: ["position", "total", "buffered", "periods", "lastPeriodMs", "longestPeriodMs"],
} as const;

/** The layout's type. */
export type SoundProgressLayout = typeof SOUND_PROGRESS;

/** A device whose driver shows this. */
export type SoundMmioDevice = MmioDevice<SoundProgressLayout>;

/**
 * What a user interface shows:
 *
 * - `xruns` XRUN events of the device; `underruns` how often the device had no buffer left although there was more to play;
 *   `ioErrors` buffers given back with a status other than OK; `latencyBytes` what the device last said lies between it and the
 *   ear; `messages` control messages sent
 * - `position` frames given back by the device, or captured; `total` frames that there are in all; `buffered` frames that the
 *   device has and did not give back; `periods` buffers given back by the device; `lastPeriodMs` between the last two of them, in
 *   milliseconds; `longestPeriodMs` the longest such time of this stream
 */
export type SoundProgress = ProgressSnapshot<SoundProgressLayout>;
