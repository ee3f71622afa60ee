// SPDX-License-Identifier: Apache-2.0
/**
 * What a card offers: its streams' formats, jacks and channel maps.
 *
 * @module
 */
import { lookAtSource } from "./check.ts";
import { formatsFor } from "./names.ts";
import { MAX_CHANNELS, type SinkSpec, type SourceSpec } from "./spec.ts";
import {
  CHANNEL_POSITIONS,
  type ChmapInfo,
  D_INPUT,
  D_OUTPUT,
  formatOfWav,
  FRAME_RATES,
  type JackInfo,
  PCM_F_EVT_XRUNS,
  type PcmInfo,
  SAMPLE_FORMATS,
  type SampleFormat,
} from "./wire.ts";

const allOnes = (count: number): bigint => (1n << BigInt(count)) - 1n;
const ALL_RATES = allOnes(FRAME_RATES.length);
/** Formats whose samples are whole bytes; buffers of the others cannot be counted in frames. */
const WHOLE_FORMATS = formatMap(SAMPLE_FORMATS.filter((format) => format.bytes > 0));
const WAV_FORMATS = formatMap(SAMPLE_FORMATS.filter((format) => format.wav !== null));

function formatMap(formats: readonly SampleFormat[]): bigint {
  return formats.reduce((map, { code }) => map | 1n << BigInt(code), 0n);
}

function streamInfo(direction: number, nid: number, formats: bigint): PcmInfo {
  return {
    hdaFnNid: nid,
    features: 1 << PCM_F_EVT_XRUNS,
    formats,
    rates: ALL_RATES,
    direction,
    channelsMin: 1,
    channelsMax: MAX_CHANNELS,
  };
}

/** What a stream offers, and remarks on its file. */
export interface Offer {
  info: PcmInfo;
  remarks: string[];
}

export function playback(sink: SinkSpec, nid: number): Offer {
  const formats = sink.kind === "wav" ? WAV_FORMATS : formatsOf(sink);
  return { info: streamInfo(D_OUTPUT, nid, formats), remarks: [] };
}

/** Formats of a stream without a file. */
function formatsOf(end: SinkSpec | SourceSpec): bigint {
  return end.kind === "exec" ? formatMap(formatsFor(end.command)) : WHOLE_FORMATS;
}

/** A file is captured in its own format: no other is offered. */
export function capture(source: SourceSpec, nid: number): Offer {
  const info = streamInfo(D_INPUT, nid, formatsOf(source));
  if (source.kind !== "wav") return { info, remarks: [] };
  const { format, remarks } = lookAtSource(source.path);
  info.formats = 1n << BigInt(formatOfWav(format)!.code);
  info.rates = 1n << BigInt(FRAME_RATES.indexOf(format.rate));
  info.channelsMin = info.channelsMax = format.channels;
  return { info, remarks };
}

/** High Definition Audio §7.3.3.31: device in bits 23:20, connector 19:16 (3.5 mm), association 7:4, sequence 3:0. */
const LINE_OUT = 0x0 << 20;
const MIC_IN = 0xa << 20;
const SMALL_JACK = 0x1 << 16;
/** High Definition Audio §7.3.4.9: presence detect; can be output; can be input. */
const CAPS_PRESENCE = 1 << 2;
const CAPS_OUTPUT = 1 << 4;
const CAPS_INPUT = 1 << 5;

export function jackOf(info: PcmInfo, index: number): JackInfo {
  const isOutput = info.direction === D_OUTPUT;
  return {
    hdaFnNid: info.hdaFnNid,
    features: 0,
    hdaRegDefconf: (isOutput ? LINE_OUT : MIC_IN) | SMALL_JACK | 1 << 4 | index & 0xf,
    hdaRegCaps: CAPS_PRESENCE | (isOutput ? CAPS_OUTPUT : CAPS_INPUT),
    connected: true,
  };
}

/** By number of channels, in the order in which a WAV file holds them. */
const CHANNEL_ORDERS = [
  "",
  "MONO",
  "FL FR",
  "FL FR FC",
  "FL FR RL RR",
  "FL FR FC RL RR",
  "FL FR FC LFE RL RR",
  "FL FR FC LFE RL RR RC",
  "FL FR FC LFE RL RR SL SR",
];

export function chmapsOf({ hdaFnNid, direction, channelsMin, channelsMax }: PcmInfo): ChmapInfo[] {
  return CHANNEL_ORDERS.slice(channelsMin, channelsMax + 1).map((order) => ({
    hdaFnNid,
    direction,
    positions: order.split(" ").map((name) => CHANNEL_POSITIONS.indexOf(name)),
  }));
}
