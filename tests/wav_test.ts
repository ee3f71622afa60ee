// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { frameBytes, WavError, type WavFormat, WavReader, WavWriter } from "../lib/wav.ts";

const U8 = { encoding: "pcm", bits: 8, channels: 1, rate: 8000 } as const;
const S16 = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 } as const;

/** Runs `sox` (also known as: the second opinion) and returns what it wrote to standard output. */
function sox(...args: string[]): Uint8Array<ArrayBuffer> {
  const { success, stdout, stderr } = new Deno.Command("sox", { args }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return stdout;
}

function withFile(test: (path: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    test(`${directory}/test.wav`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function readAll(path: string, step = 1000): { format: WavFormat; samples: Uint8Array } {
  using reader = WavReader.open(path);
  const samples = new Uint8Array(reader.frames * frameBytes(reader.format));
  let done = 0;
  for (let n = 1; n > 0; done += n) n = reader.read(samples.subarray(done, done + step));
  assertEquals(reader.read(new Uint8Array(8)), 0);
  assertEquals(done, samples.length);
  return { format: reader.format, samples };
}

const SOX_ENCODINGS = [
  { args: ["-e", "unsigned-integer", "-b", "8"], encoding: "pcm", bits: 8 },
  { args: ["-e", "signed-integer", "-b", "16"], encoding: "pcm", bits: 16 },
  { args: ["-e", "signed-integer", "-b", "24"], encoding: "pcm", bits: 24 },
  { args: ["-e", "signed-integer", "-b", "32"], encoding: "pcm", bits: 32 },
  { args: ["-e", "floating-point", "-b", "32"], encoding: "float", bits: 32 },
  { args: ["-e", "floating-point", "-b", "64"], encoding: "float", bits: 64 },
  { args: ["-e", "a-law"], encoding: "alaw", bits: 8 },
  { args: ["-e", "mu-law"], encoding: "mulaw", bits: 8 },
] as const;

for (const { args, encoding, bits } of SOX_ENCODINGS) {
  for (const [channels, rate] of [[1, 8000], [2, 44100], [6, 192000]] as const) {
    Deno.test(`WavReader reads what sox writes: ${encoding} ${bits}, ${channels} at ${rate}`, () => {
      withFile((path) => {
        // An odd number of frames, so that 8-bit mono needs the pad byte.
        sox(
          ...["-n", "-r", `${rate}`, "-c", `${channels}`],
          ...args,
          path,
          "synth",
          "1001s",
          "pluck",
        );
        const { format, samples } = readAll(path);
        assertEquals(format, { encoding, bits, channels, rate });
        assertEquals(samples, sox(path, "-t", "raw", "-"));
        assert(samples.some((byte) => byte !== samples[0]));
      });
    });

    Deno.test(`sox reads what WavWriter writes: ${encoding} ${bits}, ${channels} at ${rate}`, () => {
      withFile((path) => {
        const format = { encoding, bits, channels, rate };
        const samples = sox(
          ...["-n", "-r", `${rate}`, "-c", `${channels}`, ...args, "-t", "raw", "-"],
          ...["synth", "1001s", "pluck"],
        );
        const writer = WavWriter.create(path, format);
        writer.write(samples);
        writer.commit();
        writer.close();
        assertEquals(sox(path, "-t", "raw", "-"), samples);
        assertEquals(readAll(path), { format, samples });
        const info = new TextDecoder().decode(
          new Deno.Command("soxi", { args: [path] }).outputSync().stdout,
        );
        assert(
          info.includes(`${rate}`) &&
            info.includes(`${samples.length / frameBytes(format)} samples`),
          info,
        );
      });
    });
  }
}

for (const encoding of ["ima-adpcm", "ms-adpcm", "gsm-full-rate"]) {
  Deno.test(`WavReader.open() refuses sox's ${encoding}`, () => {
    withFile((path) => {
      sox("-n", "-r", "8000", "-e", encoding, path, "synth", "0.1", "sine", "440");
      assertThrows(() => WavReader.open(path), WavError, "expected PCM, float, A-law or mu-law");
    });
  });
}

Deno.test("WavReader reads what sox writes to a pipe, where no size is true", () => {
  withFile((path) => {
    const file = sox("-n", "-r", "8000", "-b", "16", "-t", "wav", "-", "synth", "0.1", "pluck");
    Deno.writeFileSync(path, file);
    assertEquals(readAll(path).samples, file.subarray(44));
  });
});

Deno.test("WavReader reads Debian's recordings", () => {
  for (const name of ["Front_Center", "Rear_Left", "Noise"]) {
    const path = `/usr/share/sounds/alsa/${name}.wav`;
    assertEquals(readAll(path).samples, sox(path, "-t", "raw", "-"));
  }
});

/** Builds a file from pieces: text as is, numbers as u32, bytes as they are. */
function bytes(...pieces: (string | number | number[])[]): Uint8Array {
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
const FMT = bytes("fmt ", 16, [1, 0, 1, 0], 8000, 8000, [1, 0, 8, 0]);
const fmt = (...body: number[]): number[] => [...bytes("fmt ", body.length), ...body];
const wave = (...pieces: (string | number | number[])[]): Uint8Array =>
  bytes("RIFF", 100, "WAVE", ...pieces);

const READABLE: [name: string, file: Uint8Array, samples: number[]][] = [
  ["an unknown chunk, odd", wave("odd ", 3, [1, 2, 3, 0], [...FMT], "data", 2, [7, 8]), [7, 8]],
  ["a chunk behind", wave([...FMT], "data", 1, [7, 0], "LIST", 2, [1, 2]), [7]],
  ["no samples", wave([...FMT], "data", 0), []],
  ["bytes beyond the sizes", wave([...FMT], "data", 0, [1, 2, 3]), []],
  ["sizes 0", bytes("RIFF", 0, "WAVE", [...FMT], "data", 0, [1, 2, 3]), [1, 2, 3]],
  ["sizes −1", bytes("RIFF", -1, "WAVE", [...FMT], "data", -1, [1, 2, 3]), [1, 2, 3]],
  ["arecord's sizes", bytes("RIFF", 2 ** 31 + 36, "WAVE", [...FMT], "data", 2 ** 31, [9]), [9]],
  [
    "half a frame at the end",
    wave(fmt(1, 0, 1, 0, 64, 31, 0, 0, 128, 62, 0, 0, 2, 0, 16, 0), "data", 3, [1, 2, 3]),
    [1, 2],
  ],
  [
    "20 bits in 24",
    wave(fmt(1, 0, 1, 0, 64, 31, 0, 0, 192, 93, 0, 0, 3, 0, 20, 0), "data", 3, [1, 2, 3]),
    [1, 2, 3],
  ],
];
for (const [name, file, samples] of READABLE) {
  Deno.test(`WavReader reads a file with ${name}`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      assertEquals(readAll(path, 1).samples, Uint8Array.from(samples));
    });
  });
}

const UNREADABLE: [name: string, file: Uint8Array, why: string][] = [
  ["nothing", new Uint8Array(0), "it is empty"],
  ["an MP3", bytes("ID3", [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "it is no WAV file"],
  ["an AVI", bytes("RIFF", 100, "AVI ", 0, 0), "it is no WAV file"],
  ["RF64", bytes("RF64", -1, "WAVE", 0, 0), "it is RF64"],
  ["big-endian", bytes("RIFX", 0, "WAVE", 0, 0), "it is RIFX"],
  ["no chunks", wave(), "it ends after 12 bytes, before its samples"],
  ["no samples", wave([...FMT]), "it ends after 36 bytes, before its samples"],
  ["half a chunk's head", wave([...FMT], "dat"), "before its samples"],
  ["a chunk that leads out", wave("LIST", 1000, [...FMT], "data", 0), "before its samples"],
  ["samples before the format", wave("data", 1, [1, 0], [...FMT]), "come before their format"],
  ["too few samples", wave([...FMT], "data", 4, [1, 2, 3]), "counts 4 bytes of samples, it has 3"],
  ["a short format", wave(fmt(1, 0, 1, 0), "data", 0), "its format has 4 bytes, expected 16"],
  ["no channels", wave(fmt(1, 0, 0, 0, 64, 31, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0)), "impossible"],
  ["no rate", wave(fmt(1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0)), "impossible"],
  ["half bytes", wave(fmt(1, 0, 2, 0, 64, 31, 0, 0, 0, 0, 0, 0, 3, 0, 12, 0)), "impossible"],
  ["16-bit float", wave(fmt(3, 0, 1, 0, 64, 31, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0)), "impossible"],
  ["MP3 inside", wave(fmt(0x55, 0, 1, 0, 64, 31, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)), "is MP3"],
  ["a tag unheard of", wave(fmt(9, 9, 1, 0, 64, 31, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)), "0x0909"],
  [
    "an extensible format cut short",
    wave(fmt(0xfe, 0xff, 1, 0, 64, 31, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0), "data", 0),
    "none of the standard ones",
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

Deno.test("WavReader.open() refuses what is cut anywhere, and never reads past a cut", () => {
  withFile((path) => {
    const whole = Deno.readFileSync("/usr/share/sounds/alsa/Noise.wav");
    for (let length = 0; length < 200; length++) {
      Deno.writeFileSync(path, whole.subarray(0, length));
      assertThrows(() => WavReader.open(path), WavError);
    }
  });
});

Deno.test("WavReader.open() refuses what is absent, a folder or a pipe", () => {
  withFile((path) => {
    assertThrows(() => WavReader.open(path), WavError, "no such file or directory");
    assertThrows(() => WavReader.open("/tmp"), WavError, "it is no regular file");
    new Deno.Command("mkfifo", { args: [path] }).outputSync();
    assertThrows(() => WavReader.open(path), WavError, "it is no regular file");
    assertThrows(() => WavWriter.create(path, S16), WavError, "it is no regular file");
    assertThrows(() => WavWriter.append(path, S16), WavError, "it is no regular file");
  });
});

Deno.test("WavReader.read() says when the file got shorter", () => {
  withFile((path) => {
    Deno.writeFileSync(path, wave([...FMT], "data", 4, [1, 2, 3, 4]));
    using reader = WavReader.open(path);
    Deno.truncateSync(path, 46);
    assertThrows(() => reader.read(new Uint8Array(4)), WavError, "got shorter");
  });
});

Deno.test("WavWriter.create() writes these bytes", () => {
  withFile((path) => {
    const writer = WavWriter.create(path, U8);
    writer.write(Uint8Array.of(1, 2, 3));
    writer.commit();
    writer.close();
    writer.close();
    assertEquals(
      Deno.readFileSync(path),
      bytes("RIFF", 40, "WAVE", [...FMT], "data", 3, [1, 2, 3, 0]),
    );
  });
});

Deno.test("WavWriter: the file is whole after every step, and counts what was committed", () => {
  withFile((path) => {
    const samples = crypto.getRandomValues(new Uint8Array(999));
    for (const encoding of ["pcm", "alaw"] as const) {
      const writer = WavWriter.create(path, { ...U8, encoding });
      for (let i = 0; i < 999; i += 111) {
        assertEquals(readAll(path).samples, samples.subarray(0, i));
        writer.write(samples.subarray(i, i + 50));
        assertEquals(readAll(path).samples, samples.subarray(0, i));
        writer.write(samples.subarray(i + 50, i + 111));
        assertEquals(readAll(path).samples, samples.subarray(0, i));
        writer.commit();
        assertEquals(writer.bytes, i + 111);
      }
      writer.write(samples.subarray(0, 5));
      writer.close();
      assertEquals(readAll(path).samples, samples);
      assertEquals(sox(path, "-t", "raw", "-"), samples);
    }
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

Deno.test("WavWriter.append() goes on at what the header counts, whatever lies beyond", () => {
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

Deno.test("WavWriter.append() goes on in a file of sox's, its fact chunk and all", () => {
  withFile((path) => {
    for (const { args, encoding, bits } of SOX_ENCODINGS) {
      sox(...["-n", "-r", "8000", "-c", "1"], ...args, path, "synth", "11s", "pluck");
      const before = readAll(path).samples;
      const more = new Uint8Array(3 * bits / 8).fill(0x55);
      using writer = WavWriter.append(path, { encoding, bits, channels: 1, rate: 8000 });
      writer.write(more);
      writer.commit();
      assertEquals(readAll(path).samples, Uint8Array.of(...before, ...more));
      assertEquals(sox(path, "-t", "raw", "-").length, before.length + more.length);
    }
  });
});

const UNAPPENDABLE: [name: string, file: Uint8Array, why: string][] = [
  ["no WAV file", bytes("hello, world"), "it is no WAV file"],
  ["a file cut short", wave([...FMT], "data", 4, [1]), "it is cut short"],
  [
    "another rate",
    wave(fmt(1, 0, 1, 0, 68, 172, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0), "data", 0),
    "44100",
  ],
  [
    "a chunk behind the samples",
    bytes("RIFF", 48, "WAVE", [...FMT], "data", 2, [7, 8], "LIST", 0),
    "samples to its end",
  ],
  ["sizes of a pipe", bytes("RIFF", -1, "WAVE", [...FMT], "data", -1, [7]), "samples to its end"],
];
for (const [name, file, why] of UNAPPENDABLE) {
  Deno.test(`WavWriter.append() refuses ${name} and leaves it as it is`, () => {
    withFile((path) => {
      Deno.writeFileSync(path, file);
      const error = assertThrows(() => WavWriter.append(path, U8), WavError, why);
      assert(error.message.startsWith(`Cannot go on in ${path}: `), error.message);
      assertEquals(Deno.readFileSync(path), file);
    });
  });
}

Deno.test("WavWriter refuses what cannot be written, and what would be longer than 4 GiB", () => {
  assertThrows(() => WavWriter.create("/nonexistent/a.wav", U8), WavError, "no such file");
  withFile((path) => {
    using writer = WavWriter.create(path, U8);
    // Only its length counts: a view of that many bytes costs no memory until it is touched.
    assertThrows(() => writer.write({ length: 2 ** 32 } as Uint8Array), WavError, "at most 4 GiB");
  });
});

Deno.test("WavWriter on a full disk throws, and the header stays true", () => {
  withFile((path) => {
    const limited = `ulimit -f 8; trap '' XFSZ; exec "$0" "$@"`;
    const script = `
      import { WavWriter } from ${JSON.stringify(new URL("../lib/wav.ts", import.meta.url).href)};
      const writer = WavWriter.create(${JSON.stringify(path)}, ${JSON.stringify(U8)});
      let written = 0;
      try {
        while (true) {
          writer.write(new Uint8Array(1000).fill(7));
          writer.commit();
          written += 1000;
        }
      } catch (error) {
        console.log(error.name, written, writer.bytes);
      }
      writer.close();
    `;
    const { stdout } = new Deno.Command("bash", {
      args: ["-c", limited, Deno.execPath(), "eval", "--no-check", script],
    }).outputSync();
    const [name, written, bytes] = new TextDecoder().decode(stdout).trim().split(" ");
    assertEquals(name, "WavError");
    assertEquals(written, bytes);
    assert(Number(written) > 0);
    assertEquals(readAll(path).samples, new Uint8Array(Number(written)).fill(7));
  });
});

Deno.test("WavWriter killed at any instant leaves a valid file, and append() goes on in it", async () => {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/test.wav`;
  // Pieces of an odd size, so that the pad byte comes and goes; each is all of one byte, and counts up.
  const script = `
    import { WavWriter } from ${JSON.stringify(new URL("../lib/wav.ts", import.meta.url).href)};
    const writer = WavWriter.append(${JSON.stringify(path)}, ${JSON.stringify(U8)});
    console.log("go");
    for (let i = writer.bytes / 40001;; i++) {
      writer.write(new Uint8Array(20000).fill(i));
      writer.write(new Uint8Array(20001).fill(i));
      writer.commit();
    }
  `;
  try {
    let before = 0;
    for (let life = 0; life < 10; life++) {
      const args = ["eval", "--no-check", script];
      const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
      const reader = child.stdout.getReader();
      await reader.read();
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
      const { samples } = readAll(path, 40001);
      assertEquals(samples.length % 40001, 0);
      const pieces = samples.length / 40001;
      for (let i = before; i < pieces; i++) {
        const piece = samples.subarray(i * 40001, (i + 1) * 40001);
        assert(piece.every((byte) => byte === i % 256), `piece ${i} is torn`);
      }
      assert(pieces >= before);
      before = pieces;
    }
    assert(before > 0);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});
