// SPDX-License-Identifier: Apache-2.0
/**
 * Replay for a new sound back-end: the parameters and the state of each stream.
 *
 * @module
 */
import type { Replay, ReplayRole } from "../../virtio/device_class.ts";
import {
  decodePcmSetParams,
  FRAME_RATES,
  HDR_SIZE,
  PCM_HDR_SIZE,
  PCM_SET_PARAMS_SIZE,
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_SET_PARAMS,
  R_PCM_START,
  R_PCM_STOP,
  S_OK,
  SAMPLE_FORMATS,
  VQ_CONTROL,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";

const STREAM_BYTES = 32;
/** Streams with a higher number are not replayed. */
const STREAMS = 32;
/** Streams with longer periods, in milliseconds, are not watched: they may be silent that long. */
const LONGEST_WATCHED_MS = 2000;
const UNSET = 0;
const PARAMS = 1;
const PREPARED = 2;
const RUNNING = 3;
const STOPPED = 4;

/** The state of a stream after a request that succeeded. RELEASE keeps the parameters (virtio 1.2 §5.14.6.6.1). */
const LEADS_TO: Readonly<Record<number, number>> = {
  [R_PCM_SET_PARAMS]: PARAMS,
  [R_PCM_PREPARE]: PREPARED,
  [R_PCM_START]: RUNNING,
  [R_PCM_STOP]: STOPPED,
  [R_PCM_RELEASE]: PARAMS,
};

const OK = new Uint8Array(Uint32Array.of(S_OK).buffer);

/**
 * Each stream's parameters and state, in 32 bytes a stream: u32 state, 24 bytes SET_PARAMS, 4 unused.
 *
 * START is sent after the buffers in flight were offered: some devices fail a START without buffers.
 */
class SoundReplay implements Replay {
  readonly #view: DataView;

  constructor(area: Uint8Array) {
    this.#view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  }

  observe(request: DataView, length: number): void {
    if (length < PCM_HDR_SIZE) return;
    const code = request.getUint32(0, true);
    const state = LEADS_TO[code];
    const stream = request.getUint32(4, true);
    if (state === undefined || stream >= STREAMS) return;
    const at = stream * STREAM_BYTES;
    if (code === R_PCM_SET_PARAMS && length >= PCM_SET_PARAMS_SIZE) {
      for (let i = 0; i < PCM_SET_PARAMS_SIZE; i += 4) {
        this.#view.setUint32(at + 4 + i, request.getUint32(i, true), true);
      }
    }
    this.#view.setUint32(at, state, true);
  }

  /**
   * RELEASE of a released stream counts as done. Linux sends one when a player opens a stream while the
   * RELEASE of a player that was killed, or gave up, is still unanswered. vhost-device-sound 0.3.0 refuses it.
   */
  refused(request: DataView, length: number): Uint8Array | null {
    if (length < PCM_HDR_SIZE || request.getUint32(0, true) !== R_PCM_RELEASE) return null;
    const stream = request.getUint32(4, true);
    return stream < STREAMS && this.#state(stream) === PARAMS ? OK : null;
  }

  /** Not while a stream is prepared or running; parameters do not matter, the next driver sets them. */
  isClean(): boolean {
    for (let stream = 0; stream < STREAMS; stream++) {
      const state = this.#state(stream);
      if (state !== UNSET && state !== PARAMS) return false;
    }
    return true;
  }

  before(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    for (let stream = 0; stream < STREAMS; stream++) {
      const state = this.#state(stream);
      if (state === UNSET) continue;
      const params = this.#params(stream);
      if (params[0] !== UNSET) messages.push(params); // UNSET: the device accepted PREPARE without parameters
      if (state !== PARAMS) messages.push(pcmRequest(R_PCM_PREPARE, stream));
    }
    return messages;
  }

  after(): Uint8Array<ArrayBuffer>[] {
    const messages: Uint8Array<ArrayBuffer>[] = [];
    for (let stream = 0; stream < STREAMS; stream++) {
      if (this.#state(stream) === RUNNING) messages.push(pcmRequest(R_PCM_START, stream));
    }
    return messages;
  }

  isDue(queue: number, stream: number): boolean {
    const isIo = queue === VQ_TX || queue === VQ_RX;
    if (!isIo || stream >= STREAMS || this.#state(stream) !== RUNNING) return false;
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
    return this.#view.getUint32(stream * STREAM_BYTES, true);
  }

  #params(stream: number): Uint8Array<ArrayBuffer> {
    const at = this.#view.byteOffset + stream * STREAM_BYTES + 4;
    return new Uint8Array(this.#view.buffer as ArrayBuffer, at, PCM_SET_PARAMS_SIZE).slice();
  }
}

function pcmRequest(code: number, stream: number): Uint8Array<ArrayBuffer> {
  const words = Uint32Array.of(code, stream);
  return new Uint8Array(words.buffer);
}

/** Sound's replay. */
export const replay: ReplayRole = {
  queue: VQ_CONTROL,
  stateBytes: STREAMS * STREAM_BYTES,
  requestBytes: PCM_SET_PARAMS_SIZE,
  responseBytes: HDR_SIZE,
  isOk: (response) => response.getUint32(0, true) === S_OK,
  create: (area) => new SoundReplay(area),
};
