// SPDX-License-Identifier: Apache-2.0
/**
 * A network card at its queues, without a socket, on a link that a test plays.
 *
 * @module
 */
import { net } from "../../../lib/classes/net/class.ts";
import { createNet } from "../../../lib/classes/net/device.ts";
import type { Link, LinkSpec, Sending } from "../../../lib/classes/net/link.ts";
import type { NetCounters, NetDeviceContract, NetSpec } from "../../../lib/classes/net/spec.ts";
import { VQ_RX, VQ_TX } from "../../../lib/classes/net/wire.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../../lib/virtio/features.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

/** A link that does what it is told. */
export class FakeLink implements LinkSpec {
  readonly name = "fake0";
  isKept = false;
  isUp = true;
  sending: Sending = "sent";
  /** Frames sent. */
  readonly sent: Uint8Array[] = [];
  /** Frames to be received. */
  readonly incoming: Uint8Array[] = [];
  connections = 0;
  problem = "";

  connect(): Link {
    if (this.problem !== "") throw new Error(this.problem);
    this.connections++;
    // deno-lint-ignore no-this-alias -- the link's getters are another object's
    const self = this;
    return {
      get isUp() {
        return self.isUp;
      },
      send: (bytes, at, length) => {
        if (self.sending === "sent") self.sent.push(bytes.slice(at, at + length));
        return self.sending;
      },
      receive: (bytes, at) => {
        const frame = self.incoming.shift();
        if (frame !== undefined) bytes.set(frame, at);
        return frame?.length ?? 0;
      },
      [Symbol.dispose]: () => void self.connections--,
    };
  }
}

/** A frame of as many bytes, to a card from another. */
export function frame(length = 60, ...data: number[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length).fill(0xee);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, ...data].slice(0, length));
  return bytes;
}

/** The features that Linux's driver accepts of those offered. */
export const MODERN = bit(VIRTIO_F_VERSION_1);

/** A card, and a driver that does what a test says. */
export class NetBench implements Disposable {
  readonly bench: DeviceBench<NetDeviceContract>;
  readonly wiring: Wiring;
  readonly headerBytes: number;
  /** Where buffers lie, by their tokens. */
  readonly #buffers = new Map<number, number>();
  #token = 0;

  constructor(spec: NetSpec = {}, features = MODERN, readonly link = new FakeLink()) {
    this.headerBytes = features === 0n ? 10 : 12;
    this.bench = new DeviceBench<NetDeviceContract>({
      deviceClass: net,
      check: () => {},
      create: (spec, host) => createNet(spec, host, link),
    }, spec);
    this.bench.device.featuresAccepted(features);
    this.wiring = new Wiring(this.bench.device);
    this.wiring.start();
  }

  /** Offers a frame behind a header. @returns its token */
  send(bytes: Uint8Array, header: number[] = []): number {
    const head = new Uint8Array(this.headerBytes);
    head.set(header);
    return this.sendPieces([head, bytes]);
  }

  sendPieces(pieces: Uint8Array[], rooms: number[] = []): number {
    this.wiring.offer(VQ_TX, ++this.#token, pieces, rooms);
    return this.#token;
  }

  /** Tokens of the frames that came back, and how much was written to each. */
  returned(): [token: number, written: number][] {
    this.bench.device.turn();
    const all: [number, number][] = [];
    const queue = this.wiring.queues[VQ_TX]!;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      all.push([used.token, used.length]);
    }
    return all;
  }

  /** Offers buffers to receive in. */
  offer(count: number, bytes = 12 + 1518): void {
    for (let i = 0; i < count; i++) {
      const token = ++this.#token;
      const [at] = this.wiring.offer(VQ_RX, token, [], [bytes]);
      this.#buffers.set(token, at!);
    }
  }

  /** What was received, headers and frames. */
  received(): Uint8Array[] {
    this.bench.device.turn();
    const all: Uint8Array[] = [];
    const queue = this.wiring.queues[VQ_RX]!;
    for (let used = queue.take(); used !== null; used = queue.take()) {
      const at = this.#buffers.get(used.token)!;
      all.push(this.wiring.bytes.slice(at, at + used.length));
    }
    return all;
  }

  get config(): number[] {
    return [...this.bench.device.readConfig()];
  }

  get counters(): NetCounters {
    return this.bench.device.call("counters", []) as NetCounters;
  }

  /** Texts of what was reported, of one kind. */
  told(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
  }
}
