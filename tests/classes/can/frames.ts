// SPDX-License-Identifier: Apache-2.0
/**
 * Frames for tests, and a bus that does what a test says.
 *
 * @module
 */
import type { Bus, BusEvents, BusSpec, Sending } from "../../../lib/classes/can/bus.ts";
import { type CanFrame, encodeFrame, MAX_FRAME_SIZE, TX } from "../../../lib/classes/can/wire.ts";

/** A classic frame with these bytes; `kind` changes it. */
export function frame(id: number, bytes: number[] = [], kind: Partial<CanFrame> = {}): CanFrame {
  const data = Uint8Array.from(bytes);
  return {
    id,
    isExtended: false,
    isFd: false,
    isRtr: false,
    length: data.length,
    data,
    ...kind,
  };
}

/** A remote transmission request. */
export function rtr(id: number, length: number): CanFrame {
  return frame(id, [], { isRtr: true, length });
}

/** A frame as the driver sends it. */
export function txBytes(frame: CanFrame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MAX_FRAME_SIZE);
  return bytes.slice(0, encodeFrame(bytes, TX, frame));
}

/** A bus that a test plays. */
export class FakeBus implements BusSpec, Bus {
  readonly name = "fake0";
  hasFd = true;
  /** What becomes of the next frames. */
  sending: Sending = "sent";
  /** Why nothing can be connected; empty: it can. */
  problem = "";
  /** Called with each frame before it is sent. */
  onSend: () => void = () => {};
  readonly sent: CanFrame[] = [];
  /** Null while no controller is connected. */
  events: BusEvents | null = null;
  connections = 0;

  connect(events: BusEvents): Bus {
    if (this.problem !== "") throw new Error(this.problem);
    this.connections++;
    this.events = events;
    return this;
  }

  send(frame: CanFrame): Sending {
    this.onSend();
    if (this.sending === "sent" || this.sending === "accepted") this.sent.push(frame);
    return this.sending;
  }

  [Symbol.dispose](): void {
    this.events = null;
  }
}
