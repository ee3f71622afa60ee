// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import * as sound from "../../../lib/classes/sound/wire.ts";

const u32 = (...words: number[]): number[] => [...new Uint8Array(Uint32Array.from(words).buffer)];

interface Codec {
  name: string;
  size: number;
  encode: (view: DataView, at: number) => void;
  decode?: (view: DataView, at: number) => unknown;
  value?: unknown;
  bytes: number[];
}

const CONFIG = { jacks: 1, streams: 0x01020304, chmaps: 3 };
const QUERY = { code: 0x100, startId: 1, count: 0xfffffffe, size: 32 };
const JACK = {
  hdaFnNid: 7,
  features: 1,
  hdaRegDefconf: 0xf0a10011,
  hdaRegCaps: 4,
  connected: true,
};
const REMAP = { jackId: 2, association: 3, sequence: 4 };
const PCM = {
  hdaFnNid: 1,
  features: 0x10,
  formats: 0x8000000000000020n,
  rates: 0x80n,
  direction: 1,
  channelsMin: 2,
  channelsMax: 8,
};
const PARAMS = {
  streamId: 3,
  bufferBytes: 0x10000,
  periodBytes: 0x1000,
  features: 0x10,
  channels: 2,
  format: 5,
  rate: 7,
};
const CHMAP = { hdaFnNid: 9, direction: 1, positions: [3, 4, 36] };

const CODECS: Codec[] = [
  {
    name: "config",
    size: sound.SOUND_CONFIG_SIZE,
    encode: (view, at) => sound.encodeSoundConfig(view, at, CONFIG),
    decode: sound.decodeSoundConfig,
    value: CONFIG,
    bytes: [1, 0, 0, 0, 4, 3, 2, 1, 3, 0, 0, 0],
  },
  {
    name: "query_info",
    size: sound.QUERY_INFO_SIZE,
    encode: (view, at) => sound.encodeQueryInfo(view, at, QUERY),
    decode: sound.decodeQueryInfo,
    value: QUERY,
    bytes: [0, 1, 0, 0, 1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 32, 0, 0, 0],
  },
  {
    name: "jack_info",
    size: sound.JACK_INFO_SIZE,
    encode: (view, at) => sound.encodeJackInfo(view, at, JACK),
    decode: sound.decodeJackInfo,
    value: JACK,
    bytes: [...u32(7, 1, 0xf0a10011, 4), 1, 0, 0, 0, 0, 0, 0, 0],
  },
  {
    name: "jack_remap",
    size: sound.JACK_REMAP_SIZE,
    encode: (view, at) => sound.encodeJackRemap(view, at, REMAP),
    decode: sound.decodeJackRemap,
    value: REMAP,
    bytes: u32(2, 2, 3, 4),
  },
  {
    name: "pcm_info",
    size: sound.PCM_INFO_SIZE,
    encode: (view, at) => sound.encodePcmInfo(view, at, PCM),
    decode: sound.decodePcmInfo,
    value: PCM,
    bytes: [
      ...u32(1, 0x10),
      ...[0x20, 0, 0, 0, 0, 0, 0, 0x80],
      ...[0x80, 0, 0, 0, 0, 0, 0, 0],
      ...[1, 2, 8, 0, 0, 0, 0, 0],
    ],
  },
  {
    name: "pcm_hdr",
    size: sound.PCM_HDR_SIZE,
    encode: (view, at) => sound.encodePcmHdr(view, at, sound.R_PCM_START, 5),
    bytes: u32(0x104, 5),
  },
  {
    name: "pcm_set_params",
    size: sound.PCM_SET_PARAMS_SIZE,
    encode: (view, at) => sound.encodePcmSetParams(view, at, PARAMS),
    decode: sound.decodePcmSetParams,
    value: PARAMS,
    bytes: [...u32(0x101, 3, 0x10000, 0x1000, 0x10), 2, 5, 7, 0],
  },
  {
    name: "chmap_info",
    size: sound.CHMAP_INFO_SIZE,
    encode: (view, at) => sound.encodeChmapInfo(view, at, CHMAP),
    decode: sound.decodeChmapInfo,
    value: CHMAP,
    bytes: [...u32(9), 1, 3, 3, 4, 36, ...new Array(15).fill(0)],
  },
  {
    name: "pcm_status",
    size: sound.PCM_STATUS_SIZE,
    encode: (view, at) => sound.encodePcmStatus(view, at, sound.S_IO_ERR, 0x102),
    bytes: u32(0x8003, 0x102),
  },
  {
    name: "event",
    size: sound.EVENT_SIZE,
    encode: (view, at) => sound.encodeEvent(view, at, sound.EVT_PCM_XRUN, 1),
    bytes: u32(0x1101, 1),
  },
];

for (const { name, size, encode, decode, value, bytes } of CODECS) {
  Deno.test(`virtio_snd_${name} is these bytes, padding included, and nothing around them`, () => {
    assertEquals(bytes.length, size);
    const memory = new Uint8Array(size + 8).fill(0xcc);
    encode(new DataView(memory.buffer), 4);
    assertEquals([...memory], [...new Array(4).fill(0xcc), ...bytes, ...new Array(4).fill(0xcc)]);
    if (decode !== undefined) assertEquals(decode(new DataView(memory.buffer), 4), value);
    for (let short = 0; short < size; short++) {
      const view = new DataView(new ArrayBuffer(short));
      assertThrows(() => encode(view, 0), RangeError);
      // The padding at a structure's end is written, not read.
      if (decode !== undefined && short < size - 8) assertThrows(() => decode(view, 0), RangeError);
    }
  });
}

Deno.test("encodeChmapInfo() refuses 19 channels, decodeChmapInfo() reads no more than 18", () => {
  const view = new DataView(new ArrayBuffer(sound.CHMAP_INFO_SIZE));
  const positions = new Array(19).fill(3);
  assertThrows(
    () => sound.encodeChmapInfo(view, 0, { ...CHMAP, positions }),
    RangeError,
    "19 channels, expected at most 18",
  );
  view.setUint8(5, 255);
  assertEquals(sound.decodeChmapInfo(view, 0).positions.length, 18);
});

Deno.test("each format's silence fills a sample, and a WAV file carries whole bytes", () => {
  for (const { name, bits, bytes, wav, silence } of sound.SAMPLE_FORMATS) {
    assertEquals(silence.length, bytes, name);
    if (bytes > 0) assert(bits <= 8 * bytes, name);
    if (wav !== null) assertEquals(wav.container ?? wav.bits, 8 * bytes, name);
  }
  assertEquals(sound.formatOfWav({ encoding: "pcm", bits: 16 })?.name, "S16");
  assertEquals(sound.formatOfWav({ encoding: "alaw", bits: 8 })?.name, "A_LAW");
  assertEquals(sound.formatOfWav({ encoding: "pcm", bits: 64 }), undefined);
});

Deno.test("soundCodeName() names codes, and prints unknown ones as numbers", () => {
  assertEquals(sound.soundCodeName(0x101), "PCM_SET_PARAMS");
  assertEquals(sound.soundCodeName(0x8003), "IO_ERR");
  assertEquals(sound.soundCodeName(0x42), "0x0042");
});
