// SPDX-License-Identifier: Apache-2.0
/**
 * Records the requests of a class's control queue, for replay to the next back-end.
 *
 * @module
 */
import type { Chain } from "../virtio/split_ring.ts";
import type { DeviceReplay } from "./replay.ts";
import type { ShadowRing } from "./shadow_ring.ts";
import type { SlotLayout } from "./slots.ts";

/** See the module. */
export class RequestWatch {
  readonly #request: Uint8Array<ArrayBuffer>;
  readonly #response: Uint8Array<ArrayBuffer>;

  constructor(readonly replay: DeviceReplay) {
    this.#request = new Uint8Array(replay.role.requestBytes);
    this.#response = new Uint8Array(replay.role.responseBytes);
  }

  /**
   * Records a request that was answered. The class may replace the response that the driver gets.
   *
   * @param chain The driver's chain, with the response copied back
   * @param back Holds the response, in the slot of `head`
   * @param mark Its mark among the chains in flight
   */
  observe(chain: Chain, back: ShadowRing, head: number, layout: SlotLayout, mark: number): void {
    const request = this.#request;
    const length = Math.min(request.length, chain.readableBytes);
    chain.gather(0, request, 0, length);
    if (!readWritable(chain, back, head, layout, this.#response)) return;
    const response = new DataView(this.#response.buffer);
    const instead = this.replay.observe(new DataView(request.buffer), length, response, mark);
    if (instead !== null) chain.scatter(0, instead);
  }
}

/** Reads the beginning of a chain's writable part from its slot. @returns whether it is long enough */
function readWritable(
  chain: Chain,
  back: ShadowRing,
  head: number,
  layout: SlotLayout,
  target: Uint8Array,
): boolean {
  if (chain.writableBytes < target.length) return false;
  for (let i = chain.readableCount, at = 0; at < target.length; i++) {
    const length = Math.min(chain.length[i]!, target.length - at);
    back.read(head, layout.at[i]!, target, at, length);
    at += length;
  }
  return true;
}
