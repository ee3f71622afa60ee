// SPDX-License-Identifier: Apache-2.0
/**
 * A PCM stream of the sound driver (virtio 1.2 §5.14.6.6, §5.14.6.8): its control messages and its buffer, cut into
 * periods, each sent as one message on tx or rx. Does the work of ALSA and Linux's virtio_snd.
 *
 * @module
 */
import type { Segment } from "../../virtio/driver_queue.ts";
import { hasFeature } from "../../virtio/features.ts";
import {
  D_OUTPUT,
  encodePcmHdr,
  encodePcmSetParams,
  FRAME_RATES,
  PCM_F_EVT_XRUNS,
  PCM_F_MSG_POLLING,
  PCM_HDR_SIZE,
  PCM_MOVES,
  PCM_SET_PARAMS_SIZE,
  PCM_STATUS_SIZE,
  PCM_XFER_SIZE,
  type PcmInfo,
  type PcmState,
  R_PCM_PREPARE,
  R_PCM_RELEASE,
  R_PCM_SET_PARAMS,
  R_PCM_START,
  R_PCM_STOP,
  S_OK,
  SAMPLE_FORMATS,
  soundCodeName,
} from "./wire.ts";
import type { ControlQueue } from "./control_queue.ts";
import { PcmBuffer, type PcmMessage } from "./pcm_buffer.ts";
import { attempt, GuestError } from "../../guest/error.ts";
import type { VirtQueue } from "../../guest/transport.ts";
import type { SoundMmioDevice } from "./progress.ts";

/** Stream parameters, ALSA's hw_params. */
export interface HwParams {
  /** Code of a sample format. */
  format: number;
  channels: number;
  /** Code of a frame rate. */
  rate: number;
  /** Frames of a period. */
  periodFrames: number;
  /** Periods in the buffer. */
  periods: number;
}

/** Linux's limits: module parameters pcm_periods_min and pcm_periods_max. */
const PERIODS = { min: 2, max: 16 } as const;

/** The state of a stream after a request that succeeded. */
const LEADS_TO: Readonly<Record<number, PcmState>> = Object.assign({}, ...Object.values(PCM_MOVES));

/** Features of a stream that the driver enables if they are offered. */
const USABLE_FEATURES = 1 << PCM_F_MSG_POLLING | 1 << PCM_F_EVT_XRUNS;

/** One stream of a card. */
export class PcmStream {
  /** Messages that were returned and not handled yet, in order. */
  readonly returned: PcmMessage[] = [];
  readonly #buffer: PcmBuffer;
  /** Bytes of a frame, once parameters are set. */
  frameBytes = 0;
  #state: PcmState = "idle";
  #pending = 0;
  #lastReturn = 0;
  /** Whether returned messages count as played or recorded; not after STOP. */
  #counts = false;

  constructor(
    readonly device: SoundMmioDevice,
    readonly control: ControlQueue,
    readonly queue: VirtQueue<PcmMessage>,
    readonly id: number,
    readonly info: PcmInfo,
  ) {
    this.#buffer = new PcmBuffer(device.pages, info.direction !== D_OUTPUT);
  }

  /** One message for each period of the buffer. */
  get messages(): readonly PcmMessage[] {
    return this.#buffer.messages;
  }

  /** The state, by the last request that succeeded. */
  get state(): PcmState {
    return this.#state;
  }

  /** Number of messages that the device has. */
  get pending(): number {
    return this.#pending;
  }

  /** For errors. */
  get name(): string {
    return `stream ${this.id} of ${this.device.name}`;
  }

  /**
   * Sets the stream's parameters and allocates its buffer.
   *
   * @throws {GuestError} EINVAL for parameters that the stream does not offer; ETIMEDOUT while the device keeps earlier messages
   */
  setParams(params: HwParams): void {
    this.#check(params);
    this.flush();
    const { format, channels, rate, periodFrames, periods } = params;
    const frameBytes = channels * SAMPLE_FORMATS[format]!.bytes;
    const periodBytes = periodFrames * frameBytes;
    const features = this.info.features & USABLE_FEATURES;
    this.#send(R_PCM_SET_PARAMS, PCM_SET_PARAMS_SIZE, (view) =>
      encodePcmSetParams(view, 0, {
        streamId: this.id,
        bufferBytes: periodBytes * periods,
        periodBytes,
        features,
        channels,
        format,
        rate,
      }));
    this.#buffer.free();
    this.frameBytes = frameBytes;
    this.#buffer.allocate(this, periodBytes, periods);
  }

  #check({ format, channels, rate, periodFrames, periods }: HwParams): void {
    const { formats, rates, channelsMin, channelsMax } = this.info;
    if (!hasFeature(formats, format)) {
      const known = SAMPLE_FORMATS.filter(({ code }) => hasFeature(formats, code));
      const names = known.map(({ name }) => name).join(", ");
      this.#refuse(`its format is ${SAMPLE_FORMATS[format]?.name}, expected one of ${names}`);
    }
    if (!hasFeature(rates, rate)) {
      const known = FRAME_RATES.filter((_, code) => hasFeature(rates, code));
      this.#refuse(`its rate is ${FRAME_RATES[rate]} Hz, expected one of ${known.join(", ")}`);
    }
    if (channels < channelsMin || channels > channelsMax) {
      this.#refuse(`it has ${channels} channels, expected ${channelsMin} to ${channelsMax}`);
    }
    if (!Number.isInteger(periods) || periods < PERIODS.min || periods > PERIODS.max) {
      this.#refuse(`it has ${periods} periods, expected ${PERIODS.min} to ${PERIODS.max}`);
    }
    if (!Number.isInteger(periodFrames) || periodFrames < 1) {
      this.#refuse(`its period is ${periodFrames} frames, expected at least 1`);
    }
  }

  /** Prepares the stream for messages. @throws {GuestError} */
  prepare(): void {
    this.#order(R_PCM_PREPARE);
    this.#counts = true;
    this.#lastReturn = performance.now();
  }

  /** Starts it; as in Linux, a start that failed is undone by STOP. @throws {GuestError} */
  start(): void {
    try {
      this.#order(R_PCM_START);
    } catch (error) {
      if (GuestError.is(error)) attempt(() => this.stop());
      throw error;
    }
  }

  /** Stops it; messages stay with the device. @throws {GuestError} */
  stop(): void {
    this.#counts = false;
    this.#order(R_PCM_STOP);
  }

  /** Stops it for a while: what the device has is played after {@linkcode resume}. @throws {GuestError} */
  pause(): void {
    this.#order(R_PCM_STOP);
  }

  /** Starts it again. The pause is no long period. @throws {GuestError} */
  resume(): void {
    this.#order(R_PCM_START);
    this.#lastReturn = performance.now();
  }

  /**
   * Releases the stream: the device returns all messages.
   *
   * @throws {GuestError} ETIMEDOUT when it keeps some
   */
  release(): void {
    this.#order(R_PCM_RELEASE);
    const { timeoutMs } = this.control;
    if (this.device.wait(() => this.#pending === 0, timeoutMs)) return;
    const problem = `the device keeps ${this.#pending} messages after PCM_RELEASE`;
    throw new GuestError("ETIMEDOUT", `flush ${this.name}: ${problem} for ${timeoutMs} ms`);
  }

  /** Gets messages back that a failed use has left with the device. @throws {GuestError} when it keeps them */
  flush(): void {
    if (this.#pending > 0) this.release();
    this.returned.length = 0;
  }

  /** Stops and releases it if its state allows; like Linux, releases even if STOP was not answered. @throws {GuestError} */
  shutDown(): void {
    const runs = this.#state === "running";
    try {
      if (runs) this.stop();
    } finally {
      if (runs || R_PCM_RELEASE in PCM_MOVES[this.#state]) this.release();
    }
  }

  #order(code: number): void {
    this.#send(code, PCM_HDR_SIZE, (view) => encodePcmHdr(view, 0, code, this.id));
  }

  #send(code: number, bytes: number, encode: (view: DataView) => void): void {
    this.control.send(`${soundCodeName(code)} for stream ${this.id}`, bytes, encode);
    this.#state = LEADS_TO[code]!;
    this.device.progress.state = this.#state;
  }

  /**
   * Sends messages to the device, with one notification.
   *
   * @param messages Each with its `length`: a whole period, or less at the end of the stream (§5.14.6.8)
   * @throws {GuestError} ENOSPC when the queue has no room
   */
  send(messages: readonly PcmMessage[]): void {
    try {
      for (const message of messages) this.#add(message);
    } finally {
      // Those that were added will be returned, even if there was no room for all.
      if (!(this.info.features & 1 << PCM_F_MSG_POLLING)) this.queue.kick();
    }
  }

  #add(message: PcmMessage): void {
    const { header, data } = message;
    const { pages } = this.device;
    pages.view(header, PCM_XFER_SIZE).setUint32(0, this.id, true);
    pages.bytes(header + PCM_XFER_SIZE, PCM_STATUS_SIZE).fill(0);
    const segments: Segment[] = [{ address: header, length: PCM_XFER_SIZE, writable: false }];
    let left = message.length;
    for (const segment of data) {
      if (left === 0) break;
      const length = Math.min(left, segment.length);
      segments.push({ ...segment, length });
      left -= length;
    }
    segments.push({ address: header + PCM_XFER_SIZE, length: PCM_STATUS_SIZE, writable: true });
    if (!this.queue.add(segments, message)) {
      const { freeCount, ring } = this.queue.queue;
      const problem = `a message takes ${segments.length} descriptors`;
      throw new GuestError(
        "ENOSPC",
        `queue a period of ${this.name}: ${problem}, ${freeCount} of ${ring.size} are free`,
      );
    }
    this.#pending++;
    this.#buffered(message.length);
  }

  #buffered(bytes: number): void {
    const { progress } = this.device;
    progress.write("buffered", progress.read("buffered") + bytes / this.frameBytes);
  }

  /** A message was returned: called by the interrupt handler. */
  complete(message: PcmMessage, written: number): void {
    const { pages, progress } = this.device;
    this.#buffered(-message.length);
    const status = pages.view(message.header + PCM_XFER_SIZE, PCM_STATUS_SIZE);
    // As in Linux, a captured message without samples counts as a full one.
    const captured = this.info.direction !== D_OUTPUT && written > PCM_STATUS_SIZE;
    if (captured) message.length = written - PCM_STATUS_SIZE;
    this.#pending--;
    this.returned.push(message);
    progress.set("latencyBytes", status.getUint32(4, true));
    if (!this.#counts) return;
    if (status.getUint32(0, true) !== S_OK) progress.count("ioErrors");
    this.#account(message.length / this.frameBytes);
  }

  #account(frames: number): void {
    const { progress } = this.device;
    const now = performance.now();
    const took = now - this.#lastReturn;
    this.#lastReturn = now;
    progress.write("position", progress.read("position") + frames);
    progress.write("periods", progress.read("periods") + 1);
    progress.write("lastPeriodMs", took);
    progress.write("longestPeriodMs", Math.max(took, progress.read("longestPeriodMs")));
  }

  #refuse(problem: string): never {
    throw new GuestError("EINVAL", `set parameters of ${this.name}: ${problem}`);
  }
}
