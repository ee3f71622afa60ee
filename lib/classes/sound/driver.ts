// SPDX-License-Identifier: Apache-2.0
/**
 * The sound card's driver (virtio 1.2 §5.14), like Linux's virtio_snd: its probe, its event queue, its
 * streams.
 *
 * @module
 */
import { hasFeature } from "../../virtio/features.ts";
import {
  CHMAP_INFO_SIZE,
  type ChmapInfo,
  D_INPUT,
  D_OUTPUT,
  decodeChmapInfo,
  decodeJackInfo,
  decodePcmInfo,
  encodeQueryInfo,
  EVENT_SIZE,
  EVT_JACK_CONNECTED,
  EVT_JACK_DISCONNECTED,
  EVT_PCM_XRUN,
  FRAME_RATES,
  JACK_INFO_SIZE,
  type JackInfo,
  PCM_INFO_SIZE,
  type PcmInfo,
  QUERY_INFO_SIZE,
  R_CHMAP_INFO,
  R_JACK_INFO,
  R_PCM_INFO,
  SAMPLE_FORMATS,
  soundCodeName,
} from "./wire.ts";
import type { DriverContract, DriverRole } from "../../guest/role.ts";
import { sound } from "./class.ts";
import { ControlQueue } from "./control_queue.ts";
import { GuestError } from "../../guest/error.ts";
import { PcmStream } from "./pcm.ts";
import type { PcmMessage } from "./pcm_buffer.ts";
import type { VirtQueue } from "../../guest/transport.ts";
import { SOUND_PROGRESS, type SoundMmioDevice, type SoundProgressLayout } from "./progress.ts";
import {
  capture,
  type CaptureOptions,
  exercise,
  play,
  type PlayOptions,
  type TransferResult,
} from "./transfer.ts";

/** Offsets of the counts in the config space. */
const CONFIG = { jacks: 0, streams: 4, chmaps: 8 } as const;
/** The most items of a kind that the guest accepts: the number comes from the device. */
const MOST_ITEMS = 256;

/** What the card reported in the probe. */
export interface CardInfo {
  jacks: JackInfo[];
  streams: PcmInfo[];
  chmaps: ChmapInfo[];
}

/** A bound sound card. */
export class SoundCard {
  readonly control: ControlQueue;
  readonly #events: VirtQueue<number>;
  readonly info: CardInfo;
  /** One for each of `info.streams`. */
  readonly streams: readonly PcmStream[];

  private constructor(readonly device: SoundMmioDevice, controlTimeoutMs: number) {
    this.control = new ControlQueue(device, controlTimeoutMs);
    this.#events = device.setUpQueue<number>("event", (address) => this.#onEvent(address));
    const onMessage = (message: PcmMessage, written: number): void =>
      message.stream.complete(message, written);
    const tx = device.setUpQueue<PcmMessage>("tx", onMessage);
    const rx = device.setUpQueue<PcmMessage>("rx", onMessage);
    this.#fillEvents();
    device.ready();
    this.info = this.#ask();
    this.streams = this.info.streams.map((info, id) =>
      new PcmStream(device, this.control, info.direction === D_OUTPUT ? tx : rx, id, info)
    );
    if (this.#events.queue.ring.enableInterrupts()) this.#events.service();
  }

  /**
   * Probes the card.
   *
   * @param controlTimeoutMs How long a control message may take
   * @throws {GuestError} as Linux's probe would fail
   */
  static bind(device: SoundMmioDevice, controlTimeoutMs: number): SoundCard {
    return device.bind(sound.id, 0n, () => new SoundCard(device, controlTimeoutMs));
  }

  /** Offers the event buffers, without a notification: the device finds them when it starts. */
  #fillEvents(): void {
    const { pages } = this.device;
    const { ring } = this.#events.queue;
    ring.disableInterrupts();
    const address = pages.allocate(ring.size * EVENT_SIZE);
    for (let i = 0; i < ring.size; i++) this.#offerEvent(address + i * EVENT_SIZE);
  }

  #offerEvent(address: number): void {
    this.device.pages.bytes(address, EVENT_SIZE).fill(0);
    this.#events.add([{ address, length: EVENT_SIZE, writable: true }], address);
  }

  #onEvent(address: number): void {
    const view = this.device.pages.view(address, EVENT_SIZE);
    const code = view.getUint32(0, true);
    const data = view.getUint32(4, true);
    // An underrun between the last buffer and STOP is no gap in the sound.
    const { progress } = this.device;
    if (code === EVT_PCM_XRUN && progress.state === "running") progress.count("xruns");
    // An event may arrive during the probe.
    const jack = this.info?.jacks[data];
    if (jack !== undefined && (code === EVT_JACK_CONNECTED || code === EVT_JACK_DISCONNECTED)) {
      jack.connected = code === EVT_JACK_CONNECTED;
    }
    this.#offerEvent(address);
    this.#events.kick();
  }

  /** Jacks, streams and channel maps, in the order in which Linux asks. */
  #ask(): CardInfo {
    const jacks = this.#query(R_JACK_INFO, CONFIG.jacks, JACK_INFO_SIZE, decodeJackInfo);
    const streams = this.#query(R_PCM_INFO, CONFIG.streams, PCM_INFO_SIZE, decodePcmInfo);
    streams.forEach((info, id) => this.#checkStream(info, id));
    const chmaps = this.#query(R_CHMAP_INFO, CONFIG.chmaps, CHMAP_INFO_SIZE, decodeChmapInfo);
    chmaps.forEach(({ direction }, id) => this.#checkDirection("channel map", id, direction));
    return { jacks, streams, chmaps };
  }

  #query<Item>(
    code: number,
    configOffset: number,
    size: number,
    decode: (view: DataView, at: number) => Item,
  ): Item[] {
    const what = soundCodeName(code);
    const count = this.device.readConfig(configOffset);
    if (count === 0) return [];
    if (count > MOST_ITEMS) {
      this.#refuse(`its config space counts ${count} items of ${what}, expected ≤ ${MOST_ITEMS}`);
    }
    const encode = (view: DataView): void =>
      encodeQueryInfo(view, 0, { code, startId: 0, count, size });
    const answer = this.control.send(what, QUERY_INFO_SIZE, encode, count * size);
    return Array.from({ length: count }, (_, i) => decode(answer, i * size));
  }

  #checkStream({ channelsMin, channelsMax, formats, rates, direction }: PcmInfo, id: number): void {
    if (channelsMin === 0 || channelsMin > channelsMax) {
      this.#refuse(`its stream ${id} has ${channelsMin} to ${channelsMax} channels`);
    }
    if (!SAMPLE_FORMATS.some(({ code }) => hasFeature(formats, code))) {
      this.#refuse(
        `its stream ${id} has no known sample format: 0x${formats.toString(16)}`,
      );
    }
    if (!FRAME_RATES.some((_, code) => hasFeature(rates, code))) {
      this.#refuse(`its stream ${id} has no known frame rate: 0x${rates.toString(16)}`);
    }
    this.#checkDirection("stream", id, direction);
  }

  #checkDirection(what: string, id: number, direction: number): void {
    if (direction === D_OUTPUT || direction === D_INPUT) return;
    this.#refuse(`its ${what} ${id} has direction ${direction}, expected 0 or 1`);
  }

  /**
   * The first stream of a direction, as `hw:CARD,0` would be.
   *
   * @throws {GuestError} ENODEV when there is none
   */
  stream(direction: number): PcmStream {
    const found = this.streams.find(({ info }) => info.direction === direction);
    if (found !== undefined) return found;
    const kind = direction === D_OUTPUT ? "playback" : "capture";
    throw new GuestError("ENODEV", `open ${this.device.name} for ${kind}: it has no such stream`);
  }

  /** Stops and releases the streams, as Linux does before it removes the card; a device that does not respond is ignored. */
  shutDown(): void {
    for (const stream of this.streams) {
      try {
        stream.shutDown();
      } catch { /* it is reset next */ }
    }
  }

  #refuse(problem: string): never {
    throw new GuestError("EINVAL", `drive ${this.device.name}: ${problem}`);
  }
}

/** The contract between the sound driver and its guest's owner. */
export interface SoundDriverContract extends DriverContract {
  found: CardInfo;
  calls: {
    /** Plays a file to its end. */
    play(options: PlayOptions): TransferResult;
    /** Records a file of an exact number of frames. */
    capture(options: CaptureOptions): TransferResult;
  };
  progress: SoundProgressLayout;
}

/** The software sound driver. */
export const driver: DriverRole<SoundDriverContract> = {
  deviceClass: sound,
  progress: SOUND_PROGRESS,
  bind: (device, { controlTimeoutMs, stallTimeoutMs }) => {
    const card = SoundCard.bind(device, controlTimeoutMs);
    return {
      found: card.info,
      calls: {
        play: (options) => play(card, options, stallTimeoutMs),
        capture: (options) => capture(card, options, stallTimeoutMs),
      },
      exercise: () => exercise(card, stallTimeoutMs),
      shutDown: () => card.shutDown(),
    };
  },
};
