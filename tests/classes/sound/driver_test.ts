// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { GuestError } from "../../../lib/guest/error.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { WavError, type WavFormat } from "../../../lib/wav/mod.ts";
import type { Script } from "../../guest/fake_device.ts";
import { soundBench, withFolder } from "../../guest/harness.ts";
import { writeNumbered } from "../../guest/numbered.ts";
import { RINGS, S16 } from "./driver_fixture.ts";

Deno.test("a probe reads the card's streams, jacks and channel maps", () => {
  const { session } = soundBench();
  const found = session.probe(0);
  assertEquals(found.deviceId, 25);
  assertEquals(found.features, "VIRTIO_F_VERSION_1");
  assertEquals(session.info.jacks.map(({ connected }) => connected), [true]);
  assertEquals(session.info.streams.map(({ direction }) => direction), [0, 1]);
  assertEquals(session.info.chmaps.map(({ positions }) => positions), [[3, 4], [3, 4]]);
});

Deno.test("the file is played unchanged with every kind of ring and register version", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const frames = 10 * 960 + 123;
    const bytes = writeNumbered(file, S16, frames);
    for (const rings of RINGS) {
      const { port, session, progress } = soundBench(rings);
      session.probe(0);
      const result = session.play({ file, periodFrames: 960, periods: 4 });
      assertEquals(port.device.sound.playedBytes, bytes, JSON.stringify(rings));
      assertEquals(result.frames, frames);
      assertEquals(result.periods, 11);
      assertEquals([result.xruns, result.ioErrors, result.stopped], [0, 0, false]);
      assertEquals(progress.state, "released");
      assertEquals(progress.snapshot().latencyBytes, 480);
      assertEquals(port.device.sound.controls.slice(-5), [
        ...["PCM_SET_PARAMS", "PCM_PREPARE", "PCM_START", "PCM_STOP", "PCM_RELEASE"],
      ]);
      assertEquals(port.device.log.bad, []);
      assertEquals(port.device.log.ringErrors, []);
    }
  });
});

Deno.test("only the last message is shorter than a period, and it holds no padding", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    for (const [frames, last] of [[1000, 40], [960, 480], [481, 1], [7, 7], [480, 480]] as const) {
      writeNumbered(file, S16, frames);
      const { port, session } = soundBench();
      session.probe(0);
      session.play({ file, periodFrames: 480, periods: 2 });
      const lengths = port.device.sound.messages.map(({ bytes }) => bytes / 4);
      assertEquals(lengths.at(-1), last);
      assert(lengths.slice(0, -1).every((length) => length === 480));
    }
  });
});

Deno.test("a file without sound is prepared and released, and never started", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 0);
    const { port, session } = soundBench();
    session.probe(0);
    assertEquals(session.play({ file }).frames, 0);
    assertEquals(port.device.sound.controls.slice(-3), [
      "PCM_SET_PARAMS",
      "PCM_PREPARE",
      "PCM_RELEASE",
    ]);
  });
});

Deno.test("a message is header, data page by page, status", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    writeNumbered(file, S16, 4800);
    const { port, session } = soundBench({ indirect: true });
    session.probe(0);
    // 12,000 bytes: over three pages or four, as the second period begins within one.
    session.play({ file, periodFrames: 3000, periods: 2 });
    assertEquals(port.device.sound.messages, [
      { stream: 0, bytes: 12000, segments: 2 + 3 },
      { stream: 0, bytes: 7200, segments: 2 + 3 },
    ]);
    const [params] = port.device.sound.params;
    assertEquals(params, {
      streamId: 0,
      bufferBytes: 24000,
      periodBytes: 12000,
      features: 1 << snd.PCM_F_EVT_XRUNS,
      channels: 2,
      format: 5,
      rate: 7,
    });
  });
});

Deno.test("every format that a WAV file can carry is played as it is", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    for (const { wav } of snd.SAMPLE_FORMATS) {
      if (wav === null) continue;
      for (const [channels, rate] of [[1, 8000], [3, 44100], [8, 192000]] as const) {
        const format: WavFormat = { ...wav, channels, rate };
        const bytes = writeNumbered(file, format, 777);
        const { port, session } = soundBench({ indirect: true });
        session.probe(0);
        session.play({ file, periodFrames: 100, periods: 3 });
        assertEquals(port.device.sound.playedBytes, bytes);
        assertEquals(port.device.sound.params[0]!.channels, channels);
        assertEquals(snd.FRAME_RATES[port.device.sound.params[0]!.rate], rate);
      }
    }
  });
});

Deno.test("a card plays one file after another, with other parameters", async () => {
  await withFolder((folder) => {
    const { port, session } = soundBench();
    session.probe(0);
    for (let i = 1; i <= 5; i++) {
      const file = `${folder}/${i}.wav`;
      const bytes = writeNumbered(file, { ...S16, channels: i }, 500 * i);
      port.device.sound.played.length = 0;
      session.play({ file, periodFrames: 64 * i, periods: 1 + i });
      assertEquals(port.device.sound.playedBytes, bytes);
    }
    assertEquals(port.device.log.bad, []);
  });
});

Deno.test("a file that the card cannot play is refused before any request is sent", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const cases: [WavFormat, object, Script["pcmInfo"], string][] = [
      [S16, {}, { formats: 1n << 4n | 1n << 17n }, "its format is S16, expected one of U8, S32"],
      [S16, {}, { rates: 1n << 6n }, "its rate is 48000 Hz, expected one of 44100"],
      [S16, {}, { channelsMax: 1 }, "it has 2 channels, expected 1 to 1"],
      [{ ...S16, rate: 47999 }, {}, {}, "no sound card has 16-bit pcm, 2 channels, 47999 Hz"],
      [S16, { periods: 1 }, {}, "it has 1 periods, expected 2 to 16"],
      [S16, { periods: 17 }, {}, "it has 17 periods, expected 2 to 16"],
      [S16, { periodFrames: 0 }, {}, "its period is 0 frames, expected at least 1"],
      [S16, { periodFrames: 1.5 }, {}, "its period is 1.5 frames, expected at least 1"],
    ];
    for (const [format, buffer, pcmInfo, text] of cases) {
      writeNumbered(file, format, 10);
      const { port, session } = soundBench({ script: { pcmInfo: pcmInfo! } });
      session.probe(0);
      const error = assertThrows(() => session.play({ file, ...buffer }), GuestError, text);
      assertEquals(error.code, "EINVAL");
      assertEquals(port.device.sound.params, []);
    }
  });
});

Deno.test("a file that is not WAV is refused by name", () => {
  const { session } = soundBench();
  session.probe(0);
  assertThrows(() => session.play({ file: "/dev/null/x.wav" }), WavError, "/dev/null/x.wav");
});

Deno.test("a period that the queue has no room for is refused, and the card stays usable", async () => {
  await withFolder((folder) => {
    const file = `${folder}/in.wav`;
    const bytes = writeNumbered(file, S16, 48000);
    const { port, session } = soundBench({ queueSize: 16 });
    session.probe(0);
    const error = assertThrows(
      () => session.play({ file, periodFrames: 4096, periods: 8 }),
      GuestError,
      "a message takes 6 descriptors, 4 of 16 are free (ENOSPC)",
    );
    assertEquals(error.code, "ENOSPC");
    port.device.sound.played.length = 0;
    session.play({ file, periodFrames: 4096, periods: 2 });
    assertEquals(port.device.sound.playedBytes, bytes);
  });
});
