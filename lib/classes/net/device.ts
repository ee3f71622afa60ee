// SPDX-License-Identifier: Apache-2.0
/**
 * The network device (virtio 1.2, §5.1): a card, between the driver's queues and a link.
 *
 * No offloads are offered: each frame goes as it is, and its header says nothing. Nor are buffers merged: at the usual MTU a
 * frame fits each of Linux's buffers, and at a larger one Linux's driver offers larger ones. There is no control queue, which
 * VDUSE does not allow either.
 *
 * @module
 */
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { bit, hasFeature, VIRTIO_F_VERSION_1 } from "../../virtio/features.ts";
import { net } from "./class.ts";
import type { Link, LinkSpec } from "./link.ts";
import {
  checkNet,
  DEFAULT_MTU,
  linkOf,
  macOf,
  type NetCounters,
  type NetDeviceContract,
  type NetEvent,
  type NetSpec,
} from "./spec.ts";
import {
  F_MAC,
  F_MTU,
  F_STATUS,
  HDR_F_NEEDS_CSUM,
  HDR_GSO_NONE,
  HEADER_SIZE,
  isFrame,
  LEGACY_HEADER_SIZE,
  mostFrameBytes,
  MTU_AT,
  MTU_RANGE,
  NET_CONFIG_SIZE,
  NUM_BUFFERS_AT,
  S_LINK_UP,
  STATUS_AT,
  VQ_RX,
  VQ_TX,
} from "./wire.ts";

/** Frames of each direction in one turn; further ones follow in the next. */
const MOST_AT_ONCE = 256;
/** Frames that a link is asked for when a driver comes: what came before is not for it, and no link holds more. */
const MOST_HELD = 1024;
/** How long a link that takes no frames may hold the driver's, in nanoseconds; then they are lost. */
export const PATIENCE_NS = 1e9;

/** Room for a frame of each direction behind its header, which fits closely in front of it when it is shorter. */
interface Frames {
  /** Of the driver; a byte more than a frame can have. */
  readonly out: Uint8Array<ArrayBuffer>;
  /** Of the link. */
  readonly in: Uint8Array<ArrayBuffer>;
  /** Bytes of the frame of the link that waits for a buffer; 0 when there is none. */
  inBytes: number;
}

/** A card. */
class NetDevice implements VirtioDevice<NetDeviceContract> {
  readonly features: bigint = bit(F_MAC) | bit(F_MTU) | bit(F_STATUS);
  readonly calls: NetDeviceContract["calls"];
  readonly #host: DeviceHost<NetEvent>;
  readonly #linkSpec: LinkSpec;
  readonly #config = new Uint8Array(NET_CONFIG_SIZE);
  readonly #mtu: number;
  readonly #counts = { sent: 0, lost: 0, refused: 0, received: 0, dropped: 0 };
  /** The driver's frames that wait for room in the link. */
  #waiting: Chain[] = [];
  /** Since when the link is full, in nanoseconds; Infinity while it is not. */
  #fullSince = Infinity;
  readonly #frames: Frames;
  /** Null while the card is not connected. */
  #link: Link | null = null;
  #headerBytes = HEADER_SIZE;

  constructor(spec: NetSpec, host: DeviceHost<NetEvent>, link: LinkSpec) {
    this.#host = host;
    this.#linkSpec = link;
    this.#mtu = spec.mtu ?? DEFAULT_MTU;
    this.#frames = {
      out: new Uint8Array(HEADER_SIZE + mostFrameBytes(this.#mtu) + 1),
      in: new Uint8Array(HEADER_SIZE + mostFrameBytes(MTU_RANGE[1])),
      inBytes: 0,
    };
    this.#config.set(macOf(spec, host.controlPath));
    new DataView(this.#config.buffer).setUint16(MTU_AT, this.#mtu, true);
    this.calls = { counters: () => this.#counters() };
    if (link.isKept) this.#connect();
  }

  // ---- the driver, and the link ----

  featuresAccepted(features: bigint): void {
    this.#headerBytes = hasFeature(features, VIRTIO_F_VERSION_1) ? HEADER_SIZE : LEGACY_HEADER_SIZE;
    this.#frames.in[NUM_BUFFERS_AT] = this.#headerBytes === HEADER_SIZE ? 1 : 0;
    this.#connect();
    if (this.#linkSpec.isKept) this.#discard();
    this.#lookAtLink();
  }

  #connect(): void {
    try {
      this.#link ??= this.#linkSpec.connect(this.#host);
    } catch (error) {
      const text = `Cannot connect the card to ${this.#linkSpec.name}: ${(error as Error).message}`;
      this.#host.report({ kind: "error", text });
    }
  }

  #disconnect(): void {
    this.#link?.[Symbol.dispose]();
    this.#link = null;
  }

  /** Frames that came while there was no driver are lost, as on a card that is off. */
  #discard(): void {
    const frames = this.#frames;
    let count = frames.inBytes > 0 ? 1 : 0;
    frames.inBytes = 0;
    while (count < MOST_HELD && (this.#link?.receive(frames.in, HEADER_SIZE) ?? 0) > 0) count++;
    this.#counts.dropped += count;
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    return this.#config.slice();
  }

  /** The driver and the user are told when the link's state has changed. */
  #lookAtLink(): void {
    const isUp = this.#link?.isUp ?? false;
    if (isUp === this.#isUp) return;
    new DataView(this.#config.buffer).setUint16(STATUS_AT, isUp ? S_LINK_UP : 0, true);
    const text = `The link of ${this.#linkSpec.name} is ${isUp ? "up" : "down"}`;
    this.#host.report({ kind: "link", text, isUp });
    this.#host.configChanged();
  }

  get #isUp(): boolean {
    return this.#config[STATUS_AT] === S_LINK_UP;
  }

  #counters(): NetCounters {
    return { isUp: this.#isUp, ...this.#counts };
  }

  // ---- frames of the driver ----

  serve(_queue: number, chain: Chain): void {
    this.#waiting.push(chain);
  }

  #send(now: number): void {
    const isLate = now - this.#fullSince >= PATIENCE_NS;
    let done = 0;
    for (; done < this.#waiting.length; done++) {
      const chain = this.#waiting[done]!;
      const result = this.#sendOne(chain);
      if (result === "full" && !isLate) break;
      this.#counts[result === "full" ? "lost" : result]++;
      if (result === "sent") this.#fullSince = Infinity;
      this.#host.complete(VQ_TX, chain, 0);
    }
    this.#waiting.splice(0, done);
    if (this.#waiting.length > 0) this.#fullSince = Math.min(this.#fullSince, now);
  }

  #sendOne(chain: Chain): "sent" | "full" | "lost" | "refused" {
    const { out: bytes } = this.#frames;
    const header = this.#headerBytes;
    const length = chain.gather(0, bytes) - header;
    // Flags that are unknown are ignored (§5.1.6.2.2).
    const isPlain = (bytes[0]! & HDR_F_NEEDS_CSUM) === 0 && bytes[1] === HDR_GSO_NONE;
    if (!isPlain || !isFrame(bytes, header, length, this.#mtu)) return "refused";
    return this.#link?.send(bytes, header, length) ?? "lost";
  }

  // ---- frames of the link ----

  /** Frames stay in the link while the driver offers no buffers. */
  #receive(link: Link): void {
    const frames = this.#frames;
    for (let i = 0; i < MOST_AT_ONCE; i++) {
      frames.inBytes ||= link.receive(frames.in, HEADER_SIZE);
      if (frames.inBytes === 0) return;
      if (isFrame(frames.in, HEADER_SIZE, frames.inBytes, this.#mtu)) {
        const chain = this.#host.take(VQ_RX);
        if (chain === null) return;
        this.#deliver(chain, frames.in, this.#headerBytes + frames.inBytes);
      } else {
        this.#counts.dropped++;
      }
      frames.inBytes = 0;
    }
    this.#host.wake();
  }

  #deliver(chain: Chain, bytes: Uint8Array, length: number): void {
    if (chain.writableBytes < length) {
      this.#counts.dropped++;
      this.#host.refuse(VQ_RX, chain, length);
    } else {
      this.#counts.received++;
      this.#host.complete(
        VQ_RX,
        chain,
        chain.scatter(0, bytes, HEADER_SIZE - this.#headerBytes, length),
      );
    }
  }

  tick(now: number): void {
    this.#link?.tick?.(now);
    if (this.#waiting.length > 0) this.#send(now);
    if (this.#link !== null) this.#receive(this.#link);
    this.#lookAtLink();
  }

  deadline(): number {
    const late = this.#waiting.length > 0 ? this.#fullSince + PATIENCE_NS : Infinity;
    return Math.min(late, this.#link?.deadline?.() ?? Infinity);
  }

  // ---- the end ----

  stop(queue: number, abandoned: boolean): void {
    if (queue === VQ_RX) this.#frames.inBytes = 0;
    if (queue !== VQ_TX) return;
    const waiting = this.#waiting.splice(0);
    this.#fullSince = Infinity;
    if (abandoned) return;
    for (const chain of waiting) {
      this.#counts.lost++;
      this.#host.complete(VQ_TX, chain, 0);
    }
  }

  reset(): void {
    // One that has failed may work again for the next driver.
    if (!this.#linkSpec.isKept || !this.#link?.isUp) this.#disconnect();
    this.#lookAtLink();
  }

  close(): void {
    this.#disconnect();
  }
}

/** Makes a card on a link of any kind. */
export function createNet(
  spec: NetSpec,
  host: DeviceHost<NetEvent>,
  link: LinkSpec,
): VirtioDevice<NetDeviceContract> {
  return new NetDevice(spec, host, link);
}

/** The embedded network card. */
export const device: DeviceRole<NetDeviceContract> = {
  deviceClass: net,
  check: checkNet,
  create: (spec, host) => createNet(spec, host, linkOf(spec)),
};
