// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { WavError, WavReader } from "../../lib/wav/mod.ts";
import { bytes, FMT, fmt, fmtOf, readAll, wave, withFile } from "./files.ts";

function ours(counted: number, samples: number[]): Uint8Array {
  const info = bytes("LIST", 18, "INFO", "ISFT", 6, "viola\0");
  return bytes("RIFF", 62 + counted, "WAVE", FMT, [...info], "data", counted, samples);
}

function remarksOn(path: string): readonly string[] {
  using reader = WavReader.open(path);
  return reader.remarks;
}

const READABLE: [name: string, file: Uint8Array, samples: number[]][] = [
  ["an unknown chunk, odd", wave("odd ", 3, [1, 2, 3, 0], FMT, "data", 2, [7, 8]), [7, 8]],
  ["a chunk behind", wave(FMT, "data", 1, [7, 0], "LIST", 2, [1, 2]), [7]],
  ["an odd number of bytes and no pad", wave(FMT, "data", 1, [7]), [7]],
  ["no samples", wave(FMT, "data", 0), []],
  ["no samples, and RIFF size 8", bytes("RIFF", 8, "WAVE", FMT, "data", 0), []],
  ["no samples, and chunks behind", wave(FMT, "data", 0, "LIST", 2, [1, 2], "junk", 0), []],
  ["sizes −1", bytes("RIFF", -1, "WAVE", FMT, "data", -1, [1, 2, 3]), [1, 2, 3]],
  ["sizes −1 and no sample", bytes("RIFF", -1, "WAVE", FMT, "data", -1), []],
  ["sizes −1 less the header", bytes("RIFF", -9, "WAVE", FMT, "data", -45, [1]), [1]],
  ["arecord's sizes", bytes("RIFF", 2 ** 31 + 36, "WAVE", FMT, "data", 2 ** 31, [9]), [9]],
  ["sox's sizes", bytes("RIFF", 2 ** 31 - 1, "WAVE", FMT, "data", 0x7ffff000, [9]), [9]],
  ["half a frame at the end", wave(fmtOf(1, 1, 2, 16), "data", 3, [1, 2, 3]), [1, 2]],
  ["20 bits in 24", wave(fmtOf(1, 1, 3, 20), "data", 3, [1, 2, 3]), [1, 2, 3]],
  ["viola's signature, and what it did not count", ours(0, [1, 2, 3]), []],
  ["viola's signature, a sample, and what it did not count", ours(1, [1, 2, 3]), [1]],
];
for (const [name, file, samples] of READABLE) {
  Deno.test(`WavReader reads a file with ${name}, and finds nothing odd`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      assertEquals(readAll(path, 1).samples, Uint8Array.from(samples));
      assertEquals(remarksOn(path), []);
    });
  });
}

const UNREADABLE: [name: string, file: Uint8Array, why: string][] = [
  ["nothing", new Uint8Array(0), "it is empty"],
  ["an MP3", bytes("ID3", [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "it is not a WAV file"],
  ["an AVI", bytes("RIFF", 100, "AVI ", 0, 0), "it is not a WAV file"],
  ["RF64 without an end", bytes("RF64", -1, "WAVE", 0, 0), "before its samples"],
  ["big-endian", bytes("RIFX", 0, "WAVE", 0, 0), "it is RIFX"],
  ["no chunks", wave(), "it ends after 12 bytes, before its samples"],
  ["no samples", wave(FMT), "it ends after 36 bytes, before its samples"],
  ["half a chunk's head", wave(FMT, "dat"), "before its samples"],
  ["a chunk that leads out", wave("LIST", 1000, FMT, "data", 0), "before its samples"],
  ["samples before the format", wave("data", 1, [1, 0], FMT), "come before their format"],
  ["a short format", wave(fmt(1, 0, 1, 0), "data", 0), "its format has 4 bytes, expected 16"],
  ["no channels", wave(fmtOf(1, 0, 0, 8)), "impossible"],
  ["no rate", wave(fmt(1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0)), "impossible"],
  ["no bits", wave(fmtOf(1, 1, 2, 0)), "impossible"],
  ["33 bits", wave(fmtOf(1, 1, 5, 33)), "impossible"],
  ["16-bit float", wave(fmtOf(3, 1, 2, 16)), "impossible"],
  ["31-bit float", wave(fmtOf(3, 1, 4, 31)), "impossible"],
  ["MP3 inside", wave(fmtOf(0x55, 1, 1, 0)), "is MP3"],
  ["a tag unheard of", wave(fmtOf(0x0909, 1, 1, 0)), "0x0909"],
  [
    "an extensible format cut short",
    wave(fmtOf(0xfffe, 1, 1, 8), "data", 0),
    "not a standard one",
  ],
  ["chunks without end", wave(...new Array(1001).fill("LIST\0\0\0\0")), "more than 1000 chunks"],
];
for (const [name, file, why] of UNREADABLE) {
  Deno.test(`WavReader.open() refuses ${name}`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      const error = assertThrows(() => WavReader.open(path), WavError, why);
      assert(error.message.startsWith(`Cannot read ${path}: `), error.message);
    });
  });
}

Deno.test("WavReader reads the rest of a file that was cut short anywhere, and reports what is missing", () => {
  withFile((path) => {
    const whole = Deno.readFileSync("/usr/share/sounds/alsa/Noise.wav");
    const size = whole.length - 44;
    for (let length = 0; length < 200; length++) {
      Deno.writeFileSync(path, whole.subarray(0, length));
      if (length < 44) {
        assertThrows(() => WavReader.open(path), WavError);
        continue;
      }
      const samples = length - 44;
      assertEquals(readAll(path).samples, whole.slice(44, length - samples % 2));
      assertEquals(remarksOn(path), [
        `its header counts ${size} bytes of samples, ` +
        `${size - samples} more than there are: those are missing`,
      ]);
    }
  });
});

Deno.test("WavReader.read() reports a file that became shorter", () => {
  withFile((path) => {
    Deno.writeFileSync(path, wave(FMT, "data", 4, [1, 2, 3, 4]));
    using reader = WavReader.open(path);
    Deno.truncateSync(path, 46);
    assertThrows(() => reader.read(new Uint8Array(4)), WavError, "got shorter");
  });
});
