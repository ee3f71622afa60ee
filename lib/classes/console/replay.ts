// SPDX-License-Identifier: Apache-2.0
/**
 * What a new back-end of a console with several ports must be told: that the driver is ready, which ports it has set up,
 * and which of them a program has open (virtio 1.2, §5.3.6.2). The back-end answers by announcing its ports again, which
 * Linux's driver takes as after hibernation.
 *
 * @module
 */
import type { Replay, ReplayRole } from "../../virtio/device_class.ts";
import {
  CONTROL_SIZE,
  decodeControl,
  DEVICE_READY,
  encodeControl,
  MAX_PORTS,
  PORT_OPEN,
  PORT_READY,
  VQ_CONTROL_RX,
  VQ_CONTROL_TX,
} from "./wire.ts";

/** The state is a byte of {@linkcode READY} for the device, then a byte of both for each port. */
const READY = 1;
const OPEN = 2;

class ConsoleReplay implements Replay {
  constructor(readonly area: Uint8Array) {}

  observe(request: DataView, length: number): void {
    const message = length < CONTROL_SIZE ? null : decodeControl(request);
    if (message === null) return;
    const { id, event, value } = message;
    const isOn = value === 1;
    if (event === DEVICE_READY) this.#note(0, READY, isOn);
    else if (id >= MAX_PORTS) return;
    else if (event === PORT_READY) this.#note(1 + id, READY, isOn);
    else if (event === PORT_OPEN) this.#note(1 + id, OPEN, isOn);
  }

  #note(at: number, flag: number, isOn: boolean): void {
    const others = this.area[at]! & ~flag;
    this.area[at] = isOn ? others | flag : others;
  }

  /** A driver says that it is ready in each life, but a port that is open would be given data that nobody reads. */
  isClean(): boolean {
    return this.area.subarray(1).every((flags) => (flags & OPEN) === 0);
  }

  before(): Uint8Array<ArrayBuffer>[] {
    return [];
  }

  /** After the driver's buffers are offered: the back-end answers in them. */
  after(): Uint8Array<ArrayBuffer>[] {
    const ports = Array.from({ length: MAX_PORTS }, (_, id) => id);
    const having = (flag: number) => ports.filter((id) => (this.area[1 + id]! & flag) !== 0);
    return [
      ...((this.area[0]! & READY) === 0 ? [] : [message(0, DEVICE_READY)]),
      ...having(READY).map((id) => message(id, PORT_READY)),
      ...having(OPEN).map((id) => message(id, PORT_OPEN)),
    ];
  }

  isDue(): boolean {
    return false;
  }
}

/** A message of the driver with value 1. */
function message(id: number, event: number): Uint8Array<ArrayBuffer> {
  return encodeControl({ id, event, value: 1 });
}

/** Control messages have no response. */
export const replay: ReplayRole = {
  queue: VQ_CONTROL_TX,
  answers: [VQ_CONTROL_RX],
  stateBytes: 1 + MAX_PORTS,
  requestBytes: CONTROL_SIZE,
  responseBytes: 0,
  isOk: () => true,
  create: (area) => new ConsoleReplay(area),
};
