// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { Card } from "./card.ts";
import { query, S_BAD_MSG, S_NOT_SUPP, S_OK, withFolder } from "./device_fixture.ts";

const statusOf = (answer: Uint8Array): number => new DataView(answer.buffer).getUint32(0, true);

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

Deno.test("info items are as far apart as the driver asks", () => {
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

Deno.test("a control request without room for a response is returned and reported", () => {
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
  [{ features: 1 << snd.PCM_F_SHMEM_HOST | 1 << snd.PCM_F_SHMEM_GUEST }, S_NOT_SUPP],
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
