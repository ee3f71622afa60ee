// SPDX-License-Identifier: Apache-2.0
/**
 * The sound device (virtio 1.2 §5.14): jacks, streams and channel maps behind four queues. It keeps a buffer's chain from
 * the offer until the end of the buffer's time.
 *
 * @module
 */
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import {
  encodeEvent,
  encodePcmStatus,
  encodeSoundConfig,
  EVENT_SIZE,
  EVT_JACK_CONNECTED,
  EVT_JACK_DISCONNECTED,
  EVT_PCM_XRUN,
  type JackInfo,
  PCM_STATUS_SIZE,
  PCM_XFER_SIZE,
  S_BAD_MSG,
  S_IO_ERR,
  SOUND_CONFIG_SIZE_CTLS,
  VQ_CONTROL,
  VQ_EVENT,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";
import { checkSound } from "./check.ts";
import { sound } from "./class.ts";
import { ControlRequests } from "./control_requests.ts";
import { FilePort } from "./file_ends.ts";
import { type FileThread, type StartFileThread, startFileThread } from "./file_thread.ts";
import { capture, chmapsOf, jackOf, playback } from "./offers.ts";
import { openSink, type Surroundings } from "./sinks.ts";
import type { Card } from "./control.ts";
import { openSource } from "./sources.ts";
import {
  DEFAULT_GRACE_MS,
  parseSound,
  type SinkSpec,
  type SoundDeviceContract,
  type SoundEvent,
  type SoundSpec,
  type SourceSpec,
} from "./spec.ts";
import type { Endpoint } from "./samples.ts";
import { Stream, type StreamHost } from "./stream.ts";

const POSITION_INTERVAL_NS = 1e8;

/** A sound card. */
class SoundDevice implements VirtioDevice<SoundDeviceContract> {
  readonly calls: SoundDeviceContract["calls"];
  readonly #host: DeviceHost<SoundEvent>;
  readonly #streams: Stream[];
  readonly #jacks: JackInfo[];
  readonly #card: Card;
  readonly #control: ControlRequests;
  /** Of each stream with a file. */
  readonly #ports: FilePort[] = [];
  #files: FileThread | null = null;
  /** A buffer's header, a status or an event. */
  readonly #scratch = new DataView(new ArrayBuffer(8));
  readonly #scratchBytes = new Uint8Array(this.#scratch.buffer);
  readonly #positions: { reported: number; frames: number }[];

  /** @throws {SpecError} @throws {WavError} when a source's file cannot be read @throws {Error} when the thread for files does not start */
  constructor(spec: SoundSpec, host: DeviceHost<SoundEvent>, startFiles: StartFileThread) {
    this.#host = host;
    const { sinks, sources } = parseSound(spec);
    const directions = [
      ...sinks.map((sink, nid) => ({ ...playback(sink, nid), sink, kind: sink.kind })),
      ...sources.map((source, nid) => ({ ...capture(source, nid), source, kind: source.kind })),
    ];
    const streamHost = this.#streamHost();
    this.#streams = directions.map(({ info, remarks, kind, ...ends }, id) => {
      const onReady = (): void => {
        this.#streams[id]!.ready();
        host.wake();
      };
      const onNotice = (text: string) => host.report({ kind: "notice", text, stream: id });
      const { commands } = host;
      const port = kind === "wav" ? this.#portOf(id) : null;
      const endpoint = endpointOf(ends, { commands, port, onReady, onNotice });
      remarks.forEach(onNotice);
      const { latencyMs = 0, pace = "real" } = spec;
      return new Stream(streamHost, { id, info, endpoint, latencyMs, paced: pace === "real" });
    });
    this.#jacks = this.#streams.map((stream, i) => jackOf(stream.info, i));
    const chmaps = this.#streams.flatMap((stream) => chmapsOf(stream.info));
    this.#card = { jacks: this.#jacks, streams: this.#streams, chmaps };
    this.#control = new ControlRequests(host, this.#card);
    this.#positions = this.#streams.map(() => ({ reported: 0, frames: 0 }));
    this.calls = { setJack: (id, connected) => this.#setJack(id, connected) };
    if (this.#ports.length === 0) return;
    const links = this.#ports.map(({ link }) => link);
    this.#files = startFiles(links, host, () => this.#onFiles());
  }

  #portOf(stream: number): FilePort {
    const host = this.#host;
    const port = new FilePort({
      thread: () => this.#files!,
      now: () => host.now(),
      onNotice: (text) => host.report({ kind: "notice", text, stream }),
      onError: (text) => host.report({ kind: "error", text, stream }),
    });
    this.#ports.push(port);
    return port;
  }

  /** The thread has done something. */
  #onFiles(): void {
    for (const port of this.#ports) port.poll();
    this.#control.retry();
    for (const stream of this.#streams) stream.ready();
  }

  #streamHost(): StreamHost {
    const host = this.#host;
    return {
      now: () => host.now(),
      complete: (stream, chain, status, latency, bytes) =>
        this.#complete(chain, status, latency, bytes, stream.isPlayback),
      xrun: (stream, notify) => {
        if (notify) this.#sendEvent(EVT_PCM_XRUN, stream.id);
        this.#reportXrun(stream);
      },
      failed: (stream, error) =>
        host.report({ kind: "error", text: error.message, stream: stream.id }),
      stateChanged: (stream) => this.#reportState(stream),
    };
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    // Front-ends ask for either size, and some accept only the size that they asked for.
    const config = new Uint8Array(SOUND_CONFIG_SIZE_CTLS);
    const { jacks, streams, chmaps } = this.#card;
    encodeSoundConfig(new DataView(config.buffer), 0, {
      jacks: jacks.length,
      streams: streams.length,
      chmaps: chmaps.length,
    });
    return config;
  }

  tick(now: number): void {
    if (now >= this.#control.deadline) this.#control.retry();
    for (const stream of this.#streams) {
      stream.tick(now);
      if (stream.state === "running") this.#reportPosition(stream, now);
    }
  }

  deadline(): number {
    let next = this.#control.deadline;
    for (const stream of this.#streams) next = Math.min(next, stream.deadline());
    return next;
  }

  stop(queue: number, abandoned: boolean): void {
    if (queue === VQ_CONTROL) this.#control.stop(abandoned);
    for (const stream of this.#streamsOf(queue)) {
      if (abandoned) stream.forget();
      else stream.completeAll(S_IO_ERR);
    }
  }

  reset(): void {
    for (const stream of this.#streams) stream.reset();
  }

  /** Files are closed when all samples are in them. */
  close(): void {
    if (this.#files?.close() !== false) return;
    const text = "Cannot finish the files of a sound card: a disk is too slow, samples are lost";
    this.#host.report({ kind: "error", text });
  }

  /** Plugs a jack in or out, and sends the event. @throws {RangeError} when there is no such jack */
  #setJack(id: number, connected: boolean): void {
    const jack = this.#jacks[id];
    if (jack === undefined) {
      throw new RangeError(`Cannot plug jack ${id}, expected one below ${this.#jacks.length}`);
    }
    if (jack.connected === connected) return;
    jack.connected = connected;
    this.#sendEvent(connected ? EVT_JACK_CONNECTED : EVT_JACK_DISCONNECTED, id);
  }

  #streamsOf(index: number): Stream[] {
    const isPlayback = index === VQ_TX;
    if (index !== VQ_TX && index !== VQ_RX) return [];
    return this.#streams.filter((stream) => stream.isPlayback === isPlayback);
  }

  // ---- queues ----

  serve(queue: number, chain: Chain): void {
    if (queue === VQ_CONTROL) this.#control.serve(chain);
    else this.#onBuffer(queue, chain);
  }

  #onBuffer(queue: number, chain: Chain): void {
    if (chain.writableBytes < PCM_STATUS_SIZE) {
      return this.#host.refuse(queue, chain, PCM_STATUS_SIZE);
    }
    const isPlayback = queue === VQ_TX;
    const length = chain.gather(0, this.#scratchBytes, 0, PCM_XFER_SIZE);
    const stream = length < PCM_XFER_SIZE
      ? undefined
      : this.#streams[this.#scratch.getUint32(0, true)];
    if (stream !== undefined && stream.isPlayback === isPlayback) stream.offer(chain);
    else this.#complete(chain, S_BAD_MSG, 0, 0, isPlayback);
  }

  /** Writes the status and returns the chain: in a captured buffer the status is behind the room for samples. */
  #complete(
    chain: Chain,
    status: number,
    latency: number,
    bytes: number,
    isPlayback: boolean,
  ): void {
    encodePcmStatus(this.#scratch, 0, status, latency);
    const at = isPlayback ? 0 : chain.writableBytes - PCM_STATUS_SIZE;
    chain.scatter(at, this.#scratchBytes, 0, PCM_STATUS_SIZE);
    this.#host.complete(isPlayback ? VQ_TX : VQ_RX, chain, bytes + PCM_STATUS_SIZE);
  }

  /** Sends an event; it is lost if the driver has offered no buffer for it (virtio 1.2 §5.14.6.2). */
  #sendEvent(code: number, data: number): void {
    const chain = this.#host.take(VQ_EVENT);
    if (chain === null) return;
    if (chain.writableBytes < EVENT_SIZE) return this.#host.refuse(VQ_EVENT, chain, EVENT_SIZE);
    encodeEvent(this.#scratch, 0, code, data);
    this.#host.complete(VQ_EVENT, chain, chain.scatter(0, this.#scratchBytes, 0, EVENT_SIZE));
  }

  // ---- reports ----

  #reportState(stream: Stream): void {
    const { id, state, frames } = stream;
    this.#host.report({
      kind: "state",
      text: `Stream ${id} is ${state}`,
      stream: id,
      state,
      frames,
    });
  }

  #reportXrun({ id, xruns, isPlayback }: Stream): void {
    const what = isPlayback ? "had no samples to play" : "had no buffer for its samples";
    const text = `Stream ${id} ${what} (${xruns} times)`;
    this.#host.report({ kind: "xrun", text, stream: id, count: xruns });
  }

  #reportPosition({ id, frames, rate }: Stream, now: number): void {
    const last = this.#positions[id]!;
    if (frames === last.frames || now < last.reported + POSITION_INTERVAL_NS) return;
    last.reported = now;
    last.frames = frames;
    const seconds = frames / rate;
    const text = `Stream ${id} is at ${seconds.toFixed(1)} s`;
    this.#host.report({ kind: "position", quiet: true, text, stream: id, frames, seconds });
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

/** The embedded sound device. */
export const device: DeviceRole<SoundDeviceContract> = {
  deviceClass: sound,
  check: checkSound,
  graceMs: ({ graceMs = DEFAULT_GRACE_MS }) => graceMs,
  create: (spec, host) => createSound(spec, host),
};

/**
 * Makes a card.
 *
 * @param startFiles Starts the thread for its files; tests have one that goes step by step
 * @throws {SpecError} @throws {WavError} when a source's file cannot be read @throws {Error} when the thread does not start
 */
export function createSound(
  spec: SoundSpec,
  host: DeviceHost<SoundEvent>,
  startFiles: StartFileThread = startFileThread,
): VirtioDevice<SoundDeviceContract> {
  return new SoundDevice(spec, host, startFiles);
}
