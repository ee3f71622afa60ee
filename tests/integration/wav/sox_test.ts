// SPDX-License-Identifier: Apache-2.0
// What sox and Debian's recordings say about what we read and write.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { frameBytes, WavError, WavReader, WavWriter } from "../../../lib/wav/mod.ts";
import { readAll, withFile } from "../../wav/files.ts";
import { sox } from "./sox.ts";

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

Deno.test("WavReader reads what sox writes to a pipe, with placeholder sizes in the header", () => {
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
Deno.test("WavWriter.append() appends to a file of sox with a fact chunk", () => {
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
