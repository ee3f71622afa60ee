// SPDX-License-Identifier: Apache-2.0
/**
 * What an echo device that takes another's place must be told: the key.
 *
 * @module
 */
import type { Replay, ReplayRole } from "../../../lib/virtio/device_class.ts";
import { CONTROL_SIZE, OK, SET_KEY, VQ_CONTROL } from "./wire.ts";

/** The last SET_KEY that was done, as it was sent; zeros before there is one. */
class EchoReplay implements Replay {
  constructor(readonly area: Uint8Array) {}

  observe(request: DataView, length: number): void {
    if (length < CONTROL_SIZE || request.getUint8(0) !== SET_KEY) return;
    this.area[0] = SET_KEY;
    this.area[1] = request.getUint8(1);
  }

  before(): Uint8Array<ArrayBuffer>[] {
    return this.area[0] === SET_KEY ? [Uint8Array.from(this.area)] : [];
  }

  after(): Uint8Array<ArrayBuffer>[] {
    return [];
  }

  isDue(): boolean {
    return false;
  }
}

/** Echo's replay. */
export const replay: ReplayRole = {
  queue: VQ_CONTROL,
  stateBytes: CONTROL_SIZE,
  requestBytes: CONTROL_SIZE,
  responseBytes: 1,
  isOk: (response) => response.getUint8(0) === OK,
  create: (area) => new EchoReplay(area),
};
