// SPDX-License-Identifier: Apache-2.0
/**
 * WAV files with headers of every kind. What is read is compared with a second reading of the bytes; what can be gone on
 * in holds the old samples and the new ones afterwards, and what cannot is left as it was.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  frameBytes,
  WavError,
  type WavFormat,
  WavReader,
  WavWriter,
} from "../../../lib/wav/mod.ts";
import { bytes, extension, readAll, u16, withFile } from "../../wav/files.ts";
import { ANY_U32, anyBytes, expectError, mostly, target, type Verdict } from "../target.ts";

interface Chunk {
  id: string;
  body: Uint8Array;
  /** The size that its header says; null: the right one. */
  said: number | null;
}

interface File {
  form: string;
  /** null: the right one. */
  riffSize: number | null;
  chunks: Chunk[];
  /** Bytes that are left of it; null: all. */
  cut: number | null;
  damage: { at: number; byte: number }[];
}

const said = mostly<number | null>(fc.constant(null), ANY_U32, 4);

/** What goes together: the tag, bits of a sample, and what follows. */
const usualKind = fc.constantFrom<[tag: number, bits: number, more: number[]]>(
  [1, 8, []],
  [1, 16, []],
  [1, 20, []],
  [1, 24, []],
  [3, 32, [0, 0]],
  [3, 64, [0, 0]],
  [6, 8, []],
  [7, 16, []],
  [0xfffe, 24, extension(24, 1)],
  [0xfffe, 32, extension(32, 3)],
);
const oddKind = fc.tuple(
  fc.oneof(fc.constantFrom(1, 3, 6, 0xfffe), fc.nat({ max: 0xffff })),
  fc.oneof(fc.constantFrom(0, 8, 24, 33, 64), fc.nat({ max: 0xffff })),
  anyBytes(30).map((all) => [...all]),
);
const fmtBody = fc.record({
  kind: mostly<[number, number, number[]]>(usualKind, oddKind),
  channels: mostly(fc.integer({ min: 1, max: 8 }), fc.nat({ max: 0xffff })),
  rate: mostly(fc.constantFrom(8000, 44100, 48000), ANY_U32),
  align: mostly(fc.nat({ max: 32 }), fc.nat({ max: 0xffff })),
}).map(({ kind: [tag, bits, more], channels, rate, align }) =>
  bytes(u16(tag), u16(channels), rate, 8000, u16(align), u16(bits), more)
);

const chunk: fc.Arbitrary<Chunk> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ id: fc.constant("fmt "), body: fmtBody, said }) },
  { weight: 4, arbitrary: fc.record({ id: fc.constant("data"), body: anyBytes(100), said }) },
  {
    weight: 3,
    arbitrary: fc.record({
      id: fc.constantFrom("LIST", "fact", "JUNK", "ds64", "fmt ", "\0\0\0\0"),
      body: fc.oneof(anyBytes(40), fc.constant(new Uint8Array(28)), fc.constant(new Uint8Array(4))),
      said,
    }),
  },
);

/** Mostly a format and then samples, with something between, before and behind. */
const chunks = fc.tuple(
  fc.array(chunk, { maxLength: 2 }),
  fmtBody,
  fc.array(chunk, { maxLength: 2 }),
  anyBytes(200),
  said,
  fc.array(chunk, { maxLength: 2 }),
).map(([before, fmt, between, samples, said, behind]): Chunk[] => [
  ...before,
  { id: "fmt ", body: fmt, said: null },
  ...between,
  { id: "data", body: samples, said },
  ...behind,
]);

const file: fc.Arbitrary<File> = fc.record({
  form: mostly(fc.constantFrom("RIFF", "RIFF", "RF64", "BW64"), fc.constantFrom("RIFX", "FORM")),
  riffSize: said,
  chunks: mostly(chunks, fc.array(chunk, { maxLength: 5 })),
  cut: mostly(fc.constant(null), fc.nat({ max: 300 })),
  damage: mostly(
    fc.constant([]),
    fc.array(fc.record({ at: fc.nat({ max: 300 }), byte: fc.nat({ max: 255 }) }), { maxLength: 3 }),
  ),
});

function build({ form, riffSize, chunks, cut, damage }: File): Uint8Array<ArrayBuffer> {
  const body = chunks.flatMap(({ id, body, said }) => [
    ...bytes(id, said ?? body.length, [...body]),
    ...(body.length % 2 === 1 ? [0] : []),
  ]);
  const all = Uint8Array.from(bytes(form, riffSize ?? body.length + 4, "WAVE", body));
  for (const { at, byte } of damage) if (at < all.length) all[at] = byte;
  return all.slice(0, cut ?? all.length);
}

/** What the bytes say by themselves: the format chunk that counts, and where samples begin. */
interface SecondReading {
  fmt: DataView;
  start: number;
  /** The size that the data chunk's header says. */
  said: number;
}

function readAgain(all: Uint8Array<ArrayBuffer>): SecondReading {
  const view = new DataView(all.buffer);
  let fmt: DataView | null = null;
  for (let at = 12;; at += 8 + view.getUint32(at + 4, true) + view.getUint32(at + 4, true) % 2) {
    const id = String.fromCharCode(...all.subarray(at, at + 4));
    const said = view.getUint32(at + 4, true);
    if (id === "fmt ") fmt = new DataView(all.buffer, at + 8);
    if (id === "data") return { fmt: fmt!, start: at + 8, said };
  }
}

function isPossible({ encoding, bits, channels, rate }: WavFormat): boolean {
  const widths = { pcm: [8, 16, 24, 32], float: [32, 64], alaw: [8], mulaw: [8] }[encoding];
  return widths.includes(bits) && channels > 0 && rate > 0;
}

/** Checks what is read against the bytes. @returns the samples and their format */
function checkRead(path: string, all: Uint8Array<ArrayBuffer>): ReturnType<typeof readAll> {
  const { fmt, start, said } = readAgain(all);
  const { format, samples } = readAll(path, 37);
  assert(isPossible(format), `expected a format that is possible: ${JSON.stringify(format)}`);
  assertEquals([format.channels, format.rate], [fmt.getUint16(2, true), fmt.getUint32(4, true)]);
  assertEquals(samples, all.slice(start, start + samples.length), "expected the file's own bytes");
  const frame = frameBytes(format);
  if (start + said === all.length) {
    assertEquals(samples.length, said - said % frame, "expected all that the header counts");
  }
  using reader = WavReader.open(path);
  assertEquals(reader.frames * frame, samples.length);
  assert(reader.rest >= 0 && reader.rest < frame, `expected less than a frame: ${reader.rest}`);
  assert(reader.remarks.length <= 10, `expected few remarks: ${reader.remarks.length}`);
  return { format, samples };
}

/** Goes on in the file. */
function checkAppend(
  path: string,
  all: Uint8Array,
  { format, samples }: ReturnType<typeof readAll>,
): void {
  const more = Uint8Array.from({ length: 3 * frameBytes(format) }, (_, i) => i + 1);
  try {
    using writer = WavWriter.append(path, format);
    writer.write(more);
    writer.commit();
  } catch (error) {
    expectError(error, WavError);
    assertEquals(Deno.readFileSync(path), all, "expected the refused file as it was");
    return;
  }
  assertEquals(readAll(path), { format, samples: Uint8Array.from([...samples, ...more]) });
}

function judge(input: File): Verdict {
  let verdict: Verdict = "accepted";
  withFile((path) => {
    const all = build(input);
    Deno.writeFileSync(path, all);
    try {
      WavReader.open(path).close();
    } catch (error) {
      expectError(error, WavError);
      assert((error as Error).message.includes(path), "expected an error that names the file");
      verdict = "refused";
      return;
    }
    checkAppend(path, all, checkRead(path, all));
  });
  return verdict;
}

/** See the module. */
export const WAV_HEADERS = target("WAV headers", file, judge);
