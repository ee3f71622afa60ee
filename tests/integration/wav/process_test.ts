// SPDX-License-Identifier: Apache-2.0
// WAV files beside other programs, and in processes that are limited or killed.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { WavError, WavReader, WavWriter } from "../../../lib/wav/mod.ts";
import { Draws, seeded } from "../../support/random.ts";
import { readAll, S16, U8, withFile } from "../../wav/files.ts";
import { sox } from "./sox.ts";

Deno.test("WavReader.open() refuses what is absent, a folder or a pipe", () => {
  withFile((path) => {
    assertThrows(() => WavReader.open(path), WavError, "no such file or directory");
    assertThrows(() => WavReader.open("/tmp"), WavError, "it is a folder, expected a file");
    Deno.symlinkSync("/tmp/viola-none.wav", `${path}.link`);
    const dangling = "it is a link to /tmp/viola-none.wav: no such file or directory";
    assertThrows(() => WavReader.open(`${path}.link`), WavError, dangling);
    new Deno.Command("mkfifo", { args: [path] }).outputSync();
    assertThrows(() => WavReader.open(path), WavError, "it is not a regular file");
    assertThrows(() => WavWriter.create(path, S16), WavError, "it is not a regular file");
    assertThrows(() => WavWriter.append(path, S16), WavError, "it is not a regular file");
  });
});

Deno.test("WavWriter: after every step the file is valid and its header counts the committed samples", () => {
  withFile((path) => {
    const samples = new Draws(1).bytes(999);
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

Deno.test("WavWriter throws on a full disk, and the header stays correct", () => {
  withFile((path) => {
    const limited = `ulimit -f 8; trap '' XFSZ; exec "$0" "$@"`;
    const script = `
      import { WavWriter } from ${
      JSON.stringify(new URL("../../../lib/wav/mod.ts", import.meta.url).href)
    };
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

Deno.test("WavWriter killed at any instant leaves a valid file that append() continues", async () => {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/test.wav`;
  const draws = seeded();
  // Pieces of an odd size, so that the pad byte comes and goes; each is all of one byte, and counts up.
  const script = `
    import { WavWriter } from ${
    JSON.stringify(new URL("../../../lib/wav/mod.ts", import.meta.url).href)
  };
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
      await new Promise((resolve) => setTimeout(resolve, draws.number(10)));
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
