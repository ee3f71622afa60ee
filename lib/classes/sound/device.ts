// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device (virtio 1.2 §5.14): jacks, streams and channel maps behind four rings.
 *
 * Whatever wakes it, it takes one turn: control requests, then buffers, then what is due by the clock, then interrupts.
 * It holds a buffer's chain from when it is offered until its time is over.
 *
 * @module
 */
import { Chain } from "../../virtio/chain.ts";
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../../virtio/features.ts";
import {
  encodeEvent,
  encodePcmStatus,
  encodeSoundConfig,
  EVENT_SIZE,
  EVT_JACK_CONNECTED,
  EVT_JACK_DISCONNECTED,
  EVT_PCM_XRUN,
  HDR_SIZE,
  type JackInfo,
  PCM_STATUS_SIZE,
  PCM_XFER_SIZE,
  R_PCM_RELEASE,
  R_PCM_START,
  R_PCM_STOP,
  S_BAD_MSG,
  S_IO_ERR,
  SOUND_CONFIG_SIZE,
  SOUND_DEVICE_ID,
  VQ_CONTROL,
  VQ_EVENT,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";
import type { BackEndDevice, BackEndRing } from "../../vhost_user/back_end.ts";
import type { Clock } from "../../device/clock.ts";
import type { Commands } from "../../device/command.ts";
import { OpenFiles } from "./files.ts";
import { capture, chmapsOf, jackOf, playback } from "./offers.ts";
import { openSink, type Surroundings } from "./sinks.ts";
import { answerControl, type Card, REQUEST_BYTES } from "./control.ts";
import { openSource } from "./sources.ts";
import {
  type DeviceEvent,
  parseSound,
  type SinkSpec,
  type SoundSpec,
  type SourceSpec,
} from "./spec.ts";
import { type Endpoint, Stream, type StreamHost } from "./stream.ts";

const POSITION_INTERVAL_NS = 1e8;
/** Requests that concern buffers: those offered before them must be known first. */
const NEEDS_BUFFERS: ReadonlySet<number> = new Set([R_PCM_START, R_PCM_STOP, R_PCM_RELEASE]);

/** What a sound device is made with. */
export interface SoundParts {
  readonly clock: Clock;
  readonly commands: Commands;
  readonly onEvent: (event: DeviceEvent) => void;
}

/** A sound card. */
export class SoundDevice implements BackEndDevice {
  readonly name = "sound";
  readonly deviceId = SOUND_DEVICE_ID;
  readonly features: bigint = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_RING_INDIRECT_DESC) |
    bit(VIRTIO_F_RING_EVENT_IDX);
  readonly queueCount = 4;
  readonly maxQueueSize = 256;

  readonly #clock: Clock;
  readonly #onEvent: (event: DeviceEvent) => void;
  readonly #streams: Stream[];
  readonly #jacks: JackInfo[];
  readonly #card: Card;
  readonly #rings: (BackEndRing | null)[] = [null, null, null, null];
  /** Chains to fill: they are made once and go round. */
  readonly #chains: Chain[] = [];
  /** A control request. */
  readonly #request = new Uint8Array(REQUEST_BYTES);
  /** A buffer's header, a status or an event. */
  readonly #scratch = new DataView(new ArrayBuffer(8));
  readonly #scratchBytes = new Uint8Array(this.#scratch.buffer);
  /** A ring had more than a turn takes: the next must come at once. */
  #again = false;
  readonly #positions: { told: number; frames: number }[];

  /** @throws {SpecError} @throws {WavError} when a source's file cannot be read */
  constructor(spec: SoundSpec, { clock, commands, onEvent }: SoundParts) {
    this.#clock = clock;
    this.#onEvent = onEvent;
    const { sinks, sources } = parseSound(spec);
    const directions = [
      ...sinks.map((sink, nid) => ({ ...playback(sink, nid), sink })),
      ...sources.map((source, nid) => ({ ...capture(source, nid), source })),
    ];
    const host = this.#host();
    const files = new OpenFiles();
    this.#streams = directions.map(({ info, remarks, ...ends }, id) => {
      const onReady = (): void => {
        this.#streams[id]!.ready();
        this.turn();
      };
      const onNotice = (text: string) => onEvent({ kind: "notice", text, stream: id });
      const endpoint = endpointOf(ends, { commands, files, onReady, onNotice });
      remarks.forEach(onNotice);
      const { latencyMs = 0, pace = "real" } = spec;
      return new Stream(host, { id, info, endpoint, latencyMs, paced: pace === "real" });
    });
    this.#jacks = this.#streams.map((stream, i) => jackOf(stream.info, i));
    const chmaps = this.#streams.flatMap((stream) => chmapsOf(stream.info));
    this.#card = { jacks: this.#jacks, streams: this.#streams, chmaps };
    this.#positions = this.#streams.map(() => ({ told: 0, frames: 0 }));
    clock.onAlarm = () => this.turn();
  }

  #host(): StreamHost {
    return {
      now: () => this.#clock.now(),
      complete: (stream, chain, status, latency, bytes) => {
        const ring = this.#rings[stream.isPlayback ? VQ_TX : VQ_RX]!;
        this.#complete(ring, chain, status, latency, bytes, stream.isPlayback);
      },
      xrun: (stream, notify) => {
        if (notify) this.#sendEvent(EVT_PCM_XRUN, stream.id);
        this.#tellXrun(stream);
      },
      failed: (stream, error) =>
        this.#onEvent({ kind: "error", text: error.message, stream: stream.id }),
      stateChanged: (stream) => this.#tellState(stream),
    };
  }

  readConfig(): Uint8Array {
    const config = new Uint8Array(SOUND_CONFIG_SIZE);
    const { jacks, streams, chmaps } = this.#card;
    encodeSoundConfig(new DataView(config.buffer), 0, {
      jacks: jacks.length,
      streams: streams.length,
      chmaps: chmaps.length,
    });
    return config;
  }

  startRing(ring: BackEndRing): void {
    this.#rings[ring.index] = ring;
    ring.onKick = () => this.turn();
    this.turn();
  }

  stopRing(index: number, abandoned: boolean): void {
    for (const stream of this.#streamsOf(index)) {
      if (abandoned) stream.forget();
      else stream.giveBack(S_IO_ERR);
    }
    this.#rings[index]?.call();
    this.#rings[index] = null;
    this.#arm();
  }

  disconnected(): void {
    for (const stream of this.#streams) stream.reset();
    this.#arm();
  }

  /** Plugs a jack in or out, and tells the driver. @throws {RangeError} when there is no such jack */
  setJack(id: number, connected: boolean): void {
    const jack = this.#jacks[id];
    if (jack === undefined) {
      throw new RangeError(`Cannot plug jack ${id}, expected one below ${this.#jacks.length}`);
    }
    if (jack.connected === connected) return;
    jack.connected = connected;
    this.#sendEvent(connected ? EVT_JACK_CONNECTED : EVT_JACK_DISCONNECTED, id);
    this.#rings[VQ_EVENT]?.call();
  }

  #streamsOf(index: number): Stream[] {
    const isPlayback = index === VQ_TX;
    if (index !== VQ_TX && index !== VQ_RX) return [];
    return this.#streams.filter((stream) => stream.isPlayback === isPlayback);
  }

  // ---- a turn ----

  /** Does all there is to do. */
  turn(): void {
    this.#again = false;
    this.#pump(VQ_CONTROL, this.#onControl);
    this.#pumpBuffers();
    const now = this.#clock.now();
    for (const stream of this.#streams) {
      stream.tick(now);
      if (stream.state === "running") this.#tellPosition(stream, now);
    }
    for (const ring of this.#rings) ring?.call();
    this.#arm();
  }

  #arm(): void {
    let next = Infinity;
    for (const stream of this.#streams) next = Math.min(next, stream.deadline());
    this.#clock.arm(this.#again ? 0 : next);
  }

  #pumpBuffers(): void {
    this.#pump(VQ_TX, this.#onTx);
    this.#pump(VQ_RX, this.#onRx);
  }

  /** Takes what a ring offers, up to as many chains as it has room for: a driver that never stops must not stop us. */
  #pump(index: number, take: (ring: BackEndRing, chain: Chain) => void): void {
    const live = this.#rings[index];
    if (live === null || live === undefined) return;
    const { ring } = live;
    try {
      for (let budget = ring.size; budget > 0;) {
        const chain = this.#chains.pop() ?? new Chain();
        if (ring.pop(chain)) {
          take(live, chain);
          budget--;
        } else {
          this.#chains.push(chain);
          if (!ring.enableNotifications()) return;
        }
      }
      this.#again = true;
    } catch (error) {
      this.#giveUp(live, error as Error);
    }
  }

  /** A ring that lies is served no more, until the driver resets it. */
  #giveUp(ring: BackEndRing, error: Error): void {
    this.#rings[ring.index] = null;
    for (const stream of this.#streamsOf(ring.index)) stream.forget();
    ring.fail(error);
  }

  readonly #onControl = (ring: BackEndRing, chain: Chain): void => {
    if (chain.writableBytes < HDR_SIZE) return this.#refuse(ring, chain, HDR_SIZE);
    const length = chain.gather(0, this.#request, 0, REQUEST_BYTES);
    const request = new DataView(this.#request.buffer, 0, length);
    const needsBuffers = length >= HDR_SIZE && NEEDS_BUFFERS.has(request.getUint32(0, true));
    if (needsBuffers) this.#pumpBuffers();
    const answer = answerControl(this.#card, request, chain.writableBytes);
    this.#return(ring, chain, chain.scatter(0, answer));
  };

  readonly #onTx = (ring: BackEndRing, chain: Chain): void => this.#onBuffer(ring, chain, true);

  readonly #onRx = (ring: BackEndRing, chain: Chain): void => this.#onBuffer(ring, chain, false);

  #onBuffer(ring: BackEndRing, chain: Chain, isPlayback: boolean): void {
    if (chain.writableBytes < PCM_STATUS_SIZE) return this.#refuse(ring, chain, PCM_STATUS_SIZE);
    const length = chain.gather(0, this.#scratchBytes, 0, PCM_XFER_SIZE);
    const stream = length < PCM_XFER_SIZE
      ? undefined
      : this.#streams[this.#scratch.getUint32(0, true)];
    if (stream !== undefined && stream.isPlayback === isPlayback) stream.offer(chain);
    else this.#complete(ring, chain, S_BAD_MSG, 0, 0, isPlayback);
  }

  /** The status closes a buffer: of one captured it is the last that the driver has room for. */
  #complete(
    ring: BackEndRing,
    chain: Chain,
    status: number,
    latency: number,
    bytes: number,
    isPlayback: boolean,
  ): void {
    encodePcmStatus(this.#scratch, 0, status, latency);
    const at = isPlayback ? 0 : chain.writableBytes - PCM_STATUS_SIZE;
    chain.scatter(at, this.#scratchBytes, 0, PCM_STATUS_SIZE);
    this.#return(ring, chain, bytes + PCM_STATUS_SIZE);
  }

  #return(ring: BackEndRing, chain: Chain, length: number): void {
    ring.ring.complete(chain.head, length);
    this.#chains.push(chain);
  }

  /** There is no room to say what is wrong. */
  #refuse(ring: BackEndRing, chain: Chain, expected: number): void {
    const text =
      `Cannot answer a request in queue ${ring.index} of ${this.name}: it has room for ` +
      `${chain.writableBytes} bytes, expected ${expected}`;
    this.#return(ring, chain, 0);
    this.#onEvent({ kind: "error", text });
  }

  /** Without a buffer to put it in, an event is lost (virtio 1.2 §5.14.6.2). */
  #sendEvent(code: number, data: number): void {
    const live = this.#rings[VQ_EVENT];
    if (live === null || live === undefined) return;
    const chain = this.#chains.pop() ?? new Chain();
    try {
      if (!live.ring.pop(chain)) {
        this.#chains.push(chain);
        return;
      }
      if (chain.writableBytes < EVENT_SIZE) return this.#refuse(live, chain, EVENT_SIZE);
      encodeEvent(this.#scratch, 0, code, data);
      this.#return(live, chain, chain.scatter(0, this.#scratchBytes, 0, EVENT_SIZE));
    } catch (error) {
      this.#giveUp(live, error as Error);
    }
  }

  // ---- reports ----

  #tellState(stream: Stream): void {
    const { id, state, frames } = stream;
    this.#onEvent({
      kind: "state",
      text: `Stream ${id} is ${state}`,
      stream: id,
      state,
      frames,
    });
  }

  #tellXrun({ id, xruns, isPlayback }: Stream): void {
    const what = isPlayback ? "had nothing to play" : "had nowhere to put samples";
    const text = `Stream ${id} ${what} (${xruns} times)`;
    this.#onEvent({ kind: "xrun", text, stream: id, count: xruns });
  }

  #tellPosition({ id, frames, rate }: Stream, now: number): void {
    const last = this.#positions[id]!;
    if (frames === last.frames || now < last.told + POSITION_INTERVAL_NS) return;
    last.told = now;
    last.frames = frames;
    const seconds = frames / rate;
    const text = `Stream ${id} is at ${seconds.toFixed(1)} s`;
    this.#onEvent({ kind: "position", text, stream: id, frames, seconds });
  }
}

function endpointOf(
  ends: { sink?: SinkSpec; source?: SourceSpec },
  around: Surroundings,
): Endpoint {
  const { sink, source } = ends;
  if (sink !== undefined) return { openSink: (format) => openSink(sink, format, around) };
  return { openSource: (format) => openSource(source!, format, around) };
}
