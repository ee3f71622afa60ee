// SPDX-License-Identifier: Apache-2.0
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { packedFormat, packSamples, WavReader } from "../../../lib/wav/mod.ts";
import { Card, noise } from "./card.ts";
import { ids, PERIOD, S_IO_ERR, S_OK, samplesOf, statuses, withFolder } from "./device_fixture.ts";

// ---- playback ----

Deno.test("playback: each buffer is in the file when it is returned, at the end of its time", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    card.prepare();
    const sound = noise(10 * PERIOD);
    for (let i = 0; i < 4; i++) card.play(sound.subarray(i * PERIOD, (i + 1) * PERIOD));
    card.clock.pass(100);
    assertEquals(card.done(), []);
    assertThrows(() => Deno.statSync(path), Deno.errors.NotFound);
    assertEquals(card.control(snd.R_PCM_START, 0), S_OK);
    assertEquals(samplesOf(path).length, 0);
    for (let i = 0; i < 10; i++) {
      card.clock.pass(9.999);
      assertEquals(card.done(), []);
      assertEquals(samplesOf(path).length, i * PERIOD);
      card.clock.pass(0.001);
      const [done] = card.done();
      assertEquals([done!.id, done!.status, done!.latency, done!.length], [i + 1, S_OK, 0, 8]);
      assertEquals(samplesOf(path), sound.subarray(0, (i + 1) * PERIOD));
      if (i < 6) card.play(sound.subarray((i + 4) * PERIOD, (i + 5) * PERIOD));
    }
    assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
    assertEquals(card.control(snd.R_PCM_RELEASE, 0), S_OK);
    assertEquals(samplesOf(path), sound);
    assertEquals(card.reported("xrun"), []);
  });
});

Deno.test("playback keeps time for an hour at 44.1 kHz with periods that divide nothing", () => {
  using card = new Card({ sinks: ["null"] });
  const frames = 441 * 7 + 1;
  const bytes = frames * 4;
  card.prepare({ rate: 6, periodBytes: bytes, bufferBytes: 2 * bytes });
  const samples = new Uint8Array(bytes);
  card.play(samples);
  card.play(samples);
  assertEquals(card.control(snd.R_PCM_START, 0), S_OK);
  const start = card.clock.time;
  let count = 0;
  // The device is woken late each time, by up to half a period.
  for (let i = 0; card.clock.time - start < 3600e9; i++) {
    card.clock.time = card.clock.alarm;
    card.clock.sleep((i * 7919 % 1000) / 1000 * 35);
    for (const _ of card.done()) {
      count++;
      card.play(samples);
    }
  }
  const seconds = (card.clock.time - start) / 1e9;
  assertAlmostEquals(count * frames / 44100, seconds, 2 * frames / 44100);
  assertEquals(card.reported("xrun"), []);
});

Deno.test("a last buffer shorter than a period ends the stream when it is over", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    card.prepare();
    const sound = noise(PERIOD + 4 * 48);
    card.play(sound.subarray(0, PERIOD));
    card.play(sound.subarray(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(10);
    assertEquals(ids(card.done()), [1]);
    card.clock.pass(0.9);
    assertEquals(card.done(), []);
    card.clock.pass(0.1);
    assertEquals(ids(card.done()), [2]);
    // Drained: the driver takes half a period to say so.
    card.clock.pass(5);
    assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
    card.clock.pass(1000);
    assertEquals(card.reported("xrun"), []);
    assertEquals(samplesOf(path), sound);
  });
});

Deno.test("RELEASE gives back what was not played, in the rings before it is answered itself", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    card.prepare();
    const sound = noise(3 * PERIOD);
    for (let i = 0; i < 3; i++) card.play(sound.subarray(i * PERIOD, (i + 1) * PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(15);
    assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
    assertEquals(ids(card.done()), [1]);
    // Offered and not announced: the device must look for itself.
    card.wiring.rings[snd.VQ_TX]!.onKick = () => {};
    card.play(sound);
    assertEquals(card.control(snd.R_PCM_RELEASE, 0), S_OK);
    assertEquals(ids(card.done()).sort(), [2, 3, 4]);
    assertEquals(samplesOf(path), sound.subarray(0, PERIOD));
  });
});

Deno.test("a pause stops the clock where it is", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  for (let i = 0; i < 3; i++) card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(14);
  assertEquals(ids(card.done()), [1]);
  card.control(snd.R_PCM_STOP, 0);
  card.clock.pass(1000);
  assertEquals(card.done(), []);
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(5.9);
  assertEquals(card.done(), []);
  card.clock.pass(0.2);
  assertEquals(ids(card.done()), [2]);
  card.clock.pass(10);
  assertEquals(ids(card.done()), [3]);
  assertEquals(card.reported("xrun"), []);
});

Deno.test("an xrun is a buffer that arrives late: counted once, reported to the driver, and time starts anew", () => {
  using card = new Card({ sinks: ["null"] });
  card.offerEvents(2);
  card.prepare();
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(10);
  assertEquals(ids(card.done()), [1]);
  card.clock.pass(3);
  assertEquals(card.takeEvents(), []);
  card.play(noise(PERIOD));
  assertEquals(card.takeEvents(), [[snd.EVT_PCM_XRUN, 0]]);
  assertEquals(card.wiring.rings[snd.VQ_EVENT]!.calls > 0, true);
  card.clock.pass(9.9);
  assertEquals(card.done(), []);
  card.clock.pass(0.1);
  assertEquals(ids(card.done()), [2]);
  // Dry for a whole period: counted then, and not again when data comes.
  card.clock.pass(9.9);
  assertEquals(card.reported("xrun").length, 1);
  card.clock.pass(0.2);
  assertEquals(card.reported("xrun").map(({ count }) => count), [1, 2]);
  card.clock.pass(500);
  card.play(noise(PERIOD));
  assertEquals(card.reported("xrun").length, 2);
  assertEquals(card.takeEvents(), [[snd.EVT_PCM_XRUN, 0]]);
  // A buffer in time is none; and events without a buffer to carry them are lost, not kept.
  card.play(noise(PERIOD));
  card.clock.pass(20);
  assertEquals(ids(card.done()), [3, 4]);
  card.clock.pass(20);
  assertEquals(card.reported("xrun").length, 3);
  card.offerEvents(1);
  assertEquals(card.takeEvents(), []);
  // PREPARE begins to count anew.
  card.control(snd.R_PCM_STOP, 0);
  card.control(snd.R_PCM_RELEASE, 0);
  card.control(snd.R_PCM_PREPARE, 0);
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(30);
  assertEquals(card.reported("xrun").at(-1)!.count, 1);
});

Deno.test("xruns are reported to a driver only if it asked for them", () => {
  using card = new Card({ sinks: ["null"] });
  card.offerEvents(1);
  card.prepare({ features: 0 });
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(30);
  assertEquals(card.reported("xrun").length, 1);
  assertEquals(card.takeEvents(), []);
});

Deno.test("START before the first buffer is no xrun", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(100);
  card.play(noise(PERIOD));
  card.clock.pass(10);
  assertEquals(ids(card.done()), [1]);
  assertEquals(card.reported("xrun"), []);
});

Deno.test("after a pause of its process a device plays all queued buffers without an xrun", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  for (let i = 0; i < 4; i++) card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.sleep(35);
  assertEquals(ids(card.done()), [1, 2, 3]);
  card.play(noise(PERIOD));
  card.clock.pass(5);
  assertEquals(ids(card.done()), [4]);
  card.clock.pass(10);
  assertEquals(ids(card.done()), [5]);
  assertEquals(card.reported("xrun"), []);
});

Deno.test("--pace free: buffers are played at once after START, without xruns", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`], pace: "free" });
    card.prepare();
    const sound = noise(100 * PERIOD);
    card.play(sound.subarray(0, PERIOD));
    assertEquals(card.done(), []);
    card.control(snd.R_PCM_START, 0);
    assertEquals(ids(card.done()), [1]);
    for (let i = 1; i < 100; i++) {
      card.play(sound.subarray(i * PERIOD, (i + 1) * PERIOD));
      assertEquals(ids(card.done()), [i + 1]);
    }
    card.clock.pass(1000);
    assertEquals(card.reported("xrun"), []);
    assertEquals(card.clock.alarm, Infinity);
    assertEquals(samplesOf(path), sound);
  });
});

Deno.test("several streams at different rates keep their own time, and return buffers out of order", () => {
  withFolder((folder) => {
    const paths = [0, 1, 2].map((i) => `${folder}/${i}.wav`);
    using card = new Card({ sinks: paths.map((path) => `wav:${path}`) });
    const rates = [7, 6, 1];
    const sounds = rates.map(() => noise(6 * PERIOD));
    rates.forEach((rate, streamId) => {
      card.prepare({ streamId, rate, bufferBytes: 6 * PERIOD });
      for (let i = 0; i < 6; i++) {
        card.play(sounds[streamId]!.subarray(i * PERIOD, (i + 1) * PERIOD), streamId);
      }
    });
    rates.forEach((_, streamId) => card.control(snd.R_PCM_START, streamId));
    card.clock.pass(62);
    // At 48 kHz a period takes 10 ms, at 44.1 kHz 10.9 ms, at 8 kHz 60 ms.
    const done = ids(card.done());
    assertEquals(done.length, 6 + 5 + 1);
    for (const [first, count] of [[1, 6], [7, 5], [13, 1]] as const) {
      const own = done.filter((id) => id >= first && id < first + 6);
      assertEquals(own, Array.from({ length: count }, (_, i) => first + i));
    }
    // One is released; the others are not disturbed.
    card.control(snd.R_PCM_STOP, 1);
    card.control(snd.R_PCM_RELEASE, 1);
    assertEquals(ids(card.done()), [12]);
    card.clock.pass(300);
    assertEquals(ids(card.done()), [14, 15, 16, 17, 18]);
    paths.forEach((path, i) =>
      assertEquals(samplesOf(path), sounds[i]!.subarray(0, i === 1 ? 5 * PERIOD : undefined))
    );
  });
});

Deno.test("all formats a WAV file carries go in and come out as they are, but for padding", () => {
  withFolder((folder) => {
    for (const { code, bytes, wav } of snd.SAMPLE_FORMATS) {
      if (wav === null) continue;
      for (const channels of [1, 2, 8]) {
        const path = `${folder}/${code}-${channels}.wav`;
        using card = new Card({ sinks: [`wav:${path}`], pace: "free" });
        const periodBytes = 333 * bytes * channels;
        card.prepare({ format: code, channels, periodBytes, bufferBytes: 4 * periodBytes });
        card.control(snd.R_PCM_START, 0);
        const sound = noise(5 * periodBytes + bytes * channels);
        for (let at = 0; at < sound.length; at += periodBytes) {
          card.play(sound.subarray(at, at + periodBytes));
        }
        assertEquals(statuses(card.done()), new Array(6).fill(S_OK));
        const format = { ...wav, channels, rate: 48000 };
        assertEquals(samplesOf(path), packSamples(format, sound.slice()));
        using reader = WavReader.open(path);
        assertEquals(reader.format, packedFormat(format));
      }
    }
  });
});

Deno.test("a buffer of one megabyte is played completely", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`], pace: "free" });
    const sound = noise(2 ** 20);
    card.prepare({ bufferBytes: 2 ** 21, periodBytes: 2 ** 20 });
    card.control(snd.R_PCM_START, 0);
    card.play(sound);
    assertEquals(samplesOf(path), sound);
  });
});

Deno.test("wav: overwrites the file with each playback, when it starts; append appends", () => {
  withFolder((folder) => {
    for (const append of [false, true]) {
      const path = `${folder}/${append}.wav`;
      using card = new Card({ sinks: [`wav:${path}${append ? ",append" : ""}`], pace: "free" });
      const sound = noise(3 * PERIOD);
      for (let life = 0; life < 3; life++) {
        card.prepare();
        card.play(sound.subarray(life * PERIOD, (life + 1) * PERIOD));
        card.control(snd.R_PCM_START, 0);
        card.control(snd.R_PCM_STOP, 0);
        card.control(snd.R_PCM_RELEASE, 0);
        const from = append ? 0 : life * PERIOD;
        assertEquals(samplesOf(path), sound.subarray(from, (life + 1) * PERIOD));
      }
      // A program that only looks at the card leaves the recording alone.
      const before = samplesOf(path);
      card.prepare();
      card.control(snd.R_PCM_RELEASE, 0);
      assertEquals(samplesOf(path), before);
    }
  });
});

Deno.test("a sink that cannot be opened: START gets IO_ERR, says why, and can be tried again", () => {
  withFolder((folder) => {
    const path = `${folder}/missing/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    card.prepare();
    card.play(noise(PERIOD));
    assertEquals(card.control(snd.R_PCM_START, 0), S_IO_ERR);
    assert(card.reported("error")[0]!.text.includes(`Cannot write ${path}: no such file`));
    Deno.mkdirSync(`${folder}/missing`);
    assertEquals(card.control(snd.R_PCM_START, 0), S_OK);
    card.clock.pass(10);
    assertEquals(statuses(card.done()), [S_OK]);
  });
});

Deno.test("append to a file of another format: START gets IO_ERR, and the file stays", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    Deno.copyFileSync("/usr/share/sounds/alsa/Noise.wav", path);
    using card = new Card({ sinks: [`wav:${path},append`] });
    card.prepare();
    assertEquals(card.control(snd.R_PCM_START, 0), S_IO_ERR);
    assert(card.reported("error")[0]!.text.includes("expected 16-bit pcm, 2 channels, 48000 Hz"));
    assertEquals(samplesOf(path), samplesOf("/usr/share/sounds/alsa/Noise.wav"));
  });
});

Deno.test("latencyMs is reported with each buffer", () => {
  using card = new Card({ sinks: ["null"], latencyMs: 25 });
  card.prepare();
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(10);
  assertEquals(card.done()[0]!.latency, 25 * 48 * 4);
});

Deno.test("positions are reported at most ten times a second, and the state with its frames", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  for (let i = 0; i < 4; i++) card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  for (let i = 0; i < 200; i++) {
    card.clock.pass(10);
    for (const _ of card.done()) card.play(noise(PERIOD));
  }
  card.control(snd.R_PCM_STOP, 0);
  const positions = card.reported("position");
  assert(positions.length >= 19 && positions.length <= 21, `${positions.length}`);
  assertEquals(positions.at(-1)!.frames % 480, 0);
  assertEquals(positions.at(-1)!.seconds, positions.at(-1)!.frames / 48000);
  assertEquals(card.reported("state").at(-1), {
    kind: "state",
    text: "Stream 0 is stopped",
    stream: 0,
    state: "stopped",
    frames: 200 * 480,
  });
});
