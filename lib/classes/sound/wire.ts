// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device's messages (virtio 1.2 §5.14): codes, structures, and tables of its formats, rates, channel
 * positions and stream states. Pure: bytes to values and back, all fields little-endian.
 *
 * An `encode…` function writes all bytes of its structure, padding included; a `decode…` function reads all its fields. Both throw
 * `RangeError` when the view is too short: callers check lengths first.
 *
 * @module
 */
export * from "./formats.ts";

/** Device id (§5.14.1). */
export const SOUND_DEVICE_ID = 25;

/** Virtqueue indexes (§5.14.2). */
export const VQ_CONTROL = 0;
/** @see {@linkcode VQ_CONTROL} */
export const VQ_EVENT = 1;
/** @see {@linkcode VQ_CONTROL} */
export const VQ_TX = 2;
/** @see {@linkcode VQ_CONTROL} */
export const VQ_RX = 3;

/** A stream's direction: from the driver to the device, playback (§5.14.6). */
export const D_OUTPUT = 0;
/** From the device to the driver, capture. */
export const D_INPUT = 1;

/** Control requests (§5.14.6). */
export const R_JACK_INFO = 0x0001;
/** @see {@linkcode R_JACK_INFO} */
export const R_JACK_REMAP = 0x0002;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_INFO = 0x0100;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_SET_PARAMS = 0x0101;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_PREPARE = 0x0102;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_RELEASE = 0x0103;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_START = 0x0104;
/** @see {@linkcode R_JACK_INFO} */
export const R_PCM_STOP = 0x0105;
/** @see {@linkcode R_JACK_INFO} */
export const R_CHMAP_INFO = 0x0200;

/** Events (§5.14.6). */
export const EVT_JACK_CONNECTED = 0x1000;
/** @see {@linkcode EVT_JACK_CONNECTED} */
export const EVT_JACK_DISCONNECTED = 0x1001;
/** @see {@linkcode EVT_JACK_CONNECTED} */
export const EVT_PCM_PERIOD_ELAPSED = 0x1100;
/** @see {@linkcode EVT_JACK_CONNECTED} */
export const EVT_PCM_XRUN = 0x1101;

/** Statuses of control and I/O requests (§5.14.6). */
export const S_OK = 0x8000;
/** @see {@linkcode S_OK} */
export const S_BAD_MSG = 0x8001;
/** @see {@linkcode S_OK} */
export const S_NOT_SUPP = 0x8002;
/** @see {@linkcode S_OK} */
export const S_IO_ERR = 0x8003;

/** Bit number in a jack's features (§5.14.6.4.1). */
export const JACK_F_REMAP = 0;

/** Bit numbers in a stream's features (§5.14.6.6.2). */
export const PCM_F_SHMEM_HOST = 0;
/** @see {@linkcode PCM_F_SHMEM_HOST} */
export const PCM_F_SHMEM_GUEST = 1;
/** @see {@linkcode PCM_F_SHMEM_HOST} */
export const PCM_F_MSG_POLLING = 2;
/** @see {@linkcode PCM_F_SHMEM_HOST} */
export const PCM_F_EVT_SHMEM_PERIODS = 3;
/** @see {@linkcode PCM_F_SHMEM_HOST} */
export const PCM_F_EVT_XRUNS = 4;

const CODE_NAMES: Record<number, string> = {
  [R_JACK_INFO]: "JACK_INFO",
  [R_JACK_REMAP]: "JACK_REMAP",
  [R_PCM_INFO]: "PCM_INFO",
  [R_PCM_SET_PARAMS]: "PCM_SET_PARAMS",
  [R_PCM_PREPARE]: "PCM_PREPARE",
  [R_PCM_RELEASE]: "PCM_RELEASE",
  [R_PCM_START]: "PCM_START",
  [R_PCM_STOP]: "PCM_STOP",
  [R_CHMAP_INFO]: "CHMAP_INFO",
  [EVT_JACK_CONNECTED]: "JACK_CONNECTED",
  [EVT_JACK_DISCONNECTED]: "JACK_DISCONNECTED",
  [EVT_PCM_PERIOD_ELAPSED]: "PCM_PERIOD_ELAPSED",
  [EVT_PCM_XRUN]: "PCM_XRUN",
  [S_OK]: "OK",
  [S_BAD_MSG]: "BAD_MSG",
  [S_NOT_SUPP]: "NOT_SUPP",
  [S_IO_ERR]: "IO_ERR",
};

/** The standard's name of a request, event or status code, without its prefix; hexadecimal when it has none. */
export function soundCodeName(code: number): string {
  return CODE_NAMES[code] ?? `0x${code.toString(16).padStart(4, "0")}`;
}

// ---- channel positions ----

/** Positions (§5.14.6.7.1) by code, VIRTIO_SND_CHMAP_…; ALSA's names are the same. */
export const CHANNEL_POSITIONS: readonly string[] = [
  ..."NONE NA MONO FL FR RL RR FC LFE SL SR RC FLC FRC RLC RRC FLW FRW FLH FCH FRH TC".split(" "),
  ..."TFL TFR TFC TRL TRR TRC TFLC TFRC TSL TSR LLFE RLFE BC BLC BRC".split(" "),
];

/** Most channels that a channel map can describe. */
export const CHMAP_MAX_SIZE = 18;

// ---- a stream's life ----

/** What a stream is in, named by the last request that changed it (§5.14.6.6.1). */
export type PcmState = "idle" | "params set" | "prepared" | "running" | "stopped" | "released";

/** The legal moves: a state, then a request's code, to the state it leads to. Requests not listed are illegal there. */
export const PCM_MOVES: Readonly<Record<PcmState, Readonly<Record<number, PcmState>>>> = {
  "idle": { [R_PCM_SET_PARAMS]: "params set" },
  "params set": { [R_PCM_SET_PARAMS]: "params set", [R_PCM_PREPARE]: "prepared" },
  "prepared": {
    [R_PCM_SET_PARAMS]: "params set",
    [R_PCM_PREPARE]: "prepared",
    [R_PCM_START]: "running",
    [R_PCM_RELEASE]: "released",
  },
  "running": { [R_PCM_STOP]: "stopped" },
  "stopped": { [R_PCM_START]: "running", [R_PCM_RELEASE]: "released" },
  "released": { [R_PCM_SET_PARAMS]: "params set", [R_PCM_PREPARE]: "prepared" },
};

// ---- configuration space ----

/** virtio_snd_config (§5.14.4). */
export interface SoundConfig {
  jacks: number;
  streams: number;
  chmaps: number;
}
/** Bytes of virtio_snd_config in virtio 1.2; later versions append fields. */
export const SOUND_CONFIG_SIZE = 12;
/** Bytes of it in virtio 1.3: a u32 `controls` follows, 0 where there are none (VIRTIO_SND_F_CTLS is not offered). */
export const SOUND_CONFIG_SIZE_CTLS = 16;

/** 0 jacks, 4 streams, 8 chmaps, each u32. */
export function encodeSoundConfig(view: DataView, at: number, config: SoundConfig): void {
  view.setUint32(at, config.jacks, true);
  view.setUint32(at + 4, config.streams, true);
  view.setUint32(at + 8, config.chmaps, true);
}

/** @see {@linkcode encodeSoundConfig} */
export function decodeSoundConfig(view: DataView, at: number): SoundConfig {
  return {
    jacks: view.getUint32(at, true),
    streams: view.getUint32(at + 4, true),
    chmaps: view.getUint32(at + 8, true),
  };
}

// ---- control messages ----

/** virtio_snd_hdr (§5.14.6): 0 u32 code. Opens each request, and is the answer to most. */
export const HDR_SIZE = 4;

/** virtio_snd_query_info (§5.14.6.1): asks for `count` items from `startId`, `size` bytes each. */
export interface QueryInfo {
  code: number;
  startId: number;
  count: number;
  size: number;
}
/** Bytes of virtio_snd_query_info. */
export const QUERY_INFO_SIZE = 16;

/** 0 code, 4 start id, 8 count, 12 size, each u32. */
export function encodeQueryInfo(view: DataView, at: number, query: QueryInfo): void {
  view.setUint32(at, query.code, true);
  view.setUint32(at + 4, query.startId, true);
  view.setUint32(at + 8, query.count, true);
  view.setUint32(at + 12, query.size, true);
}

/** @see {@linkcode encodeQueryInfo} */
export function decodeQueryInfo(view: DataView, at: number): QueryInfo {
  return {
    code: view.getUint32(at, true),
    startId: view.getUint32(at + 4, true),
    count: view.getUint32(at + 8, true),
    size: view.getUint32(at + 12, true),
  };
}

/** virtio_snd_jack_info (§5.14.6.4.1). */
export interface JackInfo {
  hdaFnNid: number;
  features: number;
  hdaRegDefconf: number;
  hdaRegCaps: number;
  connected: boolean;
}
/** Bytes of virtio_snd_jack_info. */
export const JACK_INFO_SIZE = 24;

/** 0 node, 4 features, 8 default configuration, 12 capabilities, each u32; 16 u8 connected; 17 padding. */
export function encodeJackInfo(view: DataView, at: number, info: JackInfo): void {
  view.setUint32(at, info.hdaFnNid, true);
  view.setUint32(at + 4, info.features, true);
  view.setUint32(at + 8, info.hdaRegDefconf, true);
  view.setUint32(at + 12, info.hdaRegCaps, true);
  clear(view, at + 16, 8);
  view.setUint8(at + 16, info.connected ? 1 : 0);
}

/** @see {@linkcode encodeJackInfo} */
export function decodeJackInfo(view: DataView, at: number): JackInfo {
  return {
    hdaFnNid: view.getUint32(at, true),
    features: view.getUint32(at + 4, true),
    hdaRegDefconf: view.getUint32(at + 8, true),
    hdaRegCaps: view.getUint32(at + 12, true),
    connected: view.getUint8(at + 16) !== 0,
  };
}

/** virtio_snd_jack_remap (§5.14.6.4.2). */
export interface JackRemap {
  jackId: number;
  association: number;
  sequence: number;
}
/** Bytes of virtio_snd_jack_remap. */
export const JACK_REMAP_SIZE = 16;

/** 0 code, 4 jack, 8 association, 12 sequence, each u32. */
export function encodeJackRemap(view: DataView, at: number, remap: JackRemap): void {
  view.setUint32(at, R_JACK_REMAP, true);
  view.setUint32(at + 4, remap.jackId, true);
  view.setUint32(at + 8, remap.association, true);
  view.setUint32(at + 12, remap.sequence, true);
}

/** @see {@linkcode encodeJackRemap} */
export function decodeJackRemap(view: DataView, at: number): JackRemap {
  return {
    jackId: view.getUint32(at + 4, true),
    association: view.getUint32(at + 8, true),
    sequence: view.getUint32(at + 12, true),
  };
}

/** virtio_snd_pcm_info (§5.14.6.6.2). `formats` and `rates` are bit maps over the codes of this module's tables. */
export interface PcmInfo {
  hdaFnNid: number;
  features: number;
  formats: bigint;
  rates: bigint;
  direction: number;
  channelsMin: number;
  channelsMax: number;
}
/** Bytes of virtio_snd_pcm_info. */
export const PCM_INFO_SIZE = 32;

/** 0 u32 node, 4 u32 features, 8 u64 formats, 16 u64 rates, 24 u8 direction, 25 and 26 u8 channels; 27 padding. */
export function encodePcmInfo(view: DataView, at: number, info: PcmInfo): void {
  view.setUint32(at, info.hdaFnNid, true);
  view.setUint32(at + 4, info.features, true);
  view.setBigUint64(at + 8, info.formats, true);
  view.setBigUint64(at + 16, info.rates, true);
  clear(view, at + 24, 8);
  view.setUint8(at + 24, info.direction);
  view.setUint8(at + 25, info.channelsMin);
  view.setUint8(at + 26, info.channelsMax);
}

/** @see {@linkcode encodePcmInfo} */
export function decodePcmInfo(view: DataView, at: number): PcmInfo {
  return {
    hdaFnNid: view.getUint32(at, true),
    features: view.getUint32(at + 4, true),
    formats: view.getBigUint64(at + 8, true),
    rates: view.getBigUint64(at + 16, true),
    direction: view.getUint8(at + 24),
    channelsMin: view.getUint8(at + 25),
    channelsMax: view.getUint8(at + 26),
  };
}

/** virtio_snd_pcm_hdr (§5.14.6.6): PREPARE, RELEASE, START and STOP are this alone. */
export const PCM_HDR_SIZE = 8;

/** 0 code, 4 stream, each u32. */
export function encodePcmHdr(view: DataView, at: number, code: number, streamId: number): void {
  view.setUint32(at, code, true);
  view.setUint32(at + 4, streamId, true);
}

/** virtio_snd_pcm_set_params (§5.14.6.6.3). */
export interface PcmParams {
  streamId: number;
  /** Bytes of the driver's whole buffer. */
  bufferBytes: number;
  /** Bytes of a period, after each of which the driver expects an interrupt. */
  periodBytes: number;
  features: number;
  channels: number;
  /** Code of a format in {@linkcode SAMPLE_FORMATS}. */
  format: number;
  /** Code of a rate in {@linkcode FRAME_RATES}. */
  rate: number;
}
/** Bytes of virtio_snd_pcm_set_params. */
export const PCM_SET_PARAMS_SIZE = 24;

/** 0 code, 4 stream, 8 buffer, 12 period, 16 features, each u32; 20 channels, 21 format, 22 rate, each u8; 23 padding. */
export function encodePcmSetParams(view: DataView, at: number, params: PcmParams): void {
  encodePcmHdr(view, at, R_PCM_SET_PARAMS, params.streamId);
  view.setUint32(at + 8, params.bufferBytes, true);
  view.setUint32(at + 12, params.periodBytes, true);
  view.setUint32(at + 16, params.features, true);
  view.setUint8(at + 20, params.channels);
  view.setUint8(at + 21, params.format);
  view.setUint8(at + 22, params.rate);
  view.setUint8(at + 23, 0);
}

/** @see {@linkcode encodePcmSetParams} */
export function decodePcmSetParams(view: DataView, at: number): PcmParams {
  return {
    streamId: view.getUint32(at + 4, true),
    bufferBytes: view.getUint32(at + 8, true),
    periodBytes: view.getUint32(at + 12, true),
    features: view.getUint32(at + 16, true),
    channels: view.getUint8(at + 20),
    format: view.getUint8(at + 21),
    rate: view.getUint8(at + 22),
  };
}

/** virtio_snd_chmap_info (§5.14.6.7.1). */
export interface ChmapInfo {
  hdaFnNid: number;
  direction: number;
  /** Codes of positions in {@linkcode CHANNEL_POSITIONS}, one per channel. */
  positions: number[];
}
/** Bytes of virtio_snd_chmap_info. */
export const CHMAP_INFO_SIZE = 24;

/** 0 u32 node, 4 u8 direction, 5 u8 channels, 6 u8[18] positions. @throws {RangeError} over 18 positions */
export function encodeChmapInfo(view: DataView, at: number, info: ChmapInfo): void {
  const { hdaFnNid, direction, positions } = info;
  if (positions.length > CHMAP_MAX_SIZE) {
    throw new RangeError(
      `Cannot encode a channel map of ${positions.length} channels, expected at most ${CHMAP_MAX_SIZE}`,
    );
  }
  clear(view, at, CHMAP_INFO_SIZE);
  view.setUint32(at, hdaFnNid, true);
  view.setUint8(at + 4, direction);
  view.setUint8(at + 5, positions.length);
  positions.forEach((position, i) => view.setUint8(at + 6 + i, position));
}

/** @see {@linkcode encodeChmapInfo}; a count over 18 is taken as 18 */
export function decodeChmapInfo(view: DataView, at: number): ChmapInfo {
  const channels = Math.min(view.getUint8(at + 5), CHMAP_MAX_SIZE);
  return {
    hdaFnNid: view.getUint32(at, true),
    direction: view.getUint8(at + 4),
    positions: Array.from({ length: CHMAP_MAX_SIZE }, (_, i) => view.getUint8(at + 6 + i))
      .slice(0, channels),
  };
}

// ---- samples and events ----

/** virtio_snd_pcm_xfer (§5.14.6.8): 0 u32 stream. Opens each buffer on tx and rx, readable by the device. */
export const PCM_XFER_SIZE = 4;

/** virtio_snd_pcm_status (§5.14.6.8): 0 u32 status, 4 u32 latency in bytes. Closes each buffer, written by the device. */
export const PCM_STATUS_SIZE = 8;

/** @see {@linkcode PCM_STATUS_SIZE} */
export function encodePcmStatus(
  view: DataView,
  at: number,
  status: number,
  latencyBytes: number,
): void {
  view.setUint32(at, status, true);
  view.setUint32(at + 4, latencyBytes, true);
}

/** virtio_snd_event (§5.14.6.2): 0 u32 code, 4 u32 data, which is the jack or the stream. */
export const EVENT_SIZE = 8;

/** @see {@linkcode EVENT_SIZE} */
export function encodeEvent(view: DataView, at: number, code: number, data: number): void {
  view.setUint32(at, code, true);
  view.setUint32(at + 4, data, true);
}

function clear(view: DataView, at: number, length: number): void {
  for (let i = 0; i < length; i++) view.setUint8(at + i, 0);
}
