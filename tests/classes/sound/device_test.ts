// SPDX-License-Identifier: Apache-2.0
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { packedFormat, packSamples, WavReader } from "../../../lib/wav/mod.ts";
import { Card, noise, PARAMS } from "./card.ts";

const { S_OK, S_BAD_MSG, S_NOT_SUPP, S_IO_ERR } = snd;
const PERIOD = PARAMS.periodBytes;

function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

function samplesOf(path: string): Uint8Array {
  using reader = WavReader.open(path);
  const samples = new Uint8Array(reader.frames * reader.format.channels * reader.format.bits / 8);
  assertEquals(reader.read(samples), samples.length);
  return samples;
}

function query(code: number, startId: number, count: number, size: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(snd.QUERY_INFO_SIZE));
  snd.encodeQueryInfo(view, 0, { code, startId, count, size });
  return new Uint8Array(view.buffer);
}

const statusOf = (answer: Uint8Array): number => new DataView(answer.buffer).getUint32(0, true);
const ids = (done: { id: number }[]): number[] => done.map(({ id }) => id);
const statuses = (done: { status: number }[]): number[] => done.map(({ status }) => status);

// ---- control ----

Deno.test("config and info: what the config space counts, the control queue describes", () => {
  using card = new Card({ sinks: ["null", "null"], sources: ["silence"] });
  const config = card.device.readConfig();
  const { jacks, streams, chmaps } = snd.decodeSoundConfig(
    new DataView(config.buffer as ArrayBuffer),
    0,
  );
  assertEquals([jacks, streams, chmaps], [3, 3, 24]);
  // Those of virtio 1.3, as some front-ends ask for them: there are no controls.
  assertEquals([...config.subarray(12)], [0, 0, 0, 0]);

  const answer = card.request(query(snd.R_PCM_INFO, 0, 3, snd.PCM_INFO_SIZE));
  assertEquals(answer.length, 4 + 3 * 32);
  assertEquals(statusOf(answer), S_OK);
  const infos = [0, 1, 2].map((i) => snd.decodePcmInfo(new DataView(answer.buffer), 4 + 32 * i));
  assertEquals(infos.map((info) => info.direction), [snd.D_OUTPUT, snd.D_OUTPUT, snd.D_INPUT]);
  assertEquals(infos.map((info) => info.hdaFnNid), [0, 1, 0]);
  assertEquals(infos.map((info) => info.features), [16, 16, 16]);
  assertEquals(infos[0]!.rates, 0x3fffn);

  const maps = card.request(query(snd.R_CHMAP_INFO, 0, 24, snd.CHMAP_INFO_SIZE));
  const map = snd.decodeChmapInfo(new DataView(maps.buffer), 4 + 24 * 5);
  assertEquals(map.positions.map((code) => snd.CHANNEL_POSITIONS[code]), [
    ..."FL FR FC LFE RL RR".split(" "),
  ]);
  const jack = card.request(query(snd.R_JACK_INFO, 2, 1, snd.JACK_INFO_SIZE));
  const info = snd.decodeJackInfo(new DataView(jack.buffer), 4);
  assertEquals(info.hdaRegDefconf >>> 20 & 0xf, 0xa);
  assertEquals(info.connected, true);
});

Deno.test("formats: a WAV sink offers what a WAV file carries, a WAV source what its file holds", () => {
  withFolder((folder) => {
    using card = new Card({
      sinks: [`wav:${folder}/out.wav`, "null"],
      sources: ["wav:/usr/share/sounds/alsa/Noise.wav"],
    });
    const answer = card.request(query(snd.R_PCM_INFO, 0, 3, 32));
    const [wav, all, file] = [0, 1, 2]
      .map((i) => snd.decodePcmInfo(new DataView(answer.buffer), 4 + 32 * i));
    const names = (formats: bigint): string[] =>
      snd.SAMPLE_FORMATS.filter(({ code }) => (formats >> BigInt(code) & 1n) === 1n)
        .map(({ name }) => name);
    assertEquals(names(wav!.formats), [
      ..."MU_LAW A_LAW U8 S16 S24_3 S24 S32 FLOAT FLOAT64".split(" "),
    ]);
    assertEquals(names(all!.formats).length, snd.SAMPLE_FORMATS.length - 1);
    assertEquals(names(file!.formats), ["S16"]);
    assertEquals([file!.rates, file!.channelsMin, file!.channelsMax], [1n << 7n, 1, 1]);
    assertEquals(card.setParams({ streamId: 2, channels: 1 }), S_OK);
    assertEquals(card.setParams({ streamId: 2, channels: 2 }), S_NOT_SUPP);
  });
});

Deno.test("info items lie as far apart as the driver says", () => {
  using card = new Card();
  const wide = card.request(query(snd.R_JACK_INFO, 0, 2, 40));
  assertEquals(wide.length, 84);
  assertEquals(snd.decodeJackInfo(new DataView(wide.buffer), 44).hdaRegDefconf >>> 20, 0xa);
  assertEquals(wide.subarray(28, 44), new Uint8Array(16));
  const narrow = card.request(query(snd.R_PCM_INFO, 0, 2, 8));
  assertEquals([...new Uint32Array(narrow.buffer)], [S_OK, 0, 16, 0, 16]);
});

const BAD_REQUESTS: [name: string, bytes: Uint8Array, room: number, status: number][] = [
  ["of one byte", Uint8Array.of(1), 64, S_BAD_MSG],
  ["of a code unheard of", Uint8Array.of(0, 3, 0, 0, 0, 0, 0, 0), 64, S_NOT_SUPP],
  ["with an event's code", Uint8Array.of(0, 0x11, 0, 0), 64, S_NOT_SUPP],
  ["cut short: query", query(snd.R_PCM_INFO, 0, 1, 32).subarray(0, 15), 64, S_BAD_MSG],
  ["cut short: START", Uint8Array.of(4, 1, 0, 0, 0, 0, 0), 64, S_BAD_MSG],
  ["cut short: SET_PARAMS", new Uint8Array([1, 1, ...new Array(21).fill(0)]), 64, S_BAD_MSG],
  ["for stream 99", Uint8Array.of(4, 1, 0, 0, 99, 0, 0, 0), 64, S_BAD_MSG],
  ["for stream −1", Uint8Array.of(4, 1, 0, 0, 255, 255, 255, 255), 64, S_BAD_MSG],
  ["for one item too many", query(snd.R_PCM_INFO, 1, 2, 32), 1024, S_BAD_MSG],
  ["for 2^32 − 1 items", query(snd.R_PCM_INFO, 0, 0xffffffff, 32), 1024, S_BAD_MSG],
  ["from item 2^32 − 1", query(snd.R_PCM_INFO, 0xffffffff, 1, 32), 1024, S_BAD_MSG],
  ["for items of 0 bytes", query(snd.R_PCM_INFO, 0, 1, 0), 1024, S_BAD_MSG],
  ["for items of 2^32 − 1 bytes", query(snd.R_PCM_INFO, 0, 1, 0xffffffff), 1024, S_BAD_MSG],
  ["without room for its items", query(snd.R_PCM_INFO, 0, 1, 32), 35, S_BAD_MSG],
  ["to remap a jack", new Uint8Array(Uint32Array.of(2, 0, 0, 0).buffer), 4, S_NOT_SUPP],
  ["to remap no jack", new Uint8Array(Uint32Array.of(2, 9, 0, 0).buffer), 4, S_BAD_MSG],
];
for (const [name, bytes, room, status] of BAD_REQUESTS) {
  Deno.test(`a control request ${name} gets ${snd.soundCodeName(status)}`, () => {
    using card = new Card();
    const answer = card.request(bytes, room);
    assertEquals([statusOf(answer), answer.length], [status, 4]);
    assertEquals(card.control(snd.R_PCM_START, 0), S_BAD_MSG);
  });
}

Deno.test("a control request without room for an answer comes back, and is reported", () => {
  using card = new Card();
  assertEquals(card.request(query(snd.R_PCM_INFO, 0, 1, 32), 3).length, 0);
  assertEquals(card.request(query(snd.R_PCM_INFO, 0, 1, 32), 0).length, 0);
  assert(card.reported("error")[0]!.text.includes("room for 3 bytes, expected 4"));
});

const BAD_PARAMS: [params: Partial<snd.PcmParams>, status: number][] = [
  [{ format: 0 }, S_NOT_SUPP],
  [{ format: 25 }, S_NOT_SUPP],
  [{ format: 255 }, S_NOT_SUPP],
  [{ rate: 14 }, S_NOT_SUPP],
  [{ rate: 255 }, S_NOT_SUPP],
  [{ channels: 0 }, S_NOT_SUPP],
  [{ channels: 9 }, S_NOT_SUPP],
  [{ features: 1 << snd.PCM_F_MSG_POLLING }, S_NOT_SUPP],
  [{ features: 0xffffffff }, S_NOT_SUPP],
  [{ bufferBytes: 2 ** 24 + 1920 }, S_NOT_SUPP],
  [{ bufferBytes: 0xffffffff }, S_NOT_SUPP],
  [{ periodBytes: 0 }, S_BAD_MSG],
  [{ periodBytes: 1919 }, S_BAD_MSG],
  [{ bufferBytes: 1900 }, S_BAD_MSG],
];
for (const [params, status] of BAD_PARAMS) {
  Deno.test(`SET_PARAMS with ${JSON.stringify(params)} gets ${snd.soundCodeName(status)}`, () => {
    using card = new Card();
    assertEquals(card.setParams(params), status);
    assertEquals(card.control(snd.R_PCM_PREPARE, 0), S_BAD_MSG);
    assertEquals(card.setParams(), S_OK);
    assertEquals(card.setParams(params), status);
    // What was set before still holds.
    assertEquals(card.control(snd.R_PCM_PREPARE, 0), S_OK);
  });
}

const HOLD_NOTHING: readonly snd.PcmState[] = ["idle", "params set", "released"];

Deno.test("every request in every state: legal ones move, others get BAD_MSG, or OK to release nothing, and change nothing", () => {
  const path: Record<snd.PcmState, number[]> = {
    "idle": [],
    "params set": [snd.R_PCM_SET_PARAMS],
    "prepared": [snd.R_PCM_SET_PARAMS, snd.R_PCM_PREPARE],
    "running": [snd.R_PCM_SET_PARAMS, snd.R_PCM_PREPARE, snd.R_PCM_START],
    "stopped": [snd.R_PCM_SET_PARAMS, snd.R_PCM_PREPARE, snd.R_PCM_START, snd.R_PCM_STOP],
    "released": [snd.R_PCM_SET_PARAMS, snd.R_PCM_PREPARE, snd.R_PCM_RELEASE],
  };
  // Written out by hand from §5.14.6.6.1, not from the table under test.
  const legal: Record<snd.PcmState, Record<number, snd.PcmState>> = {
    "idle": { 0x101: "params set" },
    "params set": { 0x101: "params set", 0x102: "prepared" },
    "prepared": { 0x101: "params set", 0x102: "prepared", 0x103: "released", 0x104: "running" },
    "running": { 0x105: "stopped" },
    "stopped": { 0x103: "released", 0x104: "running" },
    "released": { 0x101: "params set", 0x102: "prepared" },
  };
  for (const stream of [0, 1]) {
    for (const state of Object.keys(path) as snd.PcmState[]) {
      for (let code = 0x101; code <= 0x105; code++) {
        using card = new Card();
        const send = (request: number): number =>
          request === snd.R_PCM_SET_PARAMS
            ? card.setParams({ streamId: stream })
            : card.control(request, stream);
        for (const request of path[state]) assertEquals(send(request), S_OK);
        const next = legal[state][code];
        const before = card.reported("state").at(-1)?.state ?? "idle";
        assertEquals(before, state);
        const isDone = code === snd.R_PCM_RELEASE && HOLD_NOTHING.includes(state);
        const expected = next === undefined && !isDone ? S_BAD_MSG : S_OK;
        assertEquals(send(code), expected, `${state}, ${code}`);
        assertEquals(card.reported("state").at(-1)?.state ?? "idle", next ?? state);
      }
    }
  }
});

// ---- playback ----

Deno.test("playback: each buffer is in the file when it comes back, at the end of its time and not before", () => {
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

Deno.test("an xrun is a buffer that comes late: counted once, told to the driver, and time begins anew", () => {
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

Deno.test("xruns are told to a driver only if it wants to hear of them", () => {
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

Deno.test("a device that slept plays all that was in line, without an xrun while there is some", () => {
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

Deno.test("--pace free: all at once, nothing before START, no xruns", () => {
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

Deno.test("several streams at different rates keep their own time, and come back out of order", () => {
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

Deno.test("a buffer of a megabyte arrives whole", () => {
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

Deno.test("wav: begins the file anew with each playback, and only when one starts; append goes on", () => {
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

Deno.test("latencyMs is told with each buffer", () => {
  using card = new Card({ sinks: ["null"], latencyMs: 25 });
  card.prepare();
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(10);
  assertEquals(card.done()[0]!.latency, 25 * 48 * 4);
});

Deno.test("positions are told at most ten times a second, and the state with its frames", () => {
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

// ---- capture ----

Deno.test("capture: a file at its rate, then silence", () => {
  withFolder((folder) => {
    const source = "/usr/share/sounds/alsa/Noise.wav";
    const sound = samplesOf(source);
    const period = 9600;
    const count = Math.ceil(sound.length / period) + 1;
    void folder;
    using card = new Card({ sinks: [], sources: [`wav:${source}`] });
    card.prepare({ channels: 1, periodBytes: period, bufferBytes: 4 * period });
    for (let i = 0; i < 4; i++) card.capture(period);
    card.clock.pass(1000);
    assertEquals(card.done(), []);
    card.control(snd.R_PCM_START, 0);
    const heard: number[] = [];
    for (let i = 0; i < count; i++) {
      card.clock.pass(99.9);
      assertEquals(card.done(), []);
      card.clock.pass(0.1);
      const [done] = card.done();
      assertEquals([done!.status, done!.length], [S_OK, period + 8]);
      heard.push(...done!.samples);
      card.capture(period);
    }
    assertEquals(heard, [...sound, ...new Array(count * period - sound.length).fill(0)]);
    card.control(snd.R_PCM_STOP, 0);
    card.control(snd.R_PCM_RELEASE, 0);
    const rest = card.done();
    assertEquals(rest.map(({ status, length }) => [status, length]), new Array(4).fill([S_OK, 8]));
    assertEquals(card.reported("xrun"), []);
  });
});

Deno.test("capture: silence is the format's own", () => {
  for (const [name, byte] of [["U8", 0x80], ["MU_LAW", 0xff], ["A_LAW", 0xd5], ["S32", 0]]) {
    using card = new Card({ sinks: [], sources: ["silence"], pace: "free" });
    const format = snd.SAMPLE_FORMATS.findIndex((row) => row.name === name);
    card.prepare({ format, periodBytes: 80, bufferBytes: 160 });
    card.control(snd.R_PCM_START, 0);
    card.capture(80);
    assertEquals(card.done()[0]!.samples, new Uint8Array(80).fill(byte as number));
  }
  using card = new Card({ sinks: [], sources: ["silence"], pace: "free" });
  card.prepare({ format: 12, channels: 1, periodBytes: 150, bufferBytes: 300 });
  card.control(snd.R_PCM_START, 0);
  card.capture(150);
  const expected = Uint8Array.from({ length: 150 }, (_, i) => i % 3 === 2 ? 0x80 : 0);
  assertEquals(card.done()[0]!.samples, expected);
});

Deno.test("capture: no buffer to fill is an xrun", () => {
  using card = new Card({ sinks: [], sources: ["silence"] });
  card.offerEvents(1);
  card.prepare();
  card.capture(PERIOD);
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(12);
  card.capture(PERIOD);
  assertEquals(card.takeEvents(), [[snd.EVT_PCM_XRUN, 0]]);
  card.clock.pass(9.9);
  assertEquals(card.done().length, 1);
  card.clock.pass(0.2);
  assertEquals(card.done().length, 1);
});

// ---- a driver that lies ----

Deno.test("buffers that can be none come back at once with BAD_MSG, and the stream goes on", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  const early = card.play(noise(PERIOD));
  assertEquals(card.done().map(({ id, status }) => [id, status]), [[early, S_BAD_MSG]]);
  card.prepare();
  card.prepare({ streamId: 1 });
  const bad = [
    card.play(noise(PERIOD), 1),
    card.play(noise(PERIOD), 2),
    card.play(noise(PERIOD), 0xffffffff),
    card.play(noise(0)),
    card.play(noise(PERIOD + 1)),
    card.play(noise(3)),
    card.play(noise(PARAMS.bufferBytes + 4)),
    card.capture(PERIOD, 0),
    card.capture(PERIOD, 7),
    card.capture(0, 1),
    card.capture(3, 1),
    card.capture(PARAMS.bufferBytes + 4, 1),
  ];
  const done = card.done();
  assertEquals(ids(done), bad);
  assertEquals(statuses(done), bad.map(() => S_BAD_MSG));
  assertEquals(done.map(({ length }) => length), bad.map(() => 8));
  const good = card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.clock.pass(10);
  assertEquals(ids(card.done()), [good]);
});

Deno.test("buffers without a header or without room for a status come back, and are reported", () => {
  using card = new Card({ sinks: ["null"] });
  const { wiring } = card;
  wiring.offer(snd.VQ_TX, 1, [Uint8Array.of(0, 0, 0)], [8]);
  wiring.offer(snd.VQ_TX, 2, [new Uint8Array(8)], [7]);
  wiring.offer(snd.VQ_TX, 3, [new Uint8Array(8)], []);
  const queue = wiring.queues[snd.VQ_TX]!;
  assertEquals([1, 2, 3].map(() => queue.take()), [
    { token: 1, length: 8 },
    { token: 2, length: 0 },
    { token: 3, length: 0 },
  ]);
  assertEquals(card.reported("error").length, 2);
});

Deno.test("a ring that lies is given up; the others go on", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  card.prepare();
  card.prepare({ streamId: 1 });
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.control(snd.R_PCM_START, 1);
  const tx = card.wiring.rings[snd.VQ_TX]!;
  // The available ring's idx: ahead of all that could be.
  new DataView(card.wiring.buffer).setUint16(2 * 0x4000 + 64 * 16 + 2, 12345, true);
  card.device.turn();
  assert(tx.failure!.message.includes("queue 2 of sound"), tx.failure!.message);
  card.clock.pass(100);
  card.capture(PERIOD, 1);
  card.clock.pass(100);
  assertEquals(card.done().length, 1);
  assertEquals(card.control(snd.R_PCM_STOP, 0), S_OK);
  assertEquals(card.control(snd.R_PCM_RELEASE, 0), S_OK);
});

Deno.test("an event queue that lies, or has no room, costs its events only", () => {
  for (const lie of [true, false]) {
    using card = new Card({ sinks: ["null"] });
    if (lie) new DataView(card.wiring.buffer).setUint16(1 * 0x4000 + 64 * 16 + 2, 12345, true);
    else card.wiring.offer(snd.VQ_EVENT, 1, [], [7]);
    card.setJack(0, false);
    assertEquals(card.wiring.rings[snd.VQ_EVENT]!.failure !== null, lie);
    assertEquals(card.reported("error").length, lie ? 0 : 1);
    card.prepare();
    card.play(noise(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(50);
    assertEquals(statuses(card.done()), [S_OK]);
    assertEquals(card.reported("xrun").length, 1);
  }
});

Deno.test("a driver that floods gets as much of a turn as its ring has room for", () => {
  using card = new Card({ sinks: ["null"] }, { ringSize: 8 });
  card.wiring.rings[snd.VQ_TX]!.onKick = () => {};
  for (let i = 0; i < 8; i++) card.wiring.offer(snd.VQ_TX, i, [Uint8Array.of(1)], [8]);
  card.device.turn();
  assertEquals(card.clock.alarm, 0);
  card.clock.pass(0);
  assertEquals(card.clock.alarm, Infinity);
});

// ---- rings stop, front-ends go ----

Deno.test("stopRing() gives back what is held, and start goes on", () => {
  using card = new Card({ sinks: ["null"], sources: ["silence"] });
  card.prepare();
  card.prepare({ streamId: 1 });
  const held = [card.play(noise(PERIOD)), card.play(noise(PERIOD))];
  const other = card.capture(PERIOD, 1);
  card.device.stopRing(snd.VQ_TX, false);
  assertEquals(card.done().map(({ id, status }) => [id, status]), held.map((id) => [id, S_IO_ERR]));
  card.control(snd.R_PCM_START, 0);
  card.control(snd.R_PCM_START, 1);
  card.clock.pass(50);
  assertEquals(ids(card.done()), [other]);
  card.device.startRing(card.wiring.rings[snd.VQ_TX]!);
  const next = card.play(noise(PERIOD));
  card.clock.pass(10);
  assertEquals(ids(card.done()), [next]);
});

Deno.test("stopRing() of an abandoned ring completes nothing: the next device plays what is in it", () => {
  using card = new Card({ sinks: ["null"] });
  card.prepare();
  card.play(noise(PERIOD));
  card.control(snd.R_PCM_START, 0);
  card.device.stopRing(snd.VQ_TX, true);
  card.clock.pass(100);
  assertEquals(card.done(), []);
});

Deno.test("disconnected(): files are closed and valid, streams idle, the next front-end starts afresh", () => {
  withFolder((folder) => {
    const path = `${folder}/out.wav`;
    using card = new Card({ sinks: [`wav:${path}`] });
    const sound = noise(2 * PERIOD);
    card.prepare();
    card.play(sound.subarray(0, PERIOD));
    card.play(sound.subarray(PERIOD));
    card.control(snd.R_PCM_START, 0);
    card.clock.pass(15);
    for (const { index } of card.wiring.rings) card.device.stopRing(index, false);
    card.device.disconnected();
    assertEquals(card.reported("state").at(-1)!.state, "idle");
    assertEquals(samplesOf(path), sound.subarray(0, PERIOD));
    assertEquals(card.clock.alarm, Infinity);
    card.wiring.start();
    assertEquals(card.control(snd.R_PCM_PREPARE, 0), S_BAD_MSG);
    card.prepare();
  });
});

Deno.test("a jack is plugged in and out: an event, and what the next query says", () => {
  using card = new Card();
  card.offerEvents(2);
  card.setJack(1, false);
  card.setJack(1, false);
  assertEquals(card.takeEvents(), [[snd.EVT_JACK_DISCONNECTED, 1]]);
  const answer = card.request(query(snd.R_JACK_INFO, 1, 1, snd.JACK_INFO_SIZE));
  assertEquals(snd.decodeJackInfo(new DataView(answer.buffer), 4).connected, false);
  card.setJack(1, true);
  assertEquals(card.takeEvents(), [[snd.EVT_JACK_CONNECTED, 1]]);
  assertThrows(() => card.setJack(2, true), RangeError, "Cannot plug jack 2");
  using silent = new Card({}, { started: false });
  silent.setJack(0, false);
});

Deno.test("chaos: random requests and buffers never break the card, and every buffer comes back once", () => {
  for (let seed = 1; seed <= 20; seed++) {
    let state = seed;
    const random = (below: number): number => {
      state = Math.imul(state, 1103515245) + 12345 | 0;
      return (state >>> 8) % below;
    };
    using card = new Card({ sinks: ["null", "null"], sources: ["silence"] });
    const open = new Set<number>();
    const settle = (): void => {
      for (const { id, status } of card.done()) {
        assert(open.delete(id), `buffer ${id} came back twice`);
        assert(status === S_OK || status === S_BAD_MSG, snd.soundCodeName(status));
      }
    };
    for (let step = 0; step < 2000; step++) {
      const stream = random(4);
      const what = random(8);
      if (what === 0) card.setParams({ streamId: stream, rate: random(16), format: random(8) });
      else if (what <= 2) card.control(0x102 + random(4), stream);
      else if (what === 3) card.clock.pass(random(30));
      else if (what === 4) card.clock.sleep(random(100));
      else if (open.size < 60) {
        open.add(
          random(3) === 0
            ? card.capture(4 * random(600), stream)
            : card.play(noise(4 * random(600)), stream),
        );
      }
      settle();
    }
    for (let stream = 0; stream < 3; stream++) {
      card.control(snd.R_PCM_STOP, stream);
      card.control(snd.R_PCM_RELEASE, stream);
    }
    settle();
    assertEquals(open.size, 0);
    assertEquals(card.wiring.rings.map(({ failure }) => failure), [null, null, null, null]);
    assertEquals(card.clock.alarm, Infinity);
  }
});
