// SPDX-License-Identifier: Apache-2.0
/**
 * A scripted device with registers: a sound card or an entropy source that completes every request at once, except where
 * its script says otherwise. It has no clock.
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
import { FakeSound } from "./fake_sound.ts";

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
  /** What is malformed in its used rings, after each chain that it returns. */
  corrupt?: "usedHead" | "usedIdx" | "usedLength";
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

/** What a driver did. */
export interface DriverLog {
  /** Accesses that break a rule. */
  readonly bad: string[];
  /** Malformed rings. */
  readonly ringErrors: string[];
  /** Queues that were notified. */
  notifications: number[];
  resets: number;
}

const draws = new Draws(1);

const IDS = { sound: snd.SOUND_DEVICE_ID, rng: 4 };

export class FakeDevice {
  readonly state: AccessState;
  readonly ringState: RingState;
  readonly registers: RegisterFile;
  readonly script: Script;
  /** Whether an interrupt is to be raised; whoever does so clears it. */
  interrupt = false;
  /** What the driver did. */
  readonly log: DriverLog = { bad: [], ringErrors: [], notifications: [], resets: 0 };
  /** The sound card; unused by an entropy source. */
  readonly sound: FakeSound;
  #rings: (DeviceRing | null)[] = [];
  #toServe = new Set<number>();
  readonly #chain = new Chain();

  constructor(readonly memory: GuestMemory, readonly options: FakeOptions) {
    const { kind, mmioVersion, vendor = 0x4c474121, queueSize = 64 } = options;
    this.script = options.script ?? {};
    this.sound = new FakeSound(this);
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
        this.log.notifications.push(queue);
        this.#toServe.add(queue);
      },
      statusChanged: (status, previous) => {
        if (status & ~previous & STATUS_DRIVER_OK) this.#start();
      },
      reset: () => this.#reset(),
      queueReset: (queue) => void (this.#rings[queue] = null),
      configWritten: () => {},
      badAccess: (text) => void this.log.bad.push(text),
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
    this.log.resets++;
    this.#rings = [];
    this.#toServe.clear();
    this.sound.reset();
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
        this.log.ringErrors.push((error as Error).message);
        this.#rings[queue] = null;
      }
    }
  }

  #serve(queue: number, ring: DeviceRing): void {
    if (this.options.kind === "sound" && queue === snd.VQ_EVENT) return;
    do {
      ring.disableNotifications();
      while (ring.pop(this.#chain)) {
        if (this.options.kind === "rng") this.#entropy(ring);
        else this.sound.take(queue, ring, this.#chain);
      }
      this.sound.complete();
      this.announce();
    } while (ring.enableNotifications());
  }

  #entropy(ring: DeviceRing): void {
    const room = this.#chain.writableBytes;
    const bytes = draws.bytes(this.script.rngBytes ?? room);
    this.#chain.scatter(0, bytes);
    ring.complete(this.#chain.head, bytes.length);
    this.corrupt(ring);
  }

  /** The ring of a queue that the driver has set up. */
  ring(queue: number): DeviceRing {
    return this.#rings[queue]!;
  }

  /** Breaks a rule in the used ring, if the script says so. */
  corrupt(ring: DeviceRing): void {
    const { corrupt } = this.script;
    if (corrupt === undefined) return;
    const { used, size } = queueLayout(this.state, ring.index);
    const { view, guest } = this.memory.region(used, 6 + 8 * size);
    const last = used - guest + 4 + 8 * ((ring.usedIdx - 1) & (size - 1));
    if (corrupt === "usedHead") view.setUint32(last, size + 7, true);
    if (corrupt === "usedLength") view.setUint32(last + 4, 0xfffffff0, true);
    if (corrupt === "usedIdx") view.setUint16(used - guest + 2, ring.usedIdx + size, true);
  }

  /** Raises an interrupt, if the driver wants one for any ring. */
  announce(): void {
    let wanted = false;
    for (const ring of this.#rings) if (ring?.needsInterrupt()) wanted = true;
    if (!wanted) return;
    this.ringState.raiseInterruptStatus(1);
    this.interrupt = true;
  }
}
