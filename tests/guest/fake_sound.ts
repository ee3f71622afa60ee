// SPDX-License-Identifier: Apache-2.0
/** The sound card of a {@linkcode FakeDevice}: completes every request at once, except where the script says otherwise. */
import { bit } from "../../lib/virtio/features.ts";
import { Chain, type DeviceRing } from "../../lib/virtio/split_ring.ts";
import * as snd from "../../lib/classes/sound/wire.ts";
import type { Script } from "./fake_device.ts";

/** A sound message of the driver. */
export interface SeenMessage {
  stream: number;
  bytes: number;
  segments: number;
}

interface HeldMessage {
  queue: number;
  head: number;
}

/** What a card uses of its device. */
export interface FakeHost {
  readonly script: Script;
  ring(queue: number): DeviceRing;
  corrupt(ring: DeviceRing): void;
  announce(): void;
}

const FORMATS = ["U8", "S16", "S24_3", "S24", "S32", "FLOAT", "FLOAT64", "A_LAW", "MU_LAW"];

export class FakeSound {
  /** Samples that were played. */
  readonly played: Uint8Array[] = [];
  readonly messages: SeenMessage[] = [];
  /** Names of the control requests. */
  readonly controls: string[] = [];
  readonly params: snd.PcmParams[] = [];
  readonly #device: FakeHost;
  readonly #running = new Set<number>();
  #held: HeldMessage[] = [];
  #muted: number[] = [];
  #granted: number;
  #completed = 0;
  #captured = 0;
  readonly #chain = new Chain();

  constructor(device: FakeHost) {
    this.#device = device;
    this.#granted = device.script.grant ?? Infinity;
  }

  /** The driver reset the device. */
  reset(): void {
    this.#running.clear();
    this.#held = [];
    this.#muted = [];
    this.#completed = 0;
  }

  /** Lets it return `count` more messages. */
  grant(count: number): void {
    this.#granted += count;
    this.complete();
    this.#device.announce();
  }

  /** Answers the muted control messages, late. */
  answerMuted(): void {
    const ring = this.#device.ring(snd.VQ_CONTROL);
    for (const head of this.#muted.splice(0)) ring.complete(head, 4);
    this.#device.announce();
  }

  /** Sends an event. @returns false if the driver has no buffer for it there */
  sendEvent(code: number, data: number): boolean {
    const ring = this.#device.ring(snd.VQ_EVENT);
    if (!ring.pop(this.#chain)) return false;
    const bytes = new Uint8Array(snd.EVENT_SIZE);
    snd.encodeEvent(new DataView(bytes.buffer), 0, code, data);
    this.#chain.scatter(0, bytes);
    ring.complete(this.#chain.head, bytes.length);
    this.#device.announce();
    return true;
  }

  /** Takes a chain of any queue but the event queue. */
  take(queue: number, ring: DeviceRing, chain: Chain): void {
    if (queue === snd.VQ_CONTROL) this.#control(ring, chain);
    else this.#held.push({ queue, head: chain.head });
  }

  #control(ring: DeviceRing, chain: Chain): void {
    const { head } = chain;
    const bytes = new Uint8Array(chain.readableBytes);
    chain.gather(0, bytes);
    const request = new DataView(bytes.buffer);
    const code = request.getUint32(0, true);
    this.controls.push(snd.soundCodeName(code));
    if (this.#device.script.mute?.includes(code)) return void this.#muted.push(head);
    const info = this.#answer(code, request);
    const answer = new Uint8Array(4 + info.length);
    const status = this.#device.script.answers?.[code] ?? snd.S_OK;
    new DataView(answer.buffer).setUint32(0, status, true);
    answer.set(info, 4);
    chain.scatter(0, answer);
    ring.complete(head, answer.length);
    this.#device.corrupt(ring);
  }

  #answer(code: number, request: DataView): Uint8Array {
    switch (code) {
      case snd.R_JACK_INFO:
      case snd.R_PCM_INFO:
      case snd.R_CHMAP_INFO:
        return this.#info(snd.decodeQueryInfo(request, 0));
      case snd.R_PCM_SET_PARAMS:
        this.params.push(snd.decodePcmSetParams(request, 0));
        break;
      case snd.R_PCM_START:
        this.#running.add(request.getUint32(4, true));
        break;
      case snd.R_PCM_STOP:
        this.#running.delete(request.getUint32(4, true));
        break;
      case snd.R_PCM_RELEASE:
        this.#granted = Math.max(this.#granted, this.#held.length);
        this.complete(true);
        this.#granted = this.#device.script.grant ?? Infinity;
    }
    return new Uint8Array(0);
  }

  #info({ code, count, size }: snd.QueryInfo): Uint8Array {
    const view = new DataView(new ArrayBuffer(count * size));
    for (let i = 0; i < count; i++) {
      const at = i * size;
      if (code === snd.R_JACK_INFO) {
        const jack = { hdaFnNid: i, features: 0, hdaRegDefconf: 0, hdaRegCaps: 0, connected: true };
        snd.encodeJackInfo(view, at, jack);
      } else if (code === snd.R_PCM_INFO) {
        snd.encodePcmInfo(view, at, this.#pcmInfo(i));
      } else {
        snd.encodeChmapInfo(view, at, { hdaFnNid: 0, direction: i % 2, positions: [3, 4] });
      }
    }
    return new Uint8Array(view.buffer);
  }

  #pcmInfo(id: number): snd.PcmInfo {
    const formats = snd.SAMPLE_FORMATS.filter(({ name }) => FORMATS.includes(name));
    return {
      hdaFnNid: 0,
      features: 1 << snd.PCM_F_EVT_XRUNS,
      formats: formats.reduce((bits, { code }) => bits | bit(code), 0n),
      rates: bit(snd.FRAME_RATES.length) - 1n,
      direction: id % 2,
      channelsMin: 1,
      channelsMax: 8,
      ...this.#device.script.pcmInfo,
    };
  }

  /** Returns sound messages: those of running streams, or all. */
  complete(all = false): void {
    const kept: HeldMessage[] = [];
    for (const held of this.#held) {
      const ring = this.#device.ring(held.queue);
      ring.walk(held.head, this.#chain);
      const stream = this.#streamOf();
      if (!all && (this.#granted <= 0 || !this.#running.has(stream))) {
        kept.push(held);
        continue;
      }
      this.#granted--;
      this.#completeOne(ring, held.queue, stream, !all);
    }
    this.#held = kept;
  }

  #streamOf(): number {
    const header = new Uint8Array(snd.PCM_XFER_SIZE);
    this.#chain.gather(0, header);
    return new DataView(header.buffer).getUint32(0, true);
  }

  #completeOne(ring: DeviceRing, queue: number, stream: number, sounds: boolean): void {
    const chain = this.#chain;
    const status = new Uint8Array(snd.PCM_STATUS_SIZE);
    const code = this.#device.script.ioStatus ?? snd.S_OK;
    snd.encodePcmStatus(new DataView(status.buffer), 0, code, 480);
    const room = chain.writableBytes - status.length;
    if (queue === snd.VQ_TX) {
      const bytes = new Uint8Array(chain.readableBytes - snd.PCM_XFER_SIZE);
      chain.gather(snd.PCM_XFER_SIZE, bytes);
      this.messages.push({ stream, bytes: bytes.length, segments: chain.count });
      if (sounds) this.played.push(bytes);
    }
    const written = queue === snd.VQ_RX && sounds ? this.#capture(room) : 0;
    chain.scatter(room, status);
    ring.complete(chain.head, written + status.length);
    this.#device.corrupt(ring);
    if (++this.#completed === this.#device.script.xrunAt) this.sendEvent(snd.EVT_PCM_XRUN, stream);
  }

  /** Counts: byte i of all that is captured is i modulo 251. */
  #capture(room: number): number {
    const length = Math.min(room, this.#device.script.rxBytes ?? room);
    const bytes = Uint8Array.from({ length }, (_, i) => (this.#captured + i) % 251);
    this.#captured += length;
    return this.#chain.scatter(0, bytes);
  }

  /** All samples that were played. */
  get playedBytes(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.played.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const bytes of this.played) {
      all.set(bytes, at);
      at += bytes.length;
    }
    return all;
  }
}
