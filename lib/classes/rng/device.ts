// SPDX-License-Identifier: Apache-2.0
/**
 * The entropy device (virtio 1.2 §5.4): fills whatever is offered with random bytes.
 *
 * @module
 */
import { Chain } from "../../virtio/chain.ts";
import {
  bit,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from "../../virtio/features.ts";
import type { BackEndDevice, BackEndRing } from "../../vhost_user/back_end.ts";
import type { Clock } from "../../device/clock.ts";

/** As many bytes as the system gives in one call. */
const PIECE_BYTES = 65536;
/** Most bytes that one buffer gets: a device may use less than all of it (§5.4.6.1), and must not be kept busy by one. */
const MAX_BYTES = 2 ** 20;

/** A source of entropy, from the system's own generator. */
export class RngDevice implements BackEndDevice {
  readonly name = "rng";
  readonly deviceId = 4;
  readonly features: bigint = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_RING_INDIRECT_DESC) |
    bit(VIRTIO_F_RING_EVENT_IDX);
  readonly queueCount = 1;
  readonly maxQueueSize = 1024;

  readonly #clock: Clock;
  readonly #chain = new Chain();
  readonly #random = new Uint8Array(PIECE_BYTES);
  #ring: BackEndRing | null = null;

  /** @param clock Only its alarm is used, to go on after a turn that was cut off */
  constructor(clock: Clock) {
    this.#clock = clock;
    clock.onAlarm = () => this.#turn();
  }

  readConfig(): Uint8Array {
    return new Uint8Array(0);
  }

  startRing(ring: BackEndRing): void {
    this.#ring = ring;
    ring.onKick = () => this.#turn();
    this.#turn();
  }

  stopRing(): void {
    this.#ring = null;
  }

  disconnected(): void {
    this.#ring = null;
  }

  #turn(): void {
    const live = this.#ring;
    if (live === null) return;
    try {
      // A driver that never stops offering must not keep the loop from all else.
      if (this.#serve(live)) this.#clock.arm(0);
    } catch (error) {
      this.#ring = null;
      live.fail(error as Error);
    }
    live.call();
  }

  /** @returns whether there may be more */
  #serve({ ring }: BackEndRing): boolean {
    for (let budget = ring.size; budget > 0;) {
      if (ring.pop(this.#chain)) {
        ring.complete(this.#chain.head, this.#fill());
        budget--;
      } else if (!ring.enableNotifications()) return false;
    }
    return true;
  }

  #fill(): number {
    const wanted = Math.min(this.#chain.writableBytes, MAX_BYTES);
    for (let done = 0; done < wanted; done += PIECE_BYTES) {
      const length = Math.min(wanted - done, PIECE_BYTES);
      const random = this.#random.subarray(0, length);
      crypto.getRandomValues(random);
      this.#chain.scatter(done, random);
    }
    return wanted;
  }
}
