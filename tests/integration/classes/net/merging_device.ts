// SPDX-License-Identifier: Apache-2.0
/**
 * A network card that gives back each frame it is sent, spread over several receive buffers (VIRTIO_NET_F_MRG_RXBUF), as other
 * daemons do: viola's own card never does.
 *
 * @module
 */
import { net } from "../../../../lib/classes/net/class.ts";
import type { NetDeviceContract } from "../../../../lib/classes/net/spec.ts";
import {
  F_MRG_RXBUF,
  HEADER_SIZE,
  NUM_BUFFERS_AT,
  VQ_RX,
  VQ_TX,
} from "../../../../lib/classes/net/wire.ts";
import type { DeviceHost, DeviceRole, VirtioDevice } from "../../../../lib/device/role.ts";
import type { Chain } from "../../../../lib/virtio/chain.ts";
import { bit } from "../../../../lib/virtio/features.ts";

/** Bytes of a buffer that it fills. */
export const PIECE_BYTES = 200;

class MergingDevice implements VirtioDevice<NetDeviceContract> {
  readonly features = bit(F_MRG_RXBUF);
  readonly calls = {
    counters: () => ({ isUp: true, sent: 0, lost: 0, refused: 0, received: 0, dropped: 0 }),
  };
  /** Frames to give back, each with its header. */
  readonly #frames: Uint8Array<ArrayBuffer>[] = [];
  /** Buffers for the next one. */
  #buffers: Chain[] = [];

  constructor(readonly host: DeviceHost) {}

  readConfig(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(12);
  }

  serve(_queue: number, chain: Chain): void {
    const bytes = new Uint8Array(chain.readableBytes);
    chain.gather(0, bytes);
    this.host.complete(VQ_TX, chain, 0);
    this.#frames.push(bytes);
  }

  tick(): void {
    for (let frame = this.#frames[0]; frame !== undefined; frame = this.#frames[0]) {
      const count = Math.ceil(frame.length / PIECE_BYTES);
      while (this.#buffers.length < count) {
        const chain = this.host.take(VQ_RX);
        if (chain === null) return;
        this.#buffers.push(chain);
      }
      this.#frames.shift();
      this.#give(frame, count);
    }
  }

  #give(frame: Uint8Array<ArrayBuffer>, count: number): void {
    frame.fill(0, 0, HEADER_SIZE);
    new DataView(frame.buffer).setUint16(NUM_BUFFERS_AT, count, true);
    for (const [i, chain] of this.#buffers.splice(0).entries()) {
      const piece = frame.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES);
      this.host.complete(VQ_RX, chain, chain.scatter(0, piece));
    }
  }

  stop(queue: number, abandoned: boolean): void {
    if (queue !== VQ_RX) return;
    const unused = this.#buffers.splice(0);
    if (!abandoned) { for (const chain of unused) this.host.complete(VQ_RX, chain, 0); }
  }
}

/** The card. */
export const device: DeviceRole<NetDeviceContract> = {
  deviceClass: net,
  check: () => {},
  create: (_, host) => new MergingDevice(host),
};
