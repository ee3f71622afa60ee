// SPDX-License-Identifier: Apache-2.0
// A card's files that change, or become each other's, while it runs.
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { type WavFormat, WavWriter } from "../../../lib/wav/mod.ts";
import { fmtOf, readAll, wave } from "../../wav/files.ts";
import { Card, noise, PARAMS } from "./card.ts";

const { S_OK, S_IO_ERR } = snd;
const PERIOD = PARAMS.periodBytes;

function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a source whose file is another one by now: START fails and says why, until it is as before", () => {
  withFolder((folder) => {
    const path = `${folder}/in.wav`;
    const write = (format: WavFormat) => {
      using writer = WavWriter.create(path, format);
      writer.write(new Uint8Array(4800).fill(7));
      writer.commit();
    };
    const format: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
    write(format);
    using card = new Card({ sinks: [], sources: [`wav:${path}`], pace: "free" });
    const others: [WavFormat | null, RegExp][] = [
      [{ ...format, bits: 32 }, /it holds 32-bit pcm, .*, expected 16-bit pcm, .* as before$/],
      [{ ...format, encoding: "float", bits: 32 }, /it holds 32-bit float/],
      [{ ...format, channels: 1 }, /it holds .*, 1 channel, .* expected .*, 2 channels/],
      [{ ...format, rate: 44100 }, /44100 Hz, expected .* 48000 Hz/],
      [{ ...format, bits: 24, container: 32 }, /24-bit pcm in 32 bits/],
      [null, /no such file/],
    ];
    for (const [other, why] of others) {
      if (other === null) Deno.removeSync(path);
      else write(other);
      card.prepare();
      assertEquals(card.control(snd.R_PCM_START, 0), S_IO_ERR);
      assertMatch(card.reported("error").at(-1)!.text, why);
      card.control(snd.R_PCM_RELEASE, 0);
    }
    write(format);
    card.prepare();
    assertEquals(card.control(snd.R_PCM_START, 0), S_OK);
    card.capture(400);
    assertEquals(card.done()[0]!.samples, new Uint8Array(400).fill(7));
    assertEquals(card.reported("error").length, others.length);
  });
});

Deno.test("remarks on a source's file are reported when the device starts and when the stream starts", () => {
  withFolder((folder) => {
    const path = `${folder}/in.wav`;
    const odd = wave(fmtOf(1, 2, 2, 16), "data", 0, [1, 2, 3, 4]);
    const cases: [Uint8Array, number][] = [[odd, 2], [wave(fmtOf(1, 2, 4, 16), "data", 0), 1]];
    for (const [file, count] of cases) {
      Deno.writeFileSync(path, file);
      using card = new Card({ sinks: [], sources: ["silence", `wav:${path}`] });
      const said = card.reported("notice");
      assertEquals(said.map(({ stream }) => stream), new Array(count).fill(1));
      assert(said.every(({ text }) => text.startsWith(`${path}: it`)), said[0]!.text);
      card.prepare({ streamId: 1, rate: 1 });
      assertEquals(card.control(snd.R_PCM_START, 1), S_OK);
      assertEquals(card.reported("notice"), [...said, ...said]);
      if (count > 1) continue;
      assertEquals(said[0]!.text, `${path}: it has no samples: silence is captured`);
    }
  });
});

Deno.test("a file that has become another stream's is not written to, nor read while it is written", () => {
  withFolder((folder) => {
    const [a, b, c] = [`${folder}/a.wav`, `${folder}/b.wav`, `${folder}/c.wav`] as const;
    const format: WavFormat = { encoding: "pcm", bits: 16, channels: 2, rate: 48000 };
    WavWriter.create(c, format).close();
    using card = new Card({
      sinks: [`wav:${a}`, `wav:${b},append`],
      sources: [`wav:${c}`],
      pace: "free",
    });
    const start = (streamId: number) => {
      card.prepare({ streamId });
      return card.control(snd.R_PCM_START, streamId);
    };
    assertEquals(start(0), S_OK);
    card.play(noise(PERIOD));
    Deno.symlinkSync(a, b);
    Deno.removeSync(c);
    Deno.linkSync(a, c);
    assertEquals([start(1), start(2)], [S_IO_ERR, S_IO_ERR]);
    assertEquals(card.reported("error").map(({ text }) => text), [
      `Cannot play two streams to one file, ${b}, which is the same file as ${a}`,
      `Cannot play to ${a} and capture from it at the same time, which is the same file as ${c}`,
    ]);
    assertEquals(readAll(a).samples.length, PERIOD);
    for (const request of [snd.R_PCM_STOP, snd.R_PCM_RELEASE]) card.control(request, 0);
    assertEquals(card.control(snd.R_PCM_START, 2), S_OK);
    assertEquals(card.control(snd.R_PCM_START, 1), S_IO_ERR);
  });
});
