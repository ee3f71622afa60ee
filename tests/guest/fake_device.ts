// SPDX-License-Identifier: Apache-2.0
/**
 * A device behind registers, scripted: a sound card or an entropy source that does at once what it is asked, but for what
 * its script has it do otherwise. Time does not pass in it.
 */
import { bit, hasFeature } from "../../lib/virtio/features.ts";
import {
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../../lib/virtio/features.ts";
import type { GuestMemory } from "../../lib/virtio/memory.ts";
import { queueLayout } from "../../lib/virtio/queue_registers.ts";
import { RegisterFile } from "../../lib/virtio/registers.ts";
import { DeviceState, STATUS_DRIVER_OK } from "../../lib/virtio/state.ts";
import { AccessState, MainState, RingState } from "../../lib/virtio/state_writers.ts";
import { Chain, DeviceRing } from "../../lib/virtio/split_ring.ts";
import * as snd from "../../lib/classes/sound/wire.ts";
import { Draws } from "../support/random.ts";

/** How it differs from a plain device. */
export interface Script {
  /** Control messages that are never answered. */
  mute?: number[];
  /** Other answers than OK. */
  answers?: Record<number, number>;
  /** How many sound messages it gives back before it holds the rest. */
  grant?: number;
  /** Sends an XRUN event with the n-th sound message given back. */
  xrunAt?: number;
  /** Status of each sound message. */
  ioStatus?: number;
  /** Bytes that it puts into a captured message; all there is room for unless given. */
  rxBytes?: number;
  /** Bytes of entropy a buffer gets; whole ones unless given. */
  rngBytes?: number;
  /** Counts in the config space: jacks, streams, channel maps. */
  config?: [number, number, number];
  /** Changes what it tells of its streams. */
  pcmInfo?: Partial<snd.PcmInfo>;
  /** Where its used rings begin to lie: called after each message given back. */
  lie?: "usedHead" | "usedIdx" | "usedLength";
}

export interface FakeOptions {
  kind: "sound" | "rng";
  mmioVersion: 1 | 2;
  /** Ring features, beside VERSION_1. */
  indirect?: boolean;
  eventIdx?: boolean;
  queueSize?: number;
  vendor?: number;
  script?: Script;
}

/** What was seen of a sound message. */
export interface SeenMessage {
  stream: number;
  bytes: number;
  segments: number;
}

interface HeldMessage {
  queue: number;
  head: number;
}

const IDS = { sound: snd.SOUND_DEVICE_ID, rng: 4 };
const FORMATS = ["U8", "S16", "S24_3", "S24", "S32", "FLOAT", "FLOAT64", "A_LAW", "MU_LAW"];

export class FakeDevice {
  readonly state: AccessState;
  readonly ringState: RingState;
  readonly registers: RegisterFile;
  readonly script: Script;
  /** Whether an interrupt is to be raised; whoever does so clears it. */
  interrupt = false;
  /** Sound that was played. */
  readonly played: Uint8Array[] = [];
  readonly messages: SeenMessage[] = [];
  readonly controls: string[] = [];
  readonly params: snd.PcmParams[] = [];
  readonly bad: string[] = [];
  readonly ringErrors: string[] = [];
  notifications: number[] = [];
  resets = 0;
  #rings: (DeviceRing | null)[] = [];
  #toServe = new Set<number>();
  #running = new Set<number>();
  #held: HeldMessage[] = [];
  #draws = new Draws(1);
  #muted: number[] = [];
  #granted: number;
  #completed = 0;
  #captured = 0;
  readonly #chain = new Chain();

  constructor(readonly memory: GuestMemory, readonly options: FakeOptions) {
    const { kind, mmioVersion, vendor = 0x4c474121, queueSize = 64 } = options;
    this.script = options.script ?? {};
    this.#granted = this.script.grant ?? Infinity;
    const config = new Uint8Array(kind === "sound" ? snd.SOUND_CONFIG_SIZE : 0);
    if (kind === "sound") {
      const [jacks, streams, chmaps] = this.script.config ?? [1, 2, 2];
      snd.encodeSoundConfig(new DataView(config.buffer), 0, { jacks, streams, chmaps });
    }
    const queueSizes = new Array(kind === "sound" ? 4 : 1).fill(queueSize);
    const deviceFeatures = bit(VIRTIO_F_VERSION_1) | bit(24) |
      (options.indirect ? bit(VIRTIO_F_RING_INDIRECT_DESC) : 0n) |
      (options.eventIdx ? bit(VIRTIO_F_RING_EVENT_IDX) : 0n);
    const buffer = new ArrayBuffer(DeviceState.sizeFor(queueSizes.length, queueSize));
    MainState.create(buffer, {
      name: "test",
      deviceId: IDS[kind],
      vendorId: vendor,
      mmioVersion,
      queueSizes,
      deviceFeatures,
      config,
    });
    this.state = AccessState.open(buffer);
    this.ringState = RingState.open(buffer);
    this.registers = new RegisterFile(this.state, {
      notify: (queue) => {
        this.notifications.push(queue);
        this.#toServe.add(queue);
      },
      statusChanged: (status, previous) => {
        if (status & ~previous & STATUS_DRIVER_OK) this.#start();
      },
      reset: () => this.#reset(),
      queueReset: (queue) => void (this.#rings[queue] = null),
      configWritten: () => {},
      badAccess: (text) => void this.bad.push(text),
    });
  }

  #start(): void {
    const { driverFeatures } = this.state;
    this.#rings = this.state.queues.map((queue, i) => {
      if (!queue.ready) return null;
      this.#toServe.add(i);
      return new DeviceRing(this.memory, queueLayout(this.state, i), {
        indirect: hasFeature(driverFeatures, VIRTIO_F_RING_INDIRECT_DESC),
        eventIdx: hasFeature(driverFeatures, VIRTIO_F_RING_EVENT_IDX),
        deviceName: "fake",
      });
    });
  }

  #reset(): void {
    this.resets++;
    this.#rings = [];
    this.#toServe.clear();
    this.#running.clear();
    this.#held = [];
    this.#muted = [];
    this.#completed = 0;
  }

  /** Serves all queues that were notified of; between two accesses, never during one. */
  run(): void {
    for (const queue of [...this.#toServe]) {
      this.#toServe.delete(queue);
      const ring = this.#rings[queue];
      if (!ring) continue;
      try {
        this.#serve(queue, ring);
      } catch (error) {
        this.ringErrors.push((error as Error).message);
        this.#rings[queue] = null;
      }
    }
  }

  /** Lets it give back so many messages more. */
  grant(count: number): void {
    this.#granted += count;
    this.#giveBack();
    this.#announce();
  }

  /** Answers the control messages that it left unanswered: too late. */
  answerMuted(): void {
    const ring = this.#rings[snd.VQ_CONTROL]!;
    for (const head of this.#muted.splice(0)) ring.complete(head, 4);
    this.#announce();
  }

  /** Reports something on the event queue. */
  sendEvent(code: number, data: number): void {
    const ring = this.#rings[snd.VQ_EVENT]!;
    if (!ring.pop(this.#chain)) throw new Error("Cannot send an event: the driver gave no buffer");
    const bytes = new Uint8Array(snd.EVENT_SIZE);
    snd.encodeEvent(new DataView(bytes.buffer), 0, code, data);
    this.#chain.scatter(0, bytes);
    ring.complete(this.#chain.head, bytes.length);
    this.#announce();
  }

  #serve(queue: number, ring: DeviceRing): void {
    if (this.options.kind === "sound" && queue === snd.VQ_EVENT) return;
    do {
      ring.disableNotifications();
      while (ring.pop(this.#chain)) this.#take(queue, ring);
      this.#giveBack();
      this.#announce();
    } while (ring.enableNotifications());
  }

  #take(queue: number, ring: DeviceRing): void {
    if (this.options.kind === "rng") return this.#entropy(ring);
    if (queue === snd.VQ_CONTROL) this.#control(ring);
    else this.#held.push({ queue, head: this.#chain.head });
  }

  #entropy(ring: DeviceRing): void {
    const room = this.#chain.writableBytes;
    const bytes = this.#draws.bytes(this.script.rngBytes ?? room);
    this.#chain.scatter(0, bytes);
    ring.complete(this.#chain.head, bytes.length);
    this.#lie(ring);
  }

  #control(ring: DeviceRing): void {
    const { head } = this.#chain;
    const bytes = new Uint8Array(this.#chain.readableBytes);
    this.#chain.gather(0, bytes);
    const request = new DataView(bytes.buffer);
    const code = request.getUint32(0, true);
    this.controls.push(snd.soundCodeName(code));
    if (this.script.mute?.includes(code)) return void this.#muted.push(head);
    const info = this.#answer(code, request);
    // The chain may have been used for others while streams were released.
    ring.walk(head, this.#chain);
    const answer = new Uint8Array(4 + info.length);
    const status = this.script.answers?.[code] ?? snd.S_OK;
    new DataView(answer.buffer).setUint32(0, status, true);
    answer.set(info, 4);
    this.#chain.scatter(0, answer);
    ring.complete(head, answer.length);
    this.#lie(ring);
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
        this.#giveBack(true);
        this.#granted = this.script.grant ?? Infinity;
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
      ...this.script.pcmInfo,
    };
  }

  /** Gives sound messages back, those of running streams, or all. */
  #giveBack(all = false): void {
    const kept: HeldMessage[] = [];
    for (const held of this.#held) {
      const ring = this.#rings[held.queue]!;
      ring.walk(held.head, this.#chain);
      const stream = this.#streamOf();
      if (!all && (this.#granted <= 0 || !this.#running.has(stream))) {
        kept.push(held);
        continue;
      }
      this.#granted--;
      this.#complete(ring, held.queue, stream, !all);
    }
    this.#held = kept;
  }

  #streamOf(): number {
    const header = new Uint8Array(snd.PCM_XFER_SIZE);
    this.#chain.gather(0, header);
    return new DataView(header.buffer).getUint32(0, true);
  }

  #complete(ring: DeviceRing, queue: number, stream: number, sounds: boolean): void {
    const chain = this.#chain;
    const status = new Uint8Array(snd.PCM_STATUS_SIZE);
    const code = this.script.ioStatus ?? snd.S_OK;
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
    this.#lie(ring);
    if (++this.#completed === this.script.xrunAt) this.sendEvent(snd.EVT_PCM_XRUN, stream);
  }

  /** Counts: byte i of all that is captured is i modulo 251. */
  #capture(room: number): number {
    const length = Math.min(room, this.script.rxBytes ?? room);
    const bytes = Uint8Array.from({ length }, (_, i) => (this.#captured + i) % 251);
    this.#captured += length;
    return this.#chain.scatter(0, bytes);
  }

  #lie(ring: DeviceRing): void {
    const { lie } = this.script;
    if (lie === undefined) return;
    const { used, size } = queueLayout(this.state, ring.index);
    const { view, guest } = this.memory.region(used, 6 + 8 * size);
    const last = used - guest + 4 + 8 * ((ring.usedIdx - 1) & (size - 1));
    if (lie === "usedHead") view.setUint32(last, size + 7, true);
    if (lie === "usedLength") view.setUint32(last + 4, 0xfffffff0, true);
    if (lie === "usedIdx") view.setUint16(used - guest + 2, ring.usedIdx + size, true);
  }

  #announce(): void {
    let wanted = false;
    for (const ring of this.#rings) if (ring?.needsInterrupt()) wanted = true;
    if (!wanted) return;
    this.ringState.raiseInterruptStatus(1);
    this.interrupt = true;
  }

  /** All that was played, in one. */
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
