// SPDX-License-Identifier: Apache-2.0
/**
 * What a new back-end must be told before it can go on where the last one stood: a class's state is in its requests,
 * so the bridge watches those and repeats the ones that count.
 *
 * @module
 */
import {
  decodePcmSetParams,
  FRAME_RATES,
  PCM_HDR_SIZE,
  PCM_SET_PARAMS_SIZE,
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_SET_PARAMS,
  R_PCM_START,
  R_PCM_STOP,
  S_OK,
  SAMPLE_FORMATS,
  SOUND_DEVICE_ID,
  VQ_CONTROL,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";
import type { LaneDevice } from "../../bridge/lane_messages.ts";

/** One class's memory of its requests. It lies in the device's state, so that a successor has it too. */
export interface Replay {
  /** The queue whose requests are watched and repeated. */
  readonly queue: number;
  /** How much of a request is looked at, and of its response, in bytes. */
  readonly requestBytes: number;
  /**
   * Notes a request that was answered.
   *
   * @param entry Its mark among the chains in flight, which tells it from every other
   */
  observe(request: DataView, requestLength: number, response: number, entry: number): void;
  /** Whether the chain in flight with this mark was answered, and only its giving back was missed. */
  isAnswered(entry: number): boolean;
  /** What to send before the chains in flight are offered again. */
  before(): Uint8Array<ArrayBuffer>[];
  /** What to send after that. */
  after(): Uint8Array<ArrayBuffer>[];
  /**
   * Whether a chain that is no request must be given back soon now: asked by the watchdog.
   *
   * @param queue The queue it is in
   * @param firstWord The first 4 bytes of its readable part
   */
  isDue(queue: number, firstWord: number): boolean;
}

/** What a response to a repeated request must be at least: a u32 status. */
export const RESPONSE_BYTES = 4;

/** The area begins with the epoch it belongs to: what an earlier life of the device left counts for nothing. */
const HEADER_BYTES = 32;
/** Then the mark of the request that was answered last. */
const ANSWERED_AT = 4;
const STREAM_BYTES = 32;
/** A stream with longer periods than these, in milliseconds, is not watched: it may be silent for so long and well. */
const LONGEST_WATCHED_MS = 2000;
const UNSET = 0;
const PARAMS = 1;
const PREPARED = 2;
const RUNNING = 3;
const STOPPED = 4;

/** Where an answered request leaves its stream. RELEASE keeps the parameters (virtio 1.2 §5.14.6.6.1). */
const LEADS_TO: Readonly<Record<number, number>> = {
  [R_PCM_SET_PARAMS]: PARAMS,
  [R_PCM_PREPARE]: PREPARED,
  [R_PCM_START]: RUNNING,
  [R_PCM_STOP]: STOPPED,
  [R_PCM_RELEASE]: PARAMS,
};

/**
 * Sound: each stream's parameters and state. After the area's 32-byte header (u32 epoch), 32 bytes a stream: u32 state,
 * 24 bytes SET_PARAMS, 4 unused.
 *
 * START comes after the buffers in flight: some devices fail a start with nothing to play.
 */
class SoundReplay implements Replay {
  readonly queue = VQ_CONTROL;
  readonly requestBytes = PCM_SET_PARAMS_SIZE;
  readonly #view: DataView;
  readonly #streams: number;

  constructor(area: Uint8Array) {
    this.#view = new DataView(area.buffer, area.byteOffset, area.byteLength);
    this.#streams = Math.floor((area.byteLength - HEADER_BYTES) / STREAM_BYTES);
  }

  observe(request: DataView, requestLength: number, response: number, entry: number): void {
    this.#note(request, requestLength, response);
    // Last, so that a process that dies before this repeats a request which has left no trace yet.
    this.#view.setUint32(ANSWERED_AT, entry, true);
  }

  isAnswered(entry: number): boolean {
    return this.#view.getUint32(ANSWERED_AT, true) === entry;
  }

  #note(request: DataView, requestLength: number, response: number): void {
    if (response !== S_OK || requestLength < PCM_HDR_SIZE) return;
    const code = request.getUint32(0, true);
    const state = LEADS_TO[code];
    const stream = request.getUint32(4, true);
    if (state === undefined || stream >= this.#streams) return;
    const at = HEADER_BYTES + stream * STREAM_BYTES;
    if (code === R_PCM_SET_PARAMS && requestLength >= PCM_SET_PARAMS_SIZE) {
      for (let i = 0; i < PCM_SET_PARAMS_SIZE; i += 4) {
        this.#view.setUint32(at + 4 + i, request.getUint32(i, true), true);
      }
    }
    this.#view.setUint32(at, state, true);
  }

  before(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    for (let stream = 0; stream < this.#streams; stream++) {
      const state = this.#state(stream);
      if (state === UNSET) continue;
      const params = this.#params(stream);
      if (params[0] !== UNSET) messages.push(params); // a device may have accepted PREPARE without any
      if (state !== PARAMS) messages.push(pcmRequest(R_PCM_PREPARE, stream));
    }
    return messages;
  }

  after(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    for (let stream = 0; stream < this.#streams; stream++) {
      if (this.#state(stream) === RUNNING) messages.push(pcmRequest(R_PCM_START, stream));
    }
    return messages;
  }

  isDue(queue: number, stream: number): boolean {
    const isIo = queue === VQ_TX || queue === VQ_RX;
    if (!isIo || stream >= this.#streams || this.#state(stream) !== RUNNING) return false;
    return !(this.#periodMs(stream) > LONGEST_WATCHED_MS);
  }

  /** How long a period of the stream lasts, by its parameters. */
  #periodMs(stream: number): number {
    const { buffer, byteOffset } = this.#params(stream);
    const params = decodePcmSetParams(new DataView(buffer), byteOffset);
    const { bytes = 0 } = SAMPLE_FORMATS.find(({ code }) => code === params.format) ?? {};
    const perSecond = bytes * params.channels * (FRAME_RATES[params.rate] ?? 0);
    return 1000 * params.periodBytes / perSecond;
  }

  #state(stream: number): number {
    return this.#view.getUint32(HEADER_BYTES + stream * STREAM_BYTES, true);
  }

  #params(stream: number): Uint8Array<ArrayBuffer> {
    const at = this.#view.byteOffset + HEADER_BYTES + stream * STREAM_BYTES + 4;
    return new Uint8Array(this.#view.buffer as ArrayBuffer, at, PCM_SET_PARAMS_SIZE).slice();
  }
}

function pcmRequest(code: number, stream: number): Uint8Array<ArrayBuffer> {
  const words = Uint32Array.of(code, stream);
  return new Uint8Array(words.buffer);
}

/** A class without memory: its requests stand each for itself. */
const STATELESS: Replay = {
  queue: -1,
  requestBytes: 0,
  observe: () => {},
  isAnswered: () => false,
  before: () => [],
  after: () => [],
  isDue: () => false,
};

/** The classes that need one; a class without a row here is stateless. */
const REPLAYS: Readonly<Record<number, { queue: number; create: (area: Uint8Array) => Replay }>> = {
  [SOUND_DEVICE_ID]: { queue: VQ_CONTROL, create: (area) => new SoundReplay(area) },
};

/**
 * The replay of a device class.
 *
 * @param area The class's part of the device's state
 * @param epoch The device's life; if the area was written in another, it is cleared
 */
export function replayOf(deviceId: number, area: Uint8Array, epoch: number): Replay {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  if (view.getUint32(0, true) !== epoch) area.fill(0);
  view.setUint32(0, epoch, true);
  return REPLAYS[deviceId]?.create(area) ?? STATELESS;
}

/**
 * Whether viola relays a queue: copies its chains between the driver's ring and one of the back-end's own. With isolated
 * memory every queue; with direct memory only the one whose requests a new back-end must be told again, if there can be
 * a new one, that is, if viola sees the driver's memory at all.
 */
export function isShadowed(device: LaneDevice, deviceId: number, queue: number): boolean {
  if (device.memory === "isolated") return true;
  return device.port.memory.length > 0 && REPLAYS[deviceId]?.queue === queue;
}
