// SPDX-License-Identifier: Apache-2.0
/**
 * Sounds whose every frame is known, and whether they arrived.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { WavFormat } from "../../../lib/wav/mod.ts";
import { FIRST, RATE, readNumbered } from "../real/numbered.ts";

/** The format of numbered frames. */
export const FORMAT: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: RATE };

/** Asserts that a file holds the numbered frames 0 … `count` − 1, and nothing else. */
export function assertNumbered(path: string, count: number): void {
  const frames = readNumbered(path);
  const wrong = frames.findIndex((frame, i) => frame !== FIRST + i);
  assertEquals({ frames: frames.length, wrong }, { frames: count, wrong: -1 }, path);
}
