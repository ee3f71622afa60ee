// SPDX-License-Identifier: Apache-2.0
/**
 * CAN's replay: a new back-end gets START if the controller is started. Without it a device refuses every transmit request and
 * receives no frames.
 *
 * @module
 */
import type { Replay, ReplayRole } from "../../virtio/device_class.ts";
import {
  CONTROL_SIZE,
  RESULT_OK,
  RESULT_SIZE,
  SET_CTRL_MODE_START,
  SET_CTRL_MODE_STOP,
  VQ_CONTROL,
} from "./wire.ts";

const OK = Uint8Array.of(RESULT_OK);
const START = Uint8Array.of(SET_CTRL_MODE_START & 0xff, SET_CTRL_MODE_START >> 8);

/** The state, in a byte: 1 when the controller is started. */
class CanReplay implements Replay {
  constructor(readonly area: Uint8Array) {}

  get #isStarted(): boolean {
    return this.area[0] === 1;
  }

  observe(request: DataView, length: number): void {
    const type = typeOf(request, length);
    if (type === SET_CTRL_MODE_START) this.area[0] = 1;
    if (type === SET_CTRL_MODE_STOP) this.area[0] = 0;
  }

  /**
   * A START of a started controller, or a STOP of a stopped one, succeeds whatever the back-end says: vhost-device-can 0.1.0
   * refuses it, and the next back-end may get a request again that the last one had carried out.
   */
  refused(request: DataView, length: number): Uint8Array | null {
    const type = typeOf(request, length);
    const current = this.#isStarted ? SET_CTRL_MODE_START : SET_CTRL_MODE_STOP;
    return type === current ? OK : null;
  }

  /** A driver expects a stopped controller after its reset. */
  isClean(): boolean {
    return !this.#isStarted;
  }

  /** Before the frames in flight: a controller that is stopped refuses them. */
  before(): Uint8Array<ArrayBuffer>[] {
    return this.#isStarted ? [START.slice()] : [];
  }

  after(): Uint8Array<ArrayBuffer>[] {
    return [];
  }

  /** A frame may wait for its bus for any time. */
  isDue(): boolean {
    return false;
  }
}

/** The type of a request; −1 when it is cut short. */
function typeOf(request: DataView, length: number): number {
  return length < CONTROL_SIZE ? -1 : request.getUint16(0, true);
}

/** CAN's replay. */
export const replay: ReplayRole = {
  queue: VQ_CONTROL,
  stateBytes: 1,
  requestBytes: CONTROL_SIZE,
  responseBytes: RESULT_SIZE,
  isOk: (response) => response.getUint8(0) === RESULT_OK,
  create: (area) => new CanReplay(area),
};
