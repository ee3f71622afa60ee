// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { WavError, WavReader, WavWriter } from "../../lib/wav/mod.ts";
import { bytes, FMT, fmt, fmtOf, readAll, u64, U8, wave, withFile } from "./files.ts";

Deno.test("WavWriter.create() writes these bytes", () => {
  withFile((path) => {
    const writer = WavWriter.create(path, U8);
    writer.write(Uint8Array.of(1, 2, 3));
    writer.commit();
    writer.close();
    writer.close();
    assertEquals(
      Deno.readFileSync(path),
      bytes(
        ...["RIFF", 102, "WAVE", "JUNK", 28, new Array<number>(28).fill(0), FMT],
        ...["LIST", 18, "INFO", "ISFT", 6, "viola\0", "data", 3, [1, 2, 3, 0]],
      ),
    );
  });
});

Deno.test("WavWriter.rollback() forgets what was not committed", () => {
  withFile((path) => {
    using writer = WavWriter.create(path, U8);
    writer.write(Uint8Array.of(1, 2));
    writer.rollback();
    writer.write(Uint8Array.of(3));
    writer.commit();
    assertEquals(readAll(path).samples, Uint8Array.of(3));
  });
});

Deno.test("WavWriter.append() appends after the samples that the header counts, and drops the rest", () => {
  withFile((path) => {
    const expected: number[] = [];
    for (let life = 0; life < 10; life++) {
      const writer = WavWriter.append(path, U8);
      assertEquals(writer.bytes, expected.length);
      for (let i = 0; i <= life; i++) {
        writer.write(Uint8Array.of(life, i));
        writer.commit();
        expected.push(life, i);
      }
      writer.write(new Uint8Array(life));
      // No close: the process was killed. Its descriptor is closed by hand for the sanitizer.
      const killed = Deno.readFileSync(path);
      writer.close();
      Deno.writeFileSync(path, killed);
    }
    assertEquals(readAll(path).samples, Uint8Array.from(expected));
  });
});
const UNAPPENDABLE: [name: string, file: Uint8Array, why: string][] = [
  ["no WAV file", bytes("hello, world"), "it is not a WAV file"],
  ["a file cut short", wave(FMT, "data", 4, [1]), "followed by samples only; its header counts 4"],
  [
    "what a killed recorder left",
    wave(FMT, "data", 0, [1, 2]),
    "samples only; its header counts no",
  ],
  [
    "more than is counted",
    bytes("RIFF", 38, "WAVE", FMT, "data", 2, [1, 2, 3]),
    "1 fewer than there are",
  ],
  [
    "RF64 whose sizes are not at the beginning",
    bytes("RF64", -1, "WAVE", FMT, "ds64", 28, u64(74n), u64(2n), u64(2n), 0, "data", -1, [1, 2]),
    "followed by samples only",
  ],
  [
    "another rate",
    wave(fmt(1, 0, 1, 0, 68, 172, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0), "data", 0),
    "44100",
  ],
  ["arecord's S24_LE", wave(fmtOf(1, 1, 4, 24), "data", 0), "it holds 24-bit pcm in 32 bits, 1"],
  [
    "a chunk behind the samples",
    bytes("RIFF", 48, "WAVE", FMT, "data", 2, [7, 8], "LIST", 0),
    "followed by samples only",
  ],
  ["sizes of a pipe", bytes("RIFF", -1, "WAVE", FMT, "data", -1, [7]), "followed by samples only"],
];
for (const [name, file, why] of UNAPPENDABLE) {
  Deno.test(`WavWriter.append() refuses ${name} and leaves it as it is`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      const error = assertThrows(() => WavWriter.append(path, U8), WavError, why);
      assert(error.message.startsWith(`Cannot append to ${path}: `), error.message);
      assertEquals(Deno.readFileSync(path), file);
    });
  });
}

Deno.test("WavWriter refuses what cannot be written", () => {
  assertThrows(() => WavWriter.create("/nonexistent/a.wav", U8), WavError, "no such file");
  withFile((path) => {
    Deno.symlinkSync("/nonexistent/a.wav", path);
    const why = "it is a link to /nonexistent/a.wav: no such file or directory";
    assertThrows(() => WavWriter.create(path, U8), WavError, why);
    assertThrows(() => WavWriter.probe(path), WavError, why);
  });
});

Deno.test("WavWriter.probe() leaves nothing behind, at the end of a link either", () => {
  withFile((path) => {
    Deno.symlinkSync(`${path}.real`, path);
    {
      using link = WavWriter.probe(path);
      using real = WavWriter.probe(`${path}.real`);
      using other = WavWriter.probe(`${path}.other`);
      assertEquals(link.identity, real.identity);
      assert(link.identity !== other.identity);
    }
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
    assertEquals(Deno.readLinkSync(path), `${path}.real`);
  });
});

Deno.test("WavWriter does not change a file that it may not write, under whatever name", () => {
  withFile((path) => {
    Deno.writeTextFileSync(path, "precious");
    Deno.linkSync(path, `${path}.hard`);
    Deno.symlinkSync(path, `${path}.soft`);
    const asked: string[] = [];
    for (const name of [path, `${path}.hard`, `${path}.soft`]) {
      for (const write of [WavWriter.create, WavWriter.append]) {
        const refuse = (identity: string) => {
          asked.push(identity);
          throw new RangeError("refused");
        };
        assertThrows(() => write(name, U8, refuse), RangeError, "refused");
      }
    }
    assertEquals(Deno.readTextFileSync(path), "precious");
    assertEquals(new Set(asked).size, 1);
  });
});

Deno.test("WavWriter writes S24_LE as arecord does, and WavReader reads it", () => {
  withFile((path) => {
    const format = { ...U8, bits: 24, container: 32 } as const;
    const samples = Uint8Array.of(1, 2, 3, 0, 4, 5, 0xf6, 0xff);
    using writer = WavWriter.create(path, format);
    writer.write(samples);
    writer.commit();
    assertEquals(readAll(path), { format, samples });
    const header = Deno.readFileSync(path);
    assertEquals(header.slice(48, 72), Uint8Array.from(fmtOf(1, 1, 4, 24)));
  });
});

// ---- RF64 ----

const GIB = 2 ** 30;

/** A header of U8 that counts so many bytes, and as many zeros: a hole, no disk is used. */
function largeFile(path: string, data: number, junk: (string | number | number[])[]): number {
  const chunks = [...junk, FMT, "LIST", 18, "INFO", "ISFT", 6, "viola\0", "data", data];
  const start = 12 + bytes(...chunks).length;
  Deno.writeFileSync(path, bytes("RIFF", start - 8 + data, "WAVE", ...chunks));
  Deno.truncateSync(path, start + data);
  return start;
}

const JUNK = ["JUNK", 28, new Array<number>(28).fill(0xee)];

Deno.test("WavWriter: a file that grows beyond 4 GiB becomes RF64, and can be appended to", () => {
  withFile((path) => {
    const before = 4 * GIB - 10_000;
    const start = largeFile(path, before, JUNK);
    for (let life = 1; life <= 3; life++) {
      using writer = WavWriter.append(path, U8);
      writer.write(new Uint8Array(10_000).fill(life));
      writer.commit();
    }
    const size = before + 30_000;
    using file = Deno.openSync(path);
    const header = new Uint8Array(start);
    file.readSync(header);
    const sizes = [u64(BigInt(start - 8 + size)), u64(BigInt(size)), u64(BigInt(size))];
    const info = ["LIST", 18, "INFO", "ISFT", 6, "viola\0"];
    assertEquals(
      header,
      bytes("RF64", -1, "WAVE", "ds64", 28, ...sizes, 0, FMT, ...info, "data", -1),
    );
    file.seekSync(start + before - 1, Deno.SeekMode.Start);
    const tail = new Uint8Array(30_001);
    file.readSync(tail);
    assertEquals([...new Set(tail)], [0, 1, 2, 3]);
    using reader = WavReader.open(path);
    assertEquals([reader.frames, reader.remarks], [size, []]);
  });
});

Deno.test("WavWriter: a header without room for 64-bit sizes holds 4 GiB at most, and reports when it is full", () => {
  withFile((path) => {
    const before = 4 * GIB - 20_000;
    largeFile(path, before, []);
    using writer = WavWriter.append(path, U8);
    writer.write(new Uint8Array(10_000));
    writer.commit();
    assertThrows(() => writer.write(new Uint8Array(10_000)), WavError, "at most 4 GiB");
    assertEquals(writer.bytes, before + 10_000);
  });
});
