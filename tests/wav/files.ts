// SPDX-License-Identifier: Apache-2.0
/**
 * Files for the tests of lib/wav: made of bytes, read whole, and by another program.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { frameBytes, type WavFormat, WavReader } from "../../lib/wav/mod.ts";

export const U8 = { encoding: "pcm", bits: 8, channels: 1, rate: 8000 } as const;
export const S16 = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 } as const;

export function withFile(test: (path: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    test(`${directory}/test.wav`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

export function readAll(path: string, step = 1000): { format: WavFormat; samples: Uint8Array } {
  using reader = WavReader.open(path);
  const samples = new Uint8Array(reader.frames * frameBytes(reader.format));
  let done = 0;
  for (let n = 1; n > 0; done += n) n = reader.read(samples.subarray(done, done + step));
  assertEquals(reader.read(new Uint8Array(8)), 0);
  assertEquals(done, samples.length);
  return { format: reader.format, samples };
}

/** Builds a file from pieces: text as is, numbers as u32, bytes as they are. */
export function bytes(...pieces: (string | number | number[])[]): Uint8Array {
  return Uint8Array.from(
    pieces.flatMap((piece) =>
      typeof piece === "string"
        ? [...piece].map((c) => c.charCodeAt(0))
        : typeof piece === "number"
        ? [...new Uint8Array(Uint32Array.of(piece).buffer)]
        : piece
    ),
  );
}

/** A u16 in bytes, for {@linkcode bytes}. */
export const u16 = (value: number): number[] => [value & 0xff, value >> 8];
/** A u64 in bytes. */
export const u64 = (value: bigint): number[] => [
  ...new Uint8Array(BigUint64Array.of(value).buffer),
];

/** A `fmt ` chunk of these bytes. */
export const fmt = (...body: number[]): number[] => [...bytes("fmt ", body.length), ...body];

/** A `fmt ` chunk with these fields, and what follows them; the rate is 8000. */
export function fmtOf(
  tag: number,
  channels: number,
  blockAlign: number,
  bits: number,
  ...more: number[]
): number[] {
  const rates = [...bytes(8000, 8000 * blockAlign)];
  return fmt(...u16(tag), ...u16(channels), ...rates, ...u16(blockAlign), ...u16(bits), ...more);
}

/** What follows in a `fmt ` chunk whose tag is 0xfffe (WAVE_FORMAT_EXTENSIBLE). */
export function extension(validBits: number, tag: number): number[] {
  const tail = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
  return [...u16(22), ...u16(validBits), ...bytes(0), ...u16(tag), ...tail];
}

/** That of {@linkcode U8}. */
export const FMT = fmtOf(1, 1, 1, 8);

/** A file whose RIFF size means nothing. */
export const wave = (...pieces: (string | number | number[])[]): Uint8Array =>
  bytes("RIFF", 100, "WAVE", ...pieces);
