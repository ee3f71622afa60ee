// SPDX-License-Identifier: Apache-2.0
/**
 * One PCM stream: its state and the buffers it holds (virtio 1.2 §5.14.6.6 and §5.14.6.8).
 *
 * Samples are moved at the end of their buffer's time, immediately before the buffer is completed: the samples of a
 * completed buffer are in the sink, and a device that is killed and started again repeats few of them.
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
import { TooSlow } from "./file_ends.ts";
import { type Endpoint, MAX_STALL_NS, Samples } from "./samples.ts";
import type { StreamSetup } from "./sinks.ts";
import { StreamClock } from "./stream_clock.ts";

/** The most bytes of a driver's whole buffer: more than a second of the largest format. */
const MAX_BUFFER_BYTES = 2 ** 24;

/** What a stream needs of its device. */
export interface StreamHost {
  /** The time, in nanoseconds. */
  now(): number;
  /** Completes a buffer. @param bytes Bytes of samples captured, 0 for playback */
  complete(
    stream: Stream,
    chain: Chain,
    status: number,
    latencyBytes: number,
    bytes: number,
  ): void;
  /** Reports an xrun. @param notify Whether the driver asked for XRUN events */
  xrun(stream: Stream, notify: boolean): void;
  /** Reports that the sink or source failed. */
  failed(stream: Stream, error: Error): void;
  /** Reports a change of the state. */
  stateChanged(stream: Stream): void;
}

/** Options of a stream. */
export interface StreamOptions {
  readonly id: number;
  readonly info: PcmInfo;
  readonly endpoint: Endpoint;
  /** Whether buffers are completed by the clock; false: at once. */
  readonly paced: boolean;
  /** Added to the latency of each buffer played. */
  readonly latencyMs: number;
}

/** Parameters that the driver has set. */
interface Setup {
  readonly params: PcmParams;
  readonly format: StreamSetup;
  readonly frameBytes: number;
}

/** One stream. */
export class Stream {
  readonly id: number;
  readonly info: PcmInfo;
  readonly isPlayback: boolean;
  state: PcmState = "idle";
  /** Frames completed since PREPARE. */
  frames = 0;
  /** Xruns since PREPARE. */
  xruns = 0;

  readonly #host: StreamHost;
  readonly #options: StreamOptions;
  readonly #queue: Chain[] = [];
  readonly #clock = new StreamClock();
  readonly #samples: Samples;
  #setup: Setup | null = null;

  constructor(host: StreamHost, options: StreamOptions) {
    this.#host = host;
    this.#options = options;
    this.id = options.id;
    this.info = options.info;
    this.isPlayback = options.info.direction === D_OUTPUT;
    this.#samples = new Samples(options.endpoint, this.isPlayback, options.id);
  }

  /** Frames per second, once parameters are set. */
  get rate(): number {
    return this.#clock.rate;
  }

  // ---- control ----

  /** SET_PARAMS: accepts what the stream offers. @returns a status */
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
    this.completeAll(S_OK);
    const rate = FRAME_RATES[params.rate]!;
    const format = { sample, channels: params.channels, rate, bufferBytes };
    this.#setup = { params, format, frameBytes };
    this.#clock.rate = rate;
    return S_OK;
  }

  /** Whether the stream may have buffers in this state. */
  get #takesBuffers(): boolean {
    return this.state === "prepared" || this.state === "running" || this.state === "stopped";
  }

  /**
   * Carries out a request that changes the state, if the present state allows it. RELEASE of a stream without buffers is
   * always OK: Linux sends one when a player opens the stream while the RELEASE of a previous player is still unanswered.
   *
   * @param code The request
   * @returns a status; null for a START that waits for a file to be opened, and is to be carried out again
   */
  move(code: number, params?: PcmParams): number | null {
    const next = PCM_MOVES[this.state][code];
    if (next === undefined) {
      return code === R_PCM_RELEASE && !this.#takesBuffers ? S_OK : S_BAD_MSG;
    }
    const status = params === undefined ? this.#carryOut(code) : this.setParams(params);
    if (status !== S_OK || next === this.state) return status;
    this.state = next;
    this.#host.stateChanged(this);
    return S_OK;
  }

  #carryOut(code: number): number | null {
    switch (code) {
      case R_PCM_PREPARE:
        this.frames = this.xruns = 0;
        this.#clock.clear();
        return S_OK;
      case R_PCM_START:
        return this.#start();
      case R_PCM_STOP:
        this.#clock.stop(this.#host.now(), this.#queue.length > 0 ? this.#headFrames() : null);
        this.#samples.clearStall();
        return S_OK;
      default: // RELEASE
        this.completeAll(S_OK);
        this.close();
        return S_OK;
    }
  }

  // The sink is opened here and not by PREPARE, which programs also send when they only look at a card.
  #start(): number | null {
    try {
      if (!this.#samples.open(this.#setup!.format)) return null;
    } catch (error) {
      this.#host.failed(this, error as Error);
      return S_IO_ERR;
    }
    this.#clock.start(this.#host.now(), this.#queue.length > 0);
    return S_OK;
  }

  /** Completes all buffers, unplayed. */
  completeAll(status: number): void {
    for (const chain of this.#queue) this.#host.complete(this, chain, status, 0, 0);
    this.forget();
  }

  /** Drops all buffers without completing them: the driver's memory is gone. */
  forget(): void {
    this.#queue.length = 0;
    this.#samples.drop();
    this.#clock.clearUnderrun();
    this.#clock.clear();
  }

  /** Closes the sink or source. */
  close(): void {
    try {
      this.#samples.close();
    } catch (error) {
      this.#host.failed(this, error as Error);
    }
  }

  /** Returns to the initial state: no parameters, no buffers. */
  reset(): void {
    this.forget();
    this.close();
    this.#setup = null;
    if (this.state === "idle") return;
    this.state = "idle";
    this.#host.stateChanged(this);
  }

  // ---- buffers ----

  /** Queues a buffer, or completes it at once if it is malformed or the state allows none. */
  offer(chain: Chain): void {
    const bytes = this.#bytesOf(chain);
    // Without the upper bound a buffer whose segments all name the same memory could play for hours.
    const valid = this.#setup !== null && bytes > 0 && bytes % this.#setup.frameBytes === 0 &&
      bytes <= this.#setup.params.bufferBytes;
    if (!this.#takesBuffers || !valid) return this.#host.complete(this, chain, S_BAD_MSG, 0, 0);
    this.#queue.push(chain);
    if (this.state !== "running" || this.#queue.length > 1) return;
    if (this.#clock.bufferArrived(this.#host.now())) this.#countXrun();
  }

  #bytesOf(chain: Chain): number {
    return this.isPlayback
      ? chain.readableBytes - PCM_XFER_SIZE
      : chain.writableBytes - PCM_STATUS_SIZE;
  }

  #headFrames(): number {
    return this.#bytesOf(this.#queue[0]!) / this.#setup!.frameBytes;
  }

  get #periodFrames(): number {
    const { params, frameBytes } = this.#setup!;
    return params.periodBytes / frameBytes;
  }

  #countXrun(): void {
    this.xruns++;
    const wanted = (this.#setup!.params.features >> PCM_F_EVT_XRUNS & 1) === 1;
    this.#host.xrun(this, wanted);
  }

  // ---- time ----

  /** When {@linkcode tick} is due next; Infinity: not before another buffer or request. */
  deadline(): number {
    if (this.state !== "running") return Infinity;
    if (this.#samples.stallEnd !== null) return this.#samples.stallEnd;
    if (!this.#options.paced) return Infinity;
    if (this.#queue.length > 0) return this.#clock.endOf(this.#headFrames());
    return this.#clock.underrunDeadline(this.#periodFrames);
  }

  /** The sink has room, or the source has samples. */
  ready(): void {
    if (this.#samples.stallEnd === null || this.state !== "running") return;
    this.tick(this.#host.now(), true);
  }

  /** Completes all buffers that are due at `now`, and counts an underrun. */
  tick(now: number, ready = false): void {
    const stalled = now < (this.#samples.stallEnd ?? now);
    if (this.state !== "running" || (stalled && !ready)) return;
    while (this.#queue.length > 0) {
      if (this.#options.paced && this.#clock.endOf(this.#headFrames()) > now) break;
      if (!this.#completeHead(now)) return;
    }
    if (this.#queue.length > 0) return;
    if (this.#clock.countUnderrun(now, this.#periodFrames)) this.#countXrun();
  }

  /** @returns false when the sink or source is not ready */
  #completeHead(now: number): boolean {
    const chain = this.#queue[0]!;
    const bytes = this.#bytesOf(chain);
    const holdEnd = this.#holdEnd();
    let status = S_OK;
    try {
      const when = { now, holdEnd };
      if (!this.#samples.move(chain, bytes, this.#setup!.frameBytes, when)) return false;
    } catch (error) {
      status = S_IO_ERR;
      if (this.#samples.fail()) this.#reportFailure(error as Error);
    }
    const isLate = this.#samples.stallEnd !== null && holdEnd === null;
    if (isLate) this.#clock.delay(now, this.#headFrames());
    this.#finishHead(chain, status);
    return true;
  }

  #reportFailure(error: Error): void {
    this.#host.failed(this, error);
    if (TooSlow.is(error)) this.#countXrun();
  }

  /**
   * How long the first buffer may wait for its file: as long as the driver can bear it. It can while it has more buffers here,
   * of which half a period must be left to bring others; and for half a period in any case. Null: the samples are not in a
   * file, or there is no clock to keep.
   */
  #holdEnd(): number | null {
    if (!this.#options.paced || !this.#samples.isFile) return null;
    const due = this.#clock.endOf(this.#headFrames());
    const { frameBytes } = this.#setup!;
    const bytes = this.#queue.reduce((sum, chain) => sum + this.#bytesOf(chain), 0);
    const half = this.#clock.duration(this.#periodFrames / 2);
    const bearable = this.#clock.endOf(bytes / frameBytes) - half;
    return Math.min(Math.max(due + half, bearable), due + MAX_STALL_NS);
  }

  #finishHead(chain: Chain, status: number): void {
    const frames = this.#headFrames();
    const end = this.#clock.complete(frames);
    this.frames += frames;
    this.#queue.shift();
    const captured = this.isPlayback ? 0 : this.#samples.moved;
    this.#host.complete(this, chain, status, this.#latency(), captured);
    this.#samples.next();
    if (this.#queue.length === 0 && this.#options.paced) this.#clock.ranOut(end);
  }

  /** Bytes between the driver and the ear. */
  #latency(): number {
    const waiting = this.#samples.waiting();
    if (waiting === null) return 0;
    const frames = Math.round(this.#options.latencyMs * this.rate / 1000);
    return waiting + frames * this.#setup!.frameBytes;
  }
}
