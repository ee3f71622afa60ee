// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { gong, pcmBytes, type Piece, pieceNamed, prelude } from "../../lib/scene/pieces.ts";
import { MUSIC_NAMES, SIGNAL_NAMES } from "../../lib/scene/piece_names.ts";

for (const [make, seconds] of [[prelude, 8], [gong, 5]] as const) {
  Deno.test(`${make.name}() is music: neither clipped nor silent, and it ends in silence`, () => {
    const { samples, rate, channels, title } = make();
    assertEquals(samples.length, seconds * rate * channels, title);
    const peak = samples.reduce((max, sample) => Math.max(max, Math.abs(sample)), 0);
    assert(peak > 0.5 && peak < 0.9, `peak ${peak}`);
    const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
    assert(Math.abs(mean) < 0.01, `mean ${mean}`);
    const power = samples.reduce((sum, sample) => sum + sample ** 2, 0) / samples.length;
    assert(power > 1e-4, `power ${power}`);
    assert(samples.subarray(-channels * 10).every((sample) => Math.abs(sample) < 1e-3));
  });

  Deno.test(`${make.name}() is the same every time`, () => {
    assertEquals(pcmBytes(make()), pcmBytes(make()));
  });
}

Deno.test("prelude() is in tune: its first note is a C", () => {
  const { samples, rate } = prelude();
  const left = (i: number) => samples[2 * i]!;
  // The period at which the string's sound is most like itself, around middle C's 183.5 frames.
  const start = 0.05 * rate;
  const likeness = (lag: number) => {
    let sum = 0;
    for (let i = start; i < start + 4000; i++) sum += left(i) * left(i + lag);
    return sum;
  };
  const lags = Array.from({ length: 41 }, (_, i) => 163 + i);
  const best = lags.reduce((a, b) => likeness(a) >= likeness(b) ? a : b);
  assert(Math.abs(best - rate / 261.63) < 1, `period ${best}`);
});

Deno.test("pcmBytes() writes little-endian integers", () => {
  const samples = Float32Array.of(0, 1, -1, 0.5);
  const piece: Piece = { title: "test", rate: 8000, channels: 1, bits: 16, samples };
  // deno-fmt-ignore
  assertEquals(pcmBytes(piece), Uint8Array.of(0, 0, 0xff, 0x7f, 0x01, 0x80, 0x00, 0x40));
  assertEquals(
    pcmBytes({ ...piece, bits: 24 }),
    Uint8Array.of(0, 0, 0, 0xff, 0xff, 0x7f, 0x01, 0x00, 0x80, 0x00, 0x00, 0x40),
  );
});

Deno.test("each piece that a cue may name is there, and as long as asked for unless it is music", () => {
  for (const name of SIGNAL_NAMES) {
    const { title, samples, rate, channels } = pieceNamed(name, 0.5);
    assertEquals([title, samples.length], [name, 0.5 * rate * channels]);
    assert(samples.some((sample) => Math.abs(sample) > 0.1), `${name} is silent`);
    assert(samples.every((sample) => Math.abs(sample) <= 1), `${name} is clipped`);
  }
  for (const name of MUSIC_NAMES) assertEquals(pieceNamed(name, 1).title, name);
});

Deno.test("each frame of numbered is another one", () => {
  const piece = pieceNamed("numbered", 2);
  const view = new DataView(pcmBytes(piece).buffer);
  const frames = new Set<number>();
  for (let at = 0; at < view.byteLength; at += 4) frames.add(view.getUint32(at));
  assertEquals(frames.size, 2 * piece.rate);
});

Deno.test("tone is an A", () => {
  const { samples, rate } = pieceNamed("tone", 1);
  let crossings = 0;
  for (let i = 2; i < samples.length; i += 2) {
    if (samples[i - 2]! < 0 && samples[i]! >= 0) crossings++;
  }
  assertEquals([crossings, rate], [439, 48000]);
});
