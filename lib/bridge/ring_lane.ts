// SPDX-License-Identifier: Apache-2.0
/**
 * The devices of a lane as its ring Worker serves them. That Worker is the only thread that touches their rings and raises
 * their interrupts. It serves one bounded batch of one queue at a time, highest priority first and round robin among
 * equals, and polls for newly ready queues after each batch.
 *
 * @module
 */
import {
  type BlockingService,
  Epoll,
  EPOLLET,
  EPOLLIN,
  type Handlers,
  OWNER_KEY,
  PeerSignal,
  type Report,
} from "../../ffi/mod.ts";
import type { Activation, LaneDevice, RingContract, RingEvent } from "./lane_messages.ts";
import { CALL, KICK } from "./lane_queue.ts";
import { loadReplay } from "./replay.ts";
import { LaneRings } from "./rings.ts";
import { Schedule } from "./schedule.ts";

/** An event's key: device id, queue, and which of its two eventfds. */
const QUEUE_SHIFT = 1;
const DEVICE_SHIFT = 8;
const QUEUE_MASK = (1 << (DEVICE_SHIFT - QUEUE_SHIFT)) - 1;

function keyOf(device: number, queue: number, call: boolean): number {
  return device << DEVICE_SHIFT | queue << QUEUE_SHIFT | (call ? 1 : 0);
}

/** See the module. */
export class RingLane implements BlockingService<RingContract> {
  readonly epoll: Epoll = Epoll.create();
  readonly handlers: Handlers<RingContract> = {
    add: (device) => this.#add(device),
    remove: (id) => this.#remove(id),
    attach: (activation) => this.#attach(activation),
    detach: (id) => this.#detach(id),
    replay: (id) => {
      this.#of(id).replay();
      this.#serve();
    },
    resume: (id) => {
      this.#of(id).resume();
      this.#serve();
    },
    progress: (id) => this.#of(id).progress(),
    configInterrupt: (id) => this.#of(id).configInterrupt(),
  };
  readonly #signal = PeerSignal.create();
  readonly #devices = new Map<number, LaneRings>();
  readonly #calls = new Map<number, readonly number[]>();
  readonly #schedule = new Schedule<LaneRings>();

  constructor(readonly report: Report<RingEvent>) {}

  async #add(device: LaneDevice): Promise<void> {
    const replay = await loadReplay(device.replay?.url ?? null);
    const rings = new LaneRings(device, replay, this.#signal, this.report);
    this.#devices.set(device.id, rings);
    this.#schedule.add(rings);
    for (const queue of rings.shadowed) {
      // Edge-triggered: each signal is reported once, and the eventfd never needs to be read.
      this.epoll.add(device.kicks[queue]!, EPOLLIN | EPOLLET, keyOf(device.id, queue, false));
    }
  }

  #remove(id: number): void {
    const rings = this.#devices.get(id);
    if (rings === undefined) return;
    this.#detach(id);
    for (const queue of rings.shadowed) this.epoll.remove(rings.device.kicks[queue]!);
    rings.close();
    this.#schedule.remove(rings);
    this.#devices.delete(id);
  }

  #attach(activation: Activation): number[] | null {
    this.#detach(activation.id);
    const bases = this.#of(activation.id).attach(activation);
    if (bases === null) return null;
    for (const ring of activation.rings) {
      this.epoll.add(ring.call, EPOLLIN | EPOLLET, keyOf(activation.id, ring.index, true));
    }
    this.#calls.set(activation.id, activation.rings.map((ring) => ring.call));
    return bases;
  }

  #detach(id: number): void {
    for (const call of this.#calls.get(id) ?? []) this.epoll.remove(call);
    this.#calls.delete(id);
    this.#of(id).detach();
  }

  #of(id: number): LaneRings {
    const rings = this.#devices.get(id);
    if (rings === undefined) throw new Error(`Cannot find device ${id} in this lane`);
    return rings;
  }

  /** Frees its epoll and what it signals with. */
  close(): void {
    this.epoll.close();
    this.#signal.close();
  }

  /** Handles what the epoll found. @param n How many events */
  turn(n: number): void {
    this.#mark(n);
    this.#serve();
  }

  #mark(n: number): void {
    const { found } = this.epoll;
    for (let i = 0; i < n; i++) {
      const key = found[2 * i]!;
      if (key === OWNER_KEY) continue;
      const queue = key >>> QUEUE_SHIFT & QUEUE_MASK;
      this.#devices.get(key >>> DEVICE_SHIFT)?.mark(queue, (key & 1) === 1 ? CALL : KICK);
    }
  }

  #serve(): void {
    const alone = this.#devices.size === 1;
    for (let rings = this.#schedule.next(); rings !== null; rings = this.#schedule.next()) {
      rings.serve();
      // A queue that became ready meanwhile may have a higher priority than those still waiting.
      if (!alone) this.#mark(this.epoll.wait(0));
    }
  }
}
