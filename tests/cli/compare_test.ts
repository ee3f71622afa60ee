// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { compareWav } from "../../cli/compare.ts";
import { WavError, type WavFormat, WavWriter } from "../../lib/wav/mod.ts";
import { TempFolder } from "../support/process.ts";

const STEREO: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };

function write(path: string, format: WavFormat, bytes: Uint8Array): string {
  using writer = WavWriter.create(path, format);
  writer.write(bytes);
  writer.commit();
  return path;
}

Deno.test("compareWav() finds a single different sample", async () => {
  await using folder = await TempFolder.create();
  // More than a chunk of frames, so that positions count on across reads.
  const bytes = Uint8Array.from({ length: 4 * 150_000 }, (_, i) => i * 7);
  const changed = (at: number) => bytes.with(at, bytes[at]! ^ 1);
  const original = write(folder.file("a.wav"), STEREO, bytes);
  const table: [WavFormat, Uint8Array, number, RegExp][] = [
    [STEREO, bytes, 150_000, /^$/],
    [STEREO, changed(0), 150_000, /^frame 0 differs$/],
    [STEREO, changed(4 * 140_000 + 3), 150_000, /^frame 140000 differs$/],
    [STEREO, changed(bytes.length - 1), 150_000, /^frame 149999 differs$/],
    [STEREO, bytes.subarray(0, -4), 149_999, /^it has 149999 frames, expected 150000$/],
    [STEREO, new Uint8Array([...bytes, 0, 0, 0, 0]), 150_001, /^it has 150001 frames, expected/],
    [STEREO, new Uint8Array(0), 0, /^it has 0 frames/],
    [{ ...STEREO, rate: 44100 }, bytes, 150_000, /^it is .*44100 Hz, expected .*48000 Hz$/],
    [{ ...STEREO, channels: 1 }, bytes, 300_000, /^it is .*1 channel,.*expected .*2 channels/],
  ];
  for (const [format, samples, frames, difference] of table) {
    const copy = write(folder.file("b.wav"), format, samples);
    const found = compareWav(original, copy);
    assert(difference.test(found.difference), found.difference);
    assertEquals([found.equal, found.frames], [found.difference === "", frames]);
  }
});

Deno.test("compareWav() of a file that does not exist fails", async () => {
  await using folder = await TempFolder.create();
  const there = write(folder.file("a.wav"), STEREO, new Uint8Array(4));
  assertThrows(() => compareWav(there, folder.file("b.wav")), WavError, "b.wav: no such file");
});

Deno.test("compareWav() finds 24-bit samples equal in 3 bytes or 4", async () => {
  await using folder = await TempFolder.create();
  const format: WavFormat = { encoding: "pcm", bits: 24, channels: 1, rate: 48000 };
  const bytes = Uint8Array.from({ length: 3 * 100_000 }, (_, i) => i ^ (i >> 8));
  const padded = Uint8Array.from({ length: 4 * 100_000 }, (_, i) => {
    return i % 4 === 3 ? i >> 2 : bytes[3 * (i >> 2) + i % 4]!;
  });
  const original = write(folder.file("a.wav"), { ...format, container: 32 }, padded);
  const copy = write(folder.file("b.wav"), format, bytes);
  assertEquals(compareWav(original, copy), { equal: true, frames: 100_000, difference: "" });
  padded[4 * 70_000 + 2]! ^= 1;
  write(original, { ...format, container: 32 }, padded);
  assertEquals(compareWav(original, copy).difference, "frame 70000 differs");
});

Deno.test("compareWav() compares no more frames than are asked for", async () => {
  await using folder = await TempFolder.create();
  const original = write(folder.file("a.wav"), STEREO, new Uint8Array(400));
  const copy = write(folder.file("b.wav"), STEREO, new Uint8Array(40));
  assertEquals(compareWav(original, copy, 10), { equal: true, frames: 10, difference: "" });
});
