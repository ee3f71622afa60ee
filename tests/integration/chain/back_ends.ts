// SPDX-License-Identifier: Apache-2.0
/**
 * Back-ends in this isolate: one that fills whatever it is offered, and does to its ring whatever a test wants.
 *
 * @module
 */
import type { Reactor } from "../../../ffi/mod.ts";
import type { BackEndDevice, BackEndRing } from "../../../lib/vhost_user/back_end.ts";
import { BackEndServer } from "../../../lib/vhost_user/mod.ts";
import { bit } from "../../../lib/virtio/features.ts";
import { Chain } from "../../../lib/virtio/split_ring.ts";
import { type Behaviour, HostileBackEnd } from "../../vhost_user/hostile_back_end.ts";
import { protocolFeatures } from "../../../lib/vhost_user/messages.ts";

/** VERSION_1, EVENT_IDX and INDIRECT_DESC. */
const FEATURES = bit(32) | bit(29) | bit(28);
/** What every byte is filled with. */
export const FILLING = 0x5a;

/** Serves a ring that was kicked. */
export type Serve = (live: BackEndRing) => void;

/** Gives back each chain, filled to its end. */
export function fill(live: BackEndRing): void {
  const chain = new Chain();
  do {
    while (live.ring.pop(chain)) {
      const bytes = new Uint8Array(chain.writableBytes).fill(FILLING);
      chain.scatter(0, bytes);
      live.ring.complete(chain.head, bytes.length);
    }
  } while (live.ring.enableNotifications());
  live.call();
}

/** An entropy device that is not random at all. */
class FillingDevice implements BackEndDevice {
  readonly name = "filler";
  readonly deviceId = 4;
  readonly features: bigint;
  readonly queueCount = 1;
  readonly maxQueueSize = 1024;

  /** Rings that run. */
  readonly live = new Map<number, BackEndRing>();

  constructor(public serve: Serve, features: bigint) {
    this.features = features;
  }

  readConfig(): Uint8Array {
    return new Uint8Array(0);
  }

  startRing(ring: BackEndRing): void {
    this.live.set(ring.index, ring);
    ring.onKick = () => this.serve(ring);
    this.serve(ring);
  }

  stopRing(index: number): void {
    this.live.delete(index);
  }

  disconnected(): void {}
}

/** A back-end at a path, for a device of class rng. */
export class Filler implements Disposable {
  readonly #device: FillingDevice;
  #server: BackEndServer;

  constructor(
    readonly reactor: Reactor,
    readonly path: string,
    serve: Serve = fill,
    features: bigint = FEATURES,
  ) {
    this.#device = new FillingDevice(serve, features);
    this.#server = new BackEndServer(reactor, path, this.#device);
  }

  /** Ends, as a process would, and is started again. */
  end(): void {
    this.#server.close();
    this.#server = new BackEndServer(this.reactor, this.path, this.#device);
  }

  /** From now on rings are served so. */
  set serve(serve: Serve) {
    this.#device.serve = serve;
  }

  /** Serves the rings that run now, kicked or not. */
  look(serve: Serve): void {
    for (const ring of this.#device.live.values()) {
      try {
        serve(ring);
      } catch (error) {
        ring.fail(error as Error);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#server.close();
  }
}

/** A back-end of class rng that is hostile at some message. */
export function hostileRng(reactor: Reactor, path: string, behaviour: Behaviour): HostileBackEnd {
  return new HostileBackEnd(reactor, path, {
    features: FEATURES | bit(30),
    protocolFeatures: protocolFeatures("MQ", "REPLY_ACK", "BACKEND_REQ", "RESET_DEVICE"),
    queueCount: 1n,
    ...behaviour,
  });
}
