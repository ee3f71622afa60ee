// SPDX-License-Identifier: Apache-2.0
/**
 * The entropy device (virtio 1.2 §5.4): fills the driver's buffers with random bytes.
 *
 * @module
 */
import type { DeviceContract, DeviceHost, DeviceRole, VirtioDevice } from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { rng } from "./class.ts";

/** The most bytes that `crypto.getRandomValues` returns in one call. */
const PIECE_BYTES = 65536;
/** The most bytes written to one buffer. A device may use less than the whole buffer (§5.4.6.1); one must not occupy it for long. */
const MAX_BYTES = 2 ** 20;

/** A source of entropy, from the system's own generator. */
class RngDevice implements VirtioDevice {
  readonly #host: DeviceHost;
  readonly #random = new Uint8Array(PIECE_BYTES);

  constructor(host: DeviceHost) {
    this.#host = host;
  }

  serve(queue: number, chain: Chain): void {
    const wanted = Math.min(chain.writableBytes, MAX_BYTES);
    for (let done = 0; done < wanted; done += PIECE_BYTES) {
      const length = Math.min(wanted - done, PIECE_BYTES);
      const random = this.#random.subarray(0, length);
      crypto.getRandomValues(random);
      chain.scatter(done, random);
    }
    this.#host.complete(queue, chain, wanted);
  }
}

/** The embedded entropy device. */
export const device: DeviceRole<DeviceContract> = {
  deviceClass: rng,
  check: () => {},
  create: (_spec, host) => new RngDevice(host),
};
