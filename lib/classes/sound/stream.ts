// SPDX-License-Identifier: Apache-2.0
/**
 * One PCM stream: its state, its clock, and the buffers it holds (virtio 1.2 §5.14.6.6 and §5.14.6.8).
 *
 * Time. A running stream has an origin, and the end of each buffer is the origin plus all frames since then over the
 * rate: a deadline missed moves no other, so nothing drifts. Samples change hands at the end of their buffer's time,
 * immediately before the buffer is completed: what is completed is in the sink, and a killed device repeats little.
 *
 * The origin moves in three cases only: START, after a pause by as much as the pause took; an xrun, to the moment when
 * buffers came again; a sink or source that was not ready at a deadline, by as much as it was late.
 *
 * @module
 */
import type { Chain } from "../../virtio/chain.ts";
import {
  D_OUTPUT,
  FRAME_RATES,
  PCM_F_EVT_XRUNS,
  PCM_MOVES,
  PCM_STATUS_SIZE,
  PCM_XFER_SIZE,
  type PcmInfo,
  type PcmParams,
  type PcmState,
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_START,
  R_PCM_STOP,
  S_BAD_MSG,
  S_IO_ERR,
  S_NOT_SUPP,
  S_OK,
  SAMPLE_FORMATS,
} from "./wire.ts";
import type { Sink, StreamFormat } from "./sinks.ts";
import type { Source } from "./sources.ts";

/** Most bytes a driver's whole buffer may have: over a second of the most that any format takes. */
const MAX_BUFFER_BYTES = 2 ** 24;
/** Samples are moved in pieces of at most this many bytes. */
const PIECE_BYTES = 2 ** 16;
const NS_PER_SECOND = 1e9;
/** How long a sink may take nothing, a source give nothing, before the buffer that waits for it fails. */
const MAX_STALL_NS = 2e9;

/** What a stream needs of its device. */
export interface StreamHost {
  /** Nanoseconds now. */
  now(): number;
  /** Gives a buffer back. @param bytes Bytes of samples captured, 0 for playback */
  complete(
    stream: Stream,
    chain: Chain,
    status: number,
    latencyBytes: number,
    bytes: number,
  ): void;
  /** The sound was interrupted; tells the driver if it wants to hear of it. */
  xrun(stream: Stream, notify: boolean): void;
  failed(stream: Stream, error: Error): void;
  stateChanged(stream: Stream): void;
}

/** How a stream reaches the world. */
export interface Endpoint {
  openSink?(format: StreamFormat): Sink;
  openSource?(format: StreamFormat): Source;
}

/** What a stream is made with. */
export interface StreamOptions {
  readonly id: number;
  readonly info: PcmInfo;
  readonly endpoint: Endpoint;
  /** False: buffers are completed at once. */
  readonly paced: boolean;
  /** Added to the latency of each buffer played. */
  readonly latencyMs: number;
}

/** One stream. */
export class Stream {
  readonly id: number;
  readonly info: PcmInfo;
  readonly isPlayback: boolean;
  state: PcmState = "idle";
  /** Frames completed since PREPARE. */
  frames = 0;
  /** Interruptions since PREPARE. */
  xruns = 0;
  /** Frames per second, once parameters are set. */
  rate = 1;

  readonly #host: StreamHost;
  readonly #options: StreamOptions;
  #params: PcmParams | null = null;
  #format: StreamFormat | null = null;
  #frameBytes = 1;
  #sink: Sink | null = null;
  #source: Source | null = null;
  readonly #queue: Chain[] = [];

  /** Moment from which frames are counted; null: the next buffer's coming. */
  #origin: number | null = null;
  /** Frames completed since the origin. */
  #played = 0;
  /** While stopped: how far the time was from the origin; null: nothing was being played. */
  #elapsed: number | null = null;
  /** Moment at which the last buffer ended and no other was there; null: there is one. */
  #underrunSince: number | null = null;
  #underrunCounted = false;
  /** Bytes of the first buffer that changed hands. */
  #moved = 0;
  /** Its time is over, but the sink or source was not ready. */
  #stalled = false;
  /** Until when it is waited for, then. */
  #stallEnd = 0;
  /** The last buffer failed: said once, not for each. */
  #failing = false;

  constructor(host: StreamHost, options: StreamOptions) {
    this.#host = host;
    this.#options = options;
    this.id = options.id;
    this.info = options.info;
    this.isPlayback = options.info.direction === D_OUTPUT;
  }

  // ---- control ----

  /** SET_PARAMS: keeps what is possible. @returns a status */
  setParams(params: PcmParams): number {
    const { info } = this;
    const supported = (info.features & params.features) >>> 0 === params.features &&
      params.format < SAMPLE_FORMATS.length &&
      (info.formats >> BigInt(params.format) & 1n) === 1n &&
      params.rate < FRAME_RATES.length && (info.rates >> BigInt(params.rate) & 1n) === 1n &&
      params.channels >= info.channelsMin && params.channels <= info.channelsMax &&
      params.bufferBytes <= MAX_BUFFER_BYTES;
    if (!supported) return S_NOT_SUPP;
    const sample = SAMPLE_FORMATS[params.format]!;
    const frameBytes = sample.bytes * params.channels;
    const { periodBytes, bufferBytes } = params;
    if (periodBytes === 0 || periodBytes % frameBytes !== 0 || bufferBytes < periodBytes) {
      return S_BAD_MSG;
    }
    this.giveBack(S_OK);
    this.#params = params;
    this.rate = FRAME_RATES[params.rate]!;
    this.#format = { sample, channels: params.channels, rate: this.rate };
    this.#frameBytes = frameBytes;
    return S_OK;
  }

  /** Whether buffers may be with it. */
  get #takesBuffers(): boolean {
    return this.state === "prepared" || this.state === "running" || this.state === "stopped";
  }

  /**
   * Makes a legal move, or none for a RELEASE of what holds nothing. Linux sends RELEASE when a player opens a stream whose
   * buffers it does not have back: while the RELEASE of a player before, for which nobody waited, is still on its way.
   *
   * @param code The request
   * @returns a status
   */
  move(code: number, params?: PcmParams): number {
    const next = PCM_MOVES[this.state][code];
    if (next === undefined) {
      return code === R_PCM_RELEASE && !this.#takesBuffers ? S_OK : S_BAD_MSG;
    }
    const status = params === undefined ? this.#moves[code]!() : this.setParams(params);
    if (status !== S_OK || next === this.state) return status;
    this.state = next;
    this.#host.stateChanged(this);
    return S_OK;
  }

  readonly #moves: Readonly<Record<number, () => number>> = {
    [R_PCM_PREPARE]: () => this.#prepare(),
    [R_PCM_START]: () => this.#start(),
    [R_PCM_STOP]: () => this.#stop(),
    [R_PCM_RELEASE]: () => this.#release(),
  };

  #prepare(): number {
    this.frames = this.xruns = 0;
    this.#origin = this.#elapsed = null;
    return S_OK;
  }

  // Only now: to be prepared costs nothing, and programs that merely look at a card prepare it too.
  #open(): void {
    const { openSink, openSource } = this.#options.endpoint;
    if (this.isPlayback) (this.#sink ??= openSink!(this.#format!)).restart?.();
    else (this.#source ??= openSource!(this.#format!)).restart?.();
    this.#failing = false;
  }

  #start(): number {
    try {
      this.#open();
    } catch (error) {
      this.#host.failed(this, error as Error);
      return S_IO_ERR;
    }
    const now = this.#host.now();
    if (this.#elapsed !== null) this.#origin = now - this.#elapsed;
    else this.#setOrigin(this.#queue.length > 0 ? now : null);
    return S_OK;
  }

  #stop(): number {
    const { now } = this.#host;
    const busy = this.#origin !== null && this.#queue.length > 0;
    this.#elapsed = busy ? Math.min(now(), this.#headEnd()) - this.#origin! : null;
    this.#underrunSince = null;
    this.#stalled = false;
    return S_OK;
  }

  #release(): number {
    this.giveBack(S_OK);
    this.close();
    return S_OK;
  }

  /** Completes all buffers it holds, unplayed. */
  giveBack(status: number): void {
    for (const chain of this.#queue) this.#host.complete(this, chain, status, 0, 0);
    this.forget();
  }

  /** Drops all buffers it holds without completing them: the driver's memory is gone. */
  forget(): void {
    this.#queue.length = 0;
    this.#sink?.rollback();
    this.#moved = 0;
    this.#stalled = false;
    this.#underrunSince = null;
    this.#origin = this.#elapsed = null;
  }

  /** Closes what it plays to or captures from. */
  close(): void {
    const [sink, source] = [this.#sink, this.#source];
    this.#sink = this.#source = null;
    try {
      sink?.close();
      source?.close();
    } catch (error) {
      this.#host.failed(this, error as Error);
    }
  }

  /** As it was made: no parameters, no buffers. */
  reset(): void {
    this.forget();
    this.close();
    this.#params = this.#format = null;
    if (this.state === "idle") return;
    this.state = "idle";
    this.#host.stateChanged(this);
  }

  // ---- buffers ----

  /** Takes a buffer in line, or gives it back at once if it can be none. */
  offer(chain: Chain): void {
    const bytes = this.#bytesOf(chain);
    // Without a bound a buffer whose segments all name the same memory could be played for hours.
    const possible = bytes > 0 && bytes % this.#frameBytes === 0 &&
      bytes <= (this.#params?.bufferBytes ?? 0);
    if (!this.#takesBuffers || !possible) return this.#host.complete(this, chain, S_BAD_MSG, 0, 0);
    this.#queue.push(chain);
    if (this.state === "running" && this.#queue.length === 1) this.#resume();
  }

  #bytesOf(chain: Chain): number {
    return this.isPlayback
      ? chain.readableBytes - PCM_XFER_SIZE
      : chain.writableBytes - PCM_STATUS_SIZE;
  }

  /** A buffer came to a running stream that had none. */
  #resume(): void {
    const now = this.#host.now();
    if (this.#underrunSince === null) return this.#setOrigin(now);
    const late = now > this.#underrunSince;
    if (late && !this.#underrunCounted) this.#countXrun();
    if (late) this.#setOrigin(now);
    this.#underrunSince = null;
  }

  #setOrigin(moment: number | null): void {
    this.#origin = moment;
    this.#played = 0;
  }

  #countXrun(): void {
    this.xruns++;
    const wanted = (this.#params!.features >> PCM_F_EVT_XRUNS & 1) === 1;
    this.#host.xrun(this, wanted);
  }

  // ---- time ----

  /** When {@linkcode tick} has something to do; Infinity: not by time alone. */
  deadline(): number {
    if (this.state !== "running") return Infinity;
    if (this.#stalled) return this.#stallEnd;
    if (!this.#options.paced) return Infinity;
    if (this.#queue.length > 0) return this.#headEnd();
    return this.#underrunSince === null || this.#underrunCounted ? Infinity : this.#underrunEnd();
  }

  /** The sink has room, or the source has samples. */
  ready(): void {
    if (!this.#stalled || this.state !== "running") return;
    const now = this.#host.now();
    this.tick(now, true);
  }

  /** Does all that is due at `now`. */
  tick(now: number, ready = false): void {
    if (this.state !== "running" || (this.#stalled && !ready && now < this.#stallEnd)) return;
    while (this.#queue.length > 0 && (!this.#options.paced || this.#headEnd() <= now)) {
      if (!this.#completeHead(now)) return;
    }
    const isUnderrun = this.#queue.length === 0 && this.#underrunSince !== null &&
      !this.#underrunCounted;
    if (isUnderrun && this.#underrunEnd() <= now) {
      this.#underrunCounted = true;
      this.#countXrun();
    }
  }

  #headEnd(): number {
    const frames = this.#played + this.#bytesOf(this.#queue[0]!) / this.#frameBytes;
    return this.#origin! + frames * NS_PER_SECOND / this.rate;
  }

  #underrunEnd(): number {
    const frames = this.#params!.periodBytes / this.#frameBytes;
    return this.#underrunSince! + frames * NS_PER_SECOND / this.rate;
  }

  /** @returns false when the sink or source is not ready */
  #completeHead(now: number): boolean {
    const chain = this.#queue[0]!;
    const bytes = this.#bytesOf(chain);
    let status = S_OK;
    try {
      const before = this.#moved;
      if (!(this.isPlayback ? this.#play(chain, bytes) : this.#capture(chain, bytes))) {
        this.#stall(now, this.#moved > before);
        return false;
      }
      this.#failing = false;
    } catch (error) {
      status = S_IO_ERR;
      this.#sink?.rollback();
      if (!this.#failing) this.#host.failed(this, error as Error);
      this.#failing = true;
    }
    if (this.#stalled) this.#origin! += Math.max(0, now - this.#headEnd());
    this.#finishHead(chain, bytes, status);
    return true;
  }

  /** @throws {Error} when it took too long, or did before and no sample has passed since */
  #stall(now: number, moved: boolean): void {
    if (!this.#stalled || moved) this.#stallEnd = now + MAX_STALL_NS;
    this.#stalled = true;
    if (!this.#failing && now < this.#stallEnd) return;
    const what = this.isPlayback ? "play: its sink takes" : "capture: its source gives";
    const seconds = MAX_STALL_NS / NS_PER_SECOND;
    throw new Error(`Cannot ${what} no samples for ${seconds} s (stream ${this.id})`);
  }

  #finishHead(chain: Chain, bytes: number, status: number): void {
    const end = this.#headEnd();
    const frames = bytes / this.#frameBytes;
    this.#played += frames;
    this.frames += frames;
    this.#queue.shift();
    this.#host.complete(this, chain, status, this.#latency(), this.isPlayback ? 0 : this.#moved);
    this.#moved = 0;
    this.#stalled = false;
    if (this.#queue.length > 0 || !this.#options.paced) return;
    this.#underrunSince = end;
    this.#underrunCounted = false;
  }

  #latency(): number {
    if (this.#sink === null) return 0;
    const frames = Math.round(this.#options.latencyMs * this.rate / 1000);
    return this.#sink.waiting() + frames * this.#frameBytes;
  }

  #play(chain: Chain, bytes: number): boolean {
    const sink = this.#sink!;
    while (this.#moved < bytes) {
      const length = Math.min(bytes - this.#moved, PIECE_BYTES);
      chain.gather(PCM_XFER_SIZE + this.#moved, piece, 0, length);
      const taken = sink.write(piece, 0, length);
      this.#moved += taken;
      if (taken < length) return false;
    }
    sink.commit();
    return true;
  }

  #capture(chain: Chain, bytes: number): boolean {
    const most = PIECE_BYTES - PIECE_BYTES % this.#frameBytes;
    while (this.#moved < bytes) {
      const length = Math.min(bytes - this.#moved, most);
      const given = this.#source!.read(piece, 0, length);
      chain.scatter(this.#moved, piece, 0, given);
      this.#moved += given;
      if (given === 0) return false; // after some, it is asked again: it may have ended
    }
    return true;
  }
}

/** Streams of one isolate move samples one after the other. */
const piece = new Uint8Array(PIECE_BYTES);
