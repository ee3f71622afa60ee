// SPDX-License-Identifier: Apache-2.0
// Headers that disagree with themselves or with their file. What is expected is what sox, ffmpeg, aplay and libsndfile
// make of them, as far as they agree.
import { assertEquals, assertMatch } from "@std/assert";
import { frameBytes, type WavFormat, WavReader } from "../../lib/wav/mod.ts";
import { bytes, extension, FMT, fmtOf, readAll, u64, wave, withFile } from "./files.ts";

const PCM = 1;
const FLOAT = 3;
const ALAW = 6;
const EXTENSIBLE = 0xfffe;

type Format = Partial<WavFormat> & { bits: number };
const FORMATS: [name: string, fmt: number[], format: Format, remark: RegExp | null][] = [
  [
    "stereo 16, align 2",
    fmtOf(PCM, 2, 2, 16),
    { bits: 16, channels: 2 },
    /2 bytes per frame.*take 4/,
  ],
  ["stereo 16, align 8", fmtOf(PCM, 2, 8, 16), { bits: 16, channels: 2 }, /8 bytes per frame/],
  ["stereo 16, align 3", fmtOf(PCM, 2, 3, 16), { bits: 16, channels: 2 }, /3 bytes per frame/],
  ["mono 16, align 0", fmtOf(PCM, 1, 0, 16), { bits: 16 }, /0 bytes per frame.*1 × 16 bits take 2/],
  ["mono 16, align 1", fmtOf(PCM, 1, 1, 16), { bits: 16 }, /1 bytes per frame/],
  ["mono 16, align 65535", fmtOf(PCM, 1, 65535, 16), { bits: 16 }, /65535 bytes per frame/],
  ["mono 8, align 2", fmtOf(PCM, 1, 2, 8), { bits: 8 }, /2 bytes per frame/],
  ["mono 12, align 2", fmtOf(PCM, 1, 2, 12), { bits: 16 }, null],
  ["mono 12, align 3", fmtOf(PCM, 1, 3, 12), { bits: 16 }, /3 bytes per frame.*12 bits take 2/],
  ["mono 20, align 3", fmtOf(PCM, 1, 3, 20), { bits: 24 }, null],
  ["mono 20, align 4", fmtOf(PCM, 1, 4, 20), { bits: 24 }, /4 bytes per frame/],
  ["mono 24, align 4 (arecord's S24_LE)", fmtOf(PCM, 1, 4, 24), { bits: 24, container: 32 }, null],
  [
    "8 × 24, align 32 (arecord's S24_LE)",
    fmtOf(PCM, 8, 32, 24),
    { bits: 24, container: 32, channels: 8 },
    null,
  ],
  ["stereo 24, align 4", fmtOf(PCM, 2, 4, 24), { bits: 24, channels: 2 }, /4 bytes per frame/],
  ["mono 24, align 2", fmtOf(PCM, 1, 2, 24), { bits: 24 }, /2 bytes per frame/],
  ["mono 32, align 2", fmtOf(PCM, 1, 2, 32), { bits: 32 }, /2 bytes per frame/],
  ["mono 32, align 8", fmtOf(PCM, 1, 8, 32), { bits: 32 }, /8 bytes per frame/],
  ["24 of 32", fmtOf(EXTENSIBLE, 1, 4, 32, ...extension(24, PCM)), { bits: 32 }, null],
  ["20 of 24", fmtOf(EXTENSIBLE, 1, 3, 24, ...extension(20, PCM)), { bits: 24 }, null],
  ["0 of 16", fmtOf(EXTENSIBLE, 1, 2, 16, ...extension(0, PCM)), { bits: 16 }, null],
  [
    "24 of 32, align 3",
    fmtOf(EXTENSIBLE, 1, 3, 32, ...extension(24, PCM)),
    { bits: 32 },
    /3 bytes per frame/,
  ],
  [
    "24 of 24, align 4",
    fmtOf(EXTENSIBLE, 1, 4, 24, ...extension(24, PCM)),
    { bits: 24, container: 32 },
    null,
  ],
  ["float 32, align 2", fmtOf(FLOAT, 1, 2, 32), { encoding: "float", bits: 32 }, /2 bytes/],
  ["float 64, align 4", fmtOf(FLOAT, 1, 4, 64), { encoding: "float", bits: 64 }, /4 bytes/],
  ["A-law, align 0", fmtOf(ALAW, 1, 0, 8), { encoding: "alaw", bits: 8 }, /0 bytes per frame/],
  [
    "A-law, align 1",
    fmtOf(ALAW, 2, 1, 8),
    { encoding: "alaw", bits: 8, channels: 2 },
    /1 bytes per frame/,
  ],
  ["A-law of 16 bits", fmtOf(ALAW, 1, 1, 16), { encoding: "alaw", bits: 8 }, /16 bits per sample/],
  ["A-law of 0 bits", fmtOf(ALAW, 1, 1, 0), { encoding: "alaw", bits: 8 }, /0 bits per sample/],
];
for (const [name, chunk, format, remark] of FORMATS) {
  Deno.test(`the bits per sample and the channels decide: ${name}`, () => {
    withFile((path) => {
      const expected: WavFormat = { encoding: "pcm", channels: 1, rate: 8000, ...format };
      const samples = Array.from({ length: 3 * frameBytes(expected) }, (_, i) => i);
      Deno.writeFileSync(path, wave(chunk, "data", samples.length, samples));
      assertEquals(readAll(path), { format: expected, samples: Uint8Array.from(samples) });
      assertRemark(path, remark);
    });
  });
}

function assertRemark(path: string, remark: RegExp | null): void {
  using reader = WavReader.open(path);
  assertEquals(reader.remarks.length, remark === null ? 0 : 1, reader.remarks.join("; "));
  if (remark !== null) assertMatch(reader.remarks[0]!, remark);
}

const riff = (size: number, ...pieces: (string | number | number[])[]): Uint8Array =>
  bytes("RIFF", size, "WAVE", FMT, "data", ...pieces);
/** RF64 or BW64 with these sizes in `ds64`. */
const long = (form: string, riff: bigint, data: bigint, ...pieces: (number | number[])[]) =>
  bytes(form, -1, "WAVE", "ds64", 28, u64(riff), u64(data), u64(data), 0, FMT, "data", ...pieces);

const KILLED = /^its header counts no samples, .*: the 3 bytes behind it are taken for samples$/;
const SIZES: [name: string, file: Uint8Array, samples: number[], remark: RegExp | null][] = [
  ["RIFF 8, data 0 (libsndfile)", riff(8, 0, [1, 2, 3]), [1, 2, 3], KILLED],
  ["RIFF 36, data 0 (Python)", riff(36, 0, [1, 2, 3]), [1, 2, 3], KILLED],
  ["RIFF 0, data 0", riff(0, 0, [1, 2, 3]), [1, 2, 3], KILLED],
  ["RIFF −1, data 0", riff(-1, 0, [1, 2, 3]), [1, 2, 3], KILLED],
  ["RIFF right, data 0", riff(39, 0, [1, 2, 3]), [1, 2, 3], KILLED],
  ["RIFF right, data −1", riff(39, -1, [1, 2, 3]), [1, 2, 3], null],
  ["RIFF 36, data 2³¹ − 37", riff(36, 2 ** 31 - 37, [1, 2, 3]), [1, 2, 3], null],
  ["RF64 that counts nothing", long("RF64", 72n, 0n, -1, [1, 2, 3]), [1, 2, 3], KILLED],
  [
    "RF64 that counts all there could be",
    long("RF64", 2n ** 64n - 1n, 2n ** 64n - 1n, -1, [1, 2, 3]),
    [1, 2, 3],
    null,
  ],
  [
    "a byte too much",
    riff(40, 4, [1, 2, 3]),
    [1, 2, 3],
    /counts 4 .* 1 more than there are: those are missing$/,
  ],
  [
    "its header too much",
    riff(47, 47, [1, 2, 3]),
    [1, 2, 3],
    /, 44 more than there are: those are missing$/,
  ],
  ["far too much", riff(0, 10 ** 9, [1, 2, 3]), [1, 2, 3], /, 999999997 more than/],
  ["something and no byte", riff(37, 1), [], /, 1 more than/],
  ["RF64 of a terabyte", long("RF64", 72n, 2n ** 40n, -1, [1, 2, 3]), [1, 2, 3], /are missing$/],
  ["too little", riff(38, 1, [1, 2, 3]), [1], /counts 1 bytes of samples, 2 fewer than there are/],
];
for (const [name, file, samples, remark] of SIZES) {
  Deno.test(`what a file has is read, and what is missing is said: ${name}`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      assertEquals(readAll(path).samples, Uint8Array.from(samples));
      assertRemark(path, remark);
    });
  });
}

const LONG: [name: string, file: Uint8Array][] = [
  ["RF64", long("RF64", 75n, 3n, -1, [1, 2, 3])],
  ["BW64", long("BW64", 75n, 3n, -1, [1, 2, 3])],
  ["RF64 with a size of 32 bits in place", long("RF64", 75n, 9n, 3, [1, 2, 3])],
  [
    "BW64 whose ds64 has a table",
    bytes(
      ...["BW64", -1, "WAVE", "ds64", 40, u64(0n), u64(3n), u64(3n), 1, "axml", u64(2n ** 33n)],
      ...["JUNK", 2, [0, 0], FMT, "data", -1, [1, 2, 3]],
    ),
  ],
];
for (const [name, file] of LONG) {
  Deno.test(`WavReader reads ${name}`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      assertEquals(readAll(path).samples, Uint8Array.of(1, 2, 3));
      assertRemark(path, null);
    });
  });
}

Deno.test("WavReader knows the frames of an RF64 file of 6 GiB before it reads any", () => {
  withFile((path) => {
    const head = long("RF64", 6n * 2n ** 30n + 72n, 6n * 2n ** 30n, -1);
    Deno.writeFileSync(path, head);
    Deno.truncateSync(path, head.length + 6 * 2 ** 30); // a hole: no disk is used
    using reader = WavReader.open(path);
    assertEquals(reader.frames, 6 * 2 ** 30);
  });
});
