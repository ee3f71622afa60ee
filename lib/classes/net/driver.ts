// SPDX-License-Identifier: Apache-2.0
/**
 * The network driver, as Linux's virtio_net without offloads: the rx queue is filled with buffers of one frame each during the
 * probe, and each goes back as soon as its frame is read; with VIRTIO_NET_F_MRG_RXBUF a frame may fill several.
 *
 * @module
 */
import { monotonicNs } from "../../../ffi/mod.ts";
import { GuestError } from "../../guest/error.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../guest/transport.ts";
import { waitFor } from "../../guest/wait_for.ts";
import { bit, hasFeature, VIRTIO_F_VERSION_1 } from "../../virtio/features.ts";
import { net } from "./class.ts";
import {
  F_MAC,
  F_MRG_RXBUF,
  F_MTU,
  F_STATUS,
  formatMac,
  HDR_GSO_NONE,
  HEADER_SIZE,
  isFrame,
  LEGACY_HEADER_SIZE,
  MAC_BYTES,
  mostFrameBytes,
  MTU_AT,
  NUM_BUFFERS_AT,
  S_LINK_UP,
  STATUS_AT,
} from "./wire.ts";

/** The features that the driver accepts. */
const FEATURES = bit(F_MAC) | bit(F_MTU) | bit(F_STATUS) | bit(F_MRG_RXBUF);
/** Without VIRTIO_NET_F_MTU. */
const DEFAULT_MTU = 1500;
/** Most bytes of buffers to receive in. */
const MOST_BUFFER_BYTES = 2 ** 20;
/** Most frames on their way at once. */
const MOST_IN_FLIGHT = 64;
/** Most received frames that wait to be read by the owner; later ones are dropped. */
const MOST_UNREAD = 4096;

/** What the driver shows. */
const PROGRESS = {
  states: ["up", "down"],
  totals: ["received", "sent", "malformed", "unread", "linkChanges"],
  words: [],
  numbers: [],
} as const;

/** What the network driver and its guest's owner agree on. */
export interface NetDriverContract extends DriverContract {
  found: {
    /** The card's address, as "02:00:00:00:00:01"; "" when it has none. */
    mac: string;
    /** The most bytes of a frame's payload. */
    mtu: number;
  };
  calls: {
    /** Whether the link is up, as `ip link` shows it. */
    isUp(): boolean;
    /** Waits until the link is up or down. */
    awaitLink(isUp: boolean): void;
    /** Sends frames, in order, and waits until the device has taken the last. */
    send(frames: readonly Uint8Array[]): void;
    /** Sends a frame again and again. @returns how long the device took to take all of them, in nanoseconds */
    flood(frame: Uint8Array, count: number): number;
    /**
     * The next frames that were received, in order.
     *
     * @param count How many are waited for
     * @returns fewer when the owner wants it to end
     */
    receive(count: number): Uint8Array[];
  };
  progress: typeof PROGRESS;
}

/** A bound network card. */
class NetDriver {
  readonly found: NetDriverContract["found"];
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #patience: Patience;
  readonly #rx: VirtQueue<number>;
  readonly #tx: VirtQueue<number>;
  readonly #headerBytes: number;
  /** Bytes of a buffer: header and frame. */
  readonly #bufferBytes: number;
  /** Guest addresses of tx buffers that are free. */
  readonly #free: number[] = [];
  readonly #txBuffers: number;
  /** A frame of which more buffers are to come. */
  #begun: { readonly pieces: Uint8Array[]; left: number } | null = null;
  #unread: Uint8Array[] = [];

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#patience = patience;
    const { features } = device;
    const isLong = hasFeature(features, VIRTIO_F_VERSION_1) || hasFeature(features, F_MRG_RXBUF);
    this.#headerBytes = isLong ? HEADER_SIZE : LEGACY_HEADER_SIZE;
    this.found = { mac: this.#readMac(), mtu: this.#readMtu() };
    this.#bufferBytes = this.#headerBytes + mostFrameBytes(this.found.mtu);
    this.#rx = device.setUpQueue<number>("rx", (address, used) => this.#onReceived(address, used));
    this.#tx = device.setUpQueue<number>("tx", (address) => this.#onSent(address));
    this.#txBuffers = Math.min(MOST_IN_FLIGHT, this.#tx.queue.ring.size);
    this.#allocate();
    this.#rx.kick();
    this.configChanged();
  }

  #readMac(): string {
    if (!hasFeature(this.#device.features, F_MAC)) return "";
    const bytes = Array.from({ length: MAC_BYTES }, (_, i) => this.#device.readConfig(i, 1));
    return formatMac(Uint8Array.from(bytes));
  }

  #readMtu(): number {
    const { features } = this.#device;
    return hasFeature(features, F_MTU) ? this.#device.readConfig(MTU_AT, 2) : DEFAULT_MTU;
  }

  #allocate(): void {
    const { pages } = this.#device;
    const bytes = this.#bufferBytes;
    const out = pages.allocate(this.#txBuffers * bytes);
    for (let i = 0; i < this.#txBuffers; i++) this.#free.push(out + i * bytes);
    const count = Math.min(this.#rx.queue.ring.size, Math.ceil(MOST_BUFFER_BYTES / bytes));
    const buffers = pages.allocate(count * bytes);
    for (let i = 0; i < count; i++) this.#offer(buffers + i * bytes);
  }

  #offer(address: number): void {
    this.#rx.add([{ address, length: this.#bufferBytes, writable: true }], address);
  }

  // ---- receiving ----

  #onReceived(address: number, written: number): void {
    const bytes = this.#device.pages.bytes(address, Math.min(written, this.#bufferBytes)).slice();
    if (this.#begun === null) this.#begin(bytes);
    else this.#add(this.#begun, bytes);
    this.#offer(address);
    this.#rx.kick();
  }

  /** The first buffer of a frame. Without VIRTIO_NET_F_MRG_RXBUF the number of buffers is not looked at. */
  #begin(bytes: Uint8Array): void {
    const { features, progress } = this.#device;
    const [flags, gso] = bytes;
    if (bytes.length < this.#headerBytes || flags !== 0 || gso !== HDR_GSO_NONE) {
      return progress.count("malformed");
    }
    const view = new DataView(bytes.buffer);
    const count = hasFeature(features, F_MRG_RXBUF) ? view.getUint16(NUM_BUFFERS_AT, true) : 1;
    if (count === 0) return progress.count("malformed");
    this.#add({ pieces: [], left: count }, bytes.subarray(this.#headerBytes));
  }

  #add(begun: { readonly pieces: Uint8Array[]; left: number }, bytes: Uint8Array): void {
    begun.pieces.push(bytes);
    this.#begun = --begun.left === 0 ? null : begun;
    if (this.#begun !== null) return;
    const { progress } = this.#device;
    const [first] = begun.pieces;
    const frame = begun.pieces.length === 1 ? first! : concat(begun.pieces);
    if (!isFrame(frame, 0, frame.length, this.found.mtu)) return progress.count("malformed");
    if (this.#unread.length >= MOST_UNREAD) return progress.count("unread");
    this.#unread.push(frame);
    progress.count("received");
  }

  receive(count: number): Uint8Array[] {
    this.#await(`${count} frames`, () => this.#unread.length >= count);
    return this.#unread.splice(0, count);
  }

  // ---- sending ----

  #onSent(address: number): void {
    this.#device.progress.count("sent");
    this.#free.push(address);
  }

  send(frames: Iterable<Uint8Array>): void {
    for (const frame of frames) {
      this.#await("a frame to leave", () => this.#free.length > 0);
      if (this.#device.isToEnd()) return;
      this.#send(frame);
    }
    this.#await("the last frames to leave", () => this.#free.length === this.#txBuffers);
  }

  #send(frame: Uint8Array): void {
    if (!isFrame(frame, 0, frame.length, this.found.mtu)) {
      const { name } = this.#device;
      throw new GuestError("EMSGSIZE", `send a frame of ${frame.length} bytes by ${name}`);
    }
    const address = this.#free.pop()!;
    const length = this.#headerBytes + frame.length;
    const memory = this.#device.pages.bytes(address, length);
    memory.fill(0, 0, this.#headerBytes);
    memory.set(frame, this.#headerBytes);
    this.#tx.add([{ address, length, writable: false }], address);
    this.#tx.kick();
  }

  /** Sends a frame; where the link is down, the device takes it all the same. */
  exercise(): void {
    const frame = new Uint8Array(60).fill(0xff, 0, MAC_BYTES);
    frame.set([2, 0, 0, 0, 0, 1, 0x88, 0xb5], MAC_BYTES); // an EtherType for experiments
    this.send([frame]);
  }

  // ---- the link ----

  get isUp(): boolean {
    return this.#device.progress.state === "up";
  }

  /** Without VIRTIO_NET_F_STATUS the link counts as up. */
  configChanged(): void {
    const { features, progress } = this.#device;
    const hasStatus = hasFeature(features, F_STATUS);
    const isUp = !hasStatus || (this.#device.readConfig(STATUS_AT, 2) & S_LINK_UP) !== 0;
    const state = isUp ? "up" : "down";
    if (progress.state !== state && progress.state !== "bound") progress.count("linkChanges");
    progress.state = state;
  }

  awaitLink(isUp: boolean): void {
    this.#await(`the link to be ${isUp ? "up" : "down"}`, () => this.isUp === isUp);
  }

  /** Waits until a condition is true, or the owner ends the call. */
  #await(what: string, isSo: () => boolean): void {
    waitFor(this.#device, what, isSo, this.#patience.stallTimeoutMs);
  }
}

function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

function* repeated(frame: Uint8Array, count: number): Generator<Uint8Array> {
  for (let i = 0; i < count; i++) yield frame;
}

/** The software network driver. */
export const driver: DriverRole<NetDriverContract> = {
  deviceClass: net,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(net.id, FEATURES, () => new NetDriver(device, patience));
    return {
      found: bound.found,
      calls: {
        isUp: () => bound.isUp,
        awaitLink: (isUp) => bound.awaitLink(isUp),
        send: (frames) => bound.send(frames),
        flood: (frame, count) => {
          const begin = monotonicNs();
          bound.send(repeated(frame, count));
          return monotonicNs() - begin;
        },
        receive: (count) => bound.receive(count),
      },
      exercise: () => bound.exercise(),
      configChanged: () => bound.configChanged(),
    };
  },
};
