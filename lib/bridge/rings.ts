// SPDX-License-Identifier: Apache-2.0
/**
 * A device as the ring Worker sees it, whichever way its memory goes.
 *
 * @module
 */
import { viewMemory } from "../../ffi/mod.ts";
import { type LoopbackPort, ring } from "../loopback/port.ts";
import { GuestMemory } from "../virtio/memory.ts";
import {
  DEVICE_COUNTERS,
  DeviceState,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
} from "../virtio/state.ts";
import type { LaneDevice, RingEvent, Session } from "./lane_messages.ts";
import type { Scheduled } from "./schedule.ts";

/** The driver rang. */
export const KICK = 1;
/** The back-end rang. */
export const CALL = 2;

/** The driver's memory as far as viola has mapped it, null if it has not. */
export function driverMemory(port: LoopbackPort): GuestMemory | null {
  if (port.memory.length === 0) return null;
  return new GuestMemory(
    port.memory.map((range) => ({ guest: range.guest, buffer: viewMemory(range) })),
  );
}

/** What both memory modes share: which queues have work, and the interrupt. */
export abstract class LaneRings implements Scheduled {
  readonly priority: number;
  protected readonly state: DeviceState;
  /** KICK and CALL bits by queue. */
  readonly #marks: Uint8Array;
  readonly #port: LoopbackPort;
  #next = 0;
  ready = false;

  constructor(
    protected readonly device: LaneDevice,
    protected readonly report: (event: RingEvent) => void,
  ) {
    this.priority = device.priority;
    this.#port = device.port;
    this.state = DeviceState.open(viewMemory(device.state));
    this.#marks = new Uint8Array(this.state.queueCount);
  }

  /** Notes that a queue has work. */
  mark(queue: number, bits: number): void {
    this.#marks[queue]! |= bits;
    this.ready = true;
  }

  /** Serves one queue, the queues in turn. */
  serve(): void {
    const marks = this.#marks;
    for (let i = 0; i < marks.length; i++) {
      const queue = this.#next;
      this.#next = (queue + 1) % marks.length;
      const bits = marks[queue]!;
      if (bits === 0) continue;
      marks[queue] = 0;
      this.serveQueue(queue, bits);
      return;
    }
    this.ready = false;
  }

  /** Forgets all work. */
  protected clearMarks(): void {
    this.#marks.fill(0);
    this.ready = false;
  }

  /** Tells the driver that buffers were used. Never with the gate shut behind us: the driver's answer takes the access Worker. */
  protected interrupt(): void {
    this.state.raiseInterruptStatus(INTERRUPT_USED_BUFFER);
    this.#ring();
  }

  /** Tells the driver that the config space or the status changed. */
  configInterrupt(): void {
    this.state.raiseInterruptStatus(INTERRUPT_CONFIG_CHANGE);
    this.#ring();
  }

  #ring(): void {
    this.state.counters[DEVICE_COUNTERS.interrupts]!++;
    ring(this.#port.interrupt);
  }

  /** Serves one queue, a bounded batch; marks it again if there is more. */
  protected abstract serveQueue(queue: number, bits: number): void;

  /** Takes up a back-end. @returns the index at which each of the session's rings begins */
  abstract attach(session: Session): number[];

  /** Lets go of the back-end and its memory. */
  abstract detach(): void;

  /** The back-end listens now. */
  abstract go(): void;

  /** Whether chains in flight in a queue should have come back by now. */
  abstract isDue(queue: number): boolean;
}
