// SPDX-License-Identifier: Apache-2.0
/**
 * Progress values of a sound driver.
 *
 * @module
 */
import type { ProgressSnapshot } from "../../guest/progress.ts";
import type { MmioDevice } from "../../guest/transport.ts";

/** The layout. */
export const SOUND_PROGRESS = {
  /** A stream's states, and `draining` while the last messages are played. */
  states: ["idle", "params set", "prepared", "running", "draining", "stopped", "released"],
  totals: ["messages"],
  words: ["xruns", "underruns", "ioErrors", "latencyBytes"],
  numbers: ["position", "total", "buffered", "periods", "lastPeriodMs", "longestPeriodMs"],
} as const;

/** The layout's type. */
export type SoundProgressLayout = typeof SOUND_PROGRESS;

/** A device whose driver has this progress layout. */
export type SoundMmioDevice = MmioDevice<SoundProgressLayout>;

/**
 * Values for display:
 *
 * - `xruns` XRUN events of the device; `underruns` how often the device had no buffer left before the end of the file;
 *   `ioErrors` buffers returned with a status other than OK; `latencyBytes` the last latency that the device
 *   reported; `messages` control messages sent
 * - `position` frames returned by the device, or captured; `total` frames of the whole transfer; `buffered` frames that the
 *   device has; `periods` buffers returned by the device; `lastPeriodMs` time between the last two of them, in
 *   milliseconds; `longestPeriodMs` the longest such time of the stream
 */
export type SoundProgress = ProgressSnapshot<SoundProgressLayout>;
