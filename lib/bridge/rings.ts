// SPDX-License-Identifier: Apache-2.0
/**
 * A device as the ring Worker sees it: queues that are relayed to a back-end or passed to it, and the back-end's life
 * from its first request to the day it is lost. What it had in relayed queues is known, and offered again to the next.
 *
 * @module
 */
import { signalEvent, viewMemory } from "../../ffi/mod.ts";
import { Chunks } from "../loopback/chunks.ts";
import { type LoopbackPort, ring } from "../loopback/port.ts";
import { viewsOf } from "../loopback/views.ts";
import type { QueueKind, ReplayRole } from "../virtio/device_class.ts";
import { MemoryError, RingError } from "../virtio/error.ts";
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC } from "../virtio/features.ts";
import { GuestMemory } from "../virtio/memory.ts";
import { queueLayout } from "../virtio/registers.ts";
import { Chain, DriverRing, type RingOptions } from "../virtio/split_ring.ts";
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  RING_COUNTERS,
  RING_QUEUE_COUNTERS,
} from "../virtio/state.ts";
import { RingState } from "../virtio/state_writers.ts";
import { SlotAllocator } from "./slots.ts";
import { beginUse, endUse } from "./memory_use.ts";
import type { Activation, ActivationRing, LaneDevice, RingEvent } from "./lane_messages.ts";
import { DirectQueue } from "./direct_queue.ts";
import { ShadowQueue } from "./shadow_queue.ts";
import { DeviceReplay, isShadowed } from "./replay.ts";
import { ReplayRequests } from "./replay_requests.ts";
import type { Scheduled } from "./schedule.ts";

/** The driver rang. */
export const KICK = 1;
/** The back-end rang. */
export const CALL = 2;
/** Nobody rang, but there may be chains of the driver's. */
const LOOK = 4;

/** Chains served before another queue has its turn. */
const BATCH = 16;

/** Where a device stands with its back-end. */
type Phase =
  | "none"
  | "attached"
  | "replaying before"
  | "prepared"
  | "replaying after"
  | "live";

/** A device's rings. */
export class LaneRings implements Scheduled {
  readonly priority: number;
  ready = false;
  readonly #state: RingState;
  readonly #port: LoopbackPort;
  /** The driver's memory as far as viola has mapped it, null if it has not. */
  readonly #memory: GuestMemory | null;
  /** What a successor maps of it. */
  readonly #chunks: Chunks | null;
  readonly #chain = new Chain();
  readonly #kinds: readonly QueueKind[];
  /** KICK and CALL bits by queue, and the queue whose turn it is. */
  readonly #marks: Uint8Array;
  #next = 0;
  /** By index, those of the driver's life `#epoch`; a queue that it did not set up is missing. */
  #queues: (ShadowQueue | DirectQueue | undefined)[] = [];
  #epoch = -1;
  #phase: Phase = "none";
  /** By queue: the eventfd that the back-end hears. */
  #kicks: number[] = [];
  #replay: DeviceReplay | null = null;
  #replaying: ReplayRequests | null = null;
  #requeued = 0;
  #replayed = 0;
  /** Whether the process before may have died between using buffers and saying so. */
  #owesInterrupt: boolean;

  constructor(
    readonly device: LaneDevice,
    readonly replayRole: ReplayRole,
    readonly report: (event: RingEvent) => void,
  ) {
    const { priority, port, state } = device;
    this.priority = priority;
    this.#port = port;
    this.#state = RingState.open(viewMemory(state));
    this.#kinds = device.queues.map(({ kind }) => kind);
    this.#marks = new Uint8Array(this.#state.queueCount);
    this.#chunks = port.chunks === null ? null : new Chunks(port.chunks, this.#state);
    const isMapped = this.#chunks !== null || port.memory.length > 0;
    const grow = this.#chunks?.grow ?? viewsOf(port.memory);
    this.#memory = isMapped ? new GuestMemory([], grow) : null;
    this.#owesInterrupt = device.restored;
  }

  /** The queues whose kicks this Worker must hear. */
  get shadowed(): number[] {
    const all = Array.from(this.#marks.keys());
    return all.filter((queue) => isShadowed(this.device, queue));
  }

  // ---- turns ----

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
      this.#serveQueue(queue, bits);
      return;
    }
    this.ready = false;
  }

  #serveQueue(index: number, bits: number): void {
    const queue = this.#queues[index];
    if (queue === undefined || this.#phase === "none") return;
    if (queue instanceof DirectQueue) this.#pass(index, bits);
    else if (this.#phase === "live") this.#relay(queue, bits);
    else if (this.#replaying?.queue === queue) this.#stepReplay(this.#replaying);
  }

  #pass(index: number, bits: number): void {
    if ((bits & CALL) === 0 || this.#state.epoch !== this.#epoch) return;
    this.#state.queues[index]!.count(RING_QUEUE_COUNTERS.calls);
    this.#interrupt(INTERRUPT_USED_BUFFER);
  }

  #relay(queue: ShadowQueue, bits: number): void {
    let again = 0;
    if (!this.#enter(queue)) return;
    try {
      if ((bits & CALL) !== 0 && queue.collect(BATCH, this.#replay!)) again |= CALL;
      if (((bits & (KICK | LOOK)) !== 0 || queue.parked) && queue.forward(BATCH)) {
        again |= bits & KICK | LOOK;
      }
    } catch (error) {
      return this.#giveUp(queue, error as Error);
    } finally {
      endUse(this.device.memoryUse);
    }
    if (again !== 0) this.mark(queue.index, again);
    if (queue.needsKick()) this.#kick(queue.index, (bits & KICK) !== 0);
    if (queue.takeInterrupt()) this.#interrupt(INTERRUPT_USED_BUFFER);
  }

  /** Goes in, if the driver's life is still the one that the rings were taken from. */
  #enter(queue: ShadowQueue): boolean {
    beginUse(this.device.memoryUse);
    if (this.#state.epoch === this.#epoch && queue.current) return true;
    endUse(this.device.memoryUse);
    return false;
  }

  /** A ring cannot be true: it is not looked at again, and whoever wrote it is named. */
  #giveUp(queue: ShadowQueue, { message: text }: Error): void {
    const { id } = this.device;
    this.detach();
    if (queue.blame === "back-end") this.report({ id, kind: "back-end error", text });
    else this.report({ id, kind: "driver error", text, epoch: this.#epoch });
  }

  /** Never from inside the gate: the driver's handler makes two accesses, and the reset it may be in waits for us. */
  #interrupt(bit: number): void {
    this.#state.raiseInterruptStatus(bit);
    this.#state.count(RING_COUNTERS.interrupts);
    ring(this.#port.interrupt);
  }

  /** Tells the driver that the config space or the status changed. */
  configInterrupt(): void {
    this.#interrupt(INTERRUPT_CONFIG_CHANGE);
  }

  // ---- a back-end's life ----

  /**
   * Takes up a back-end.
   *
   * @returns the index at which each of the activation's rings begins; null when the driver's rings cannot be true
   */
  attach(activation: Activation): number[] | null {
    const resumes = activation.epoch === this.#epoch;
    this.#requeued = this.#replayed = 0;
    try {
      if (!resumes) this.#begin(activation);
      const memory = activationMemory(activation);
      const bases = activation.rings.map((ring) =>
        this.#trusting(ring.index, () => this.#attachRing(ring, activation, memory, resumes))
      );
      if (!this.#stands(activation)) return null;
      this.#phase = "attached";
      return bases;
    } catch (error) {
      this.detach();
      // What was read while the driver took it back was nobody's lie.
      if (!this.#stands(activation)) return null;
      const { message: text } = error as Error;
      this.report({ id: this.device.id, kind: "driver error", text, epoch: activation.epoch });
      return null;
    }
  }

  /** Whether the driver has not taken the activation's queues back since they were looked at. A reset takes queues first. */
  #stands({ epoch, rings }: Activation): boolean {
    const ready = rings.every(({ index }) => this.#state.queues[index]!.ready);
    return ready && this.#state.epoch === epoch;
  }

  /** Does something with a queue that lies where the driver says. @throws {RingError} when there is no memory */
  #trusting<T>(index: number, action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
      const { address, length } = error;
      const problem = `it has ${length} bytes at 0x${
        address.toString(16)
      }, expected them in memory`;
      throw new RingError(this.device.name, index, "set up", problem);
    }
  }

  #attachRing(
    ring: ActivationRing,
    activation: Activation,
    memory: GuestMemory | null,
    resumes: boolean,
  ): number {
    const queue = this.#queues[ring.index]!;
    this.#kicks[ring.index] = ring.kick;
    if (queue instanceof ShadowQueue) return this.#attachShadow(queue, ring, activation, memory!);
    if (resumes) this.#requeue(queue.index, queue.waiting);
    return queue.base;
  }

  #attachShadow(
    queue: ShadowQueue,
    ring: ActivationRing,
    { eventIdx }: Activation,
    memory: GuestMemory,
  ): number {
    const { guest, buffer } = memory.regions[0]!;
    const options = this.#options(eventIdx, `the back-end of ${this.device.name}`);
    // Not the driver's: some daemons take no index but 0 for a ring of a new connection (rng 0.1.0), and it is ours.
    const base = 0;
    const slots = new SlotAllocator(ring.slots!.start, ring.slots!.end, ring.size);
    queue.attach(new DriverRing(memory, ring, options, base), slots, buffer, guest);
    return base;
  }

  /** Takes up the rings of a new life of the driver, or of one that another process served before. */
  #begin(activation: Activation): void {
    const state = this.#state;
    const options = this.#options(state.driverHas(VIRTIO_F_RING_EVENT_IDX), this.device.name);
    this.#epoch = -1;
    this.#queues = [];
    this.#replay = new DeviceReplay(this.replayRole, state.replay, activation.epoch);
    for (const { index, slots } of activation.rings) {
      const layout = queueLayout(state, index);
      this.#queues[index] = slots === null
        ? new DirectQueue(layout, this.#memory, options)
        : this.#trusting(index, () => {
          const queue = state.queues[index]!;
          return new ShadowQueue(queue, this.#memory!, layout, options, this.#chain);
        });
    }
    this.#epoch = activation.epoch;
  }

  #options(eventIdx: boolean, deviceName: string): RingOptions {
    const indirect = this.#state.driverHas(VIRTIO_F_RING_INDIRECT_DESC);
    return { indirect, eventIdx, deviceName };
  }

  /** Lets go of the back-end and its memory. What it had is still in flight. */
  detach(): void {
    for (const queue of this.#queues) if (queue instanceof ShadowQueue) queue.detach();
    this.#phase = "none";
    this.#replaying = null;
    this.#marks.fill(0);
    this.ready = false;
  }

  /** The back-end listens at the shadow rings: tells it what it must know. */
  prepare(): void {
    if (this.#phase !== "attached") return;
    this.#startReplay("replaying before", this.#replay!.before());
  }

  /** It listens at all rings: offers it what is in flight, tells it the rest, and last offers what is in that queue. */
  go(): void {
    if (this.#phase !== "prepared") return;
    const own = this.#replay!.queue;
    for (const queue of this.#queues) {
      if (queue instanceof DirectQueue) this.#kick(queue.index, false); // what was offered before it listened
    }
    if (!this.#reoffer((queue) => queue !== own)) return;
    this.#startReplay("replaying after", this.#replay!.after());
  }

  /** Sends requests of our own; when the last is answered, {@linkcode LaneRings.#advance} goes on. */
  #startReplay(phase: Phase, messages: Uint8Array<ArrayBuffer>[]): void {
    this.#phase = phase;
    const queue = this.#queues[this.#replay!.queue];
    if (messages.length === 0 || !(queue instanceof ShadowQueue)) return this.#advance();
    this.#replayed += messages.length;
    this.#replaying = new ReplayRequests(queue, messages, this.replayRole);
    this.mark(queue.index, CALL);
  }

  #stepReplay(replaying: ReplayRequests): void {
    const { id } = this.device;
    const { queue } = replaying;
    let done = false;
    try {
      done = replaying.step((text) => this.report({ id, kind: "replay refused", text }));
    } catch (error) {
      return this.#giveUp(queue, error as Error);
    }
    if (queue.needsKick()) this.#kick(queue.index, true);
    if (done) this.#advance();
  }

  #advance(): void {
    const own = this.#replay!.queue;
    this.#replaying = null;
    if (this.#phase === "replaying before") {
      this.#phase = "prepared";
      this.report({ id: this.device.id, kind: "prepared" });
    } else if (this.#reoffer((queue) => queue === own)) this.#goLive();
  }

  /** Offers the chains in flight in some queues to the new back-end, in their old order. @returns whether it could */
  #reoffer(which: (queue: number) => boolean): boolean {
    for (const queue of this.#queues) {
      if (!(queue instanceof ShadowQueue) || !which(queue.index)) continue;
      if (!this.#enter(queue)) return false;
      try {
        this.#requeue(queue.index, queue.reoffer(this.#replay!));
      } catch (error) {
        this.#giveUp(queue, error as Error);
        return false;
      } finally {
        endUse(this.device.memoryUse);
      }
      this.#kick(queue.index, false);
    }
    return true;
  }

  /**
   * Rings for the back-end; but an event queue only if the driver did. The back-end looks there when it has something to
   * tell, and vhost-device-sound 0.3.0 looks for ever when rung with nothing to tell.
   */
  #kick(index: number, driverRang: boolean): void {
    if (driverRang || this.#kinds[index] !== "event") signalEvent(this.#kicks[index]!);
  }

  #requeue(index: number, count: number): void {
    this.#requeued += count;
    this.#state.queues[index]!.count(RING_QUEUE_COUNTERS.requeued, count);
  }

  /** What the two sides said while nobody passed it on is caught up with: every ring is looked at once, from both ends. */
  #goLive(): void {
    this.#phase = "live";
    const { id } = this.device;
    this.report({ id, kind: "live", requeued: this.#requeued, replayed: this.#replayed });
    for (const queue of this.#queues) {
      if (queue instanceof ShadowQueue) this.mark(queue.index, LOOK | CALL);
    }
    if (this.#owesInterrupt || this.#queues.some((queue) => queue instanceof DirectQueue)) {
      this.#interrupt(INTERRUPT_USED_BUFFER);
    }
    this.#owesInterrupt = false;
  }

  /** Lets go of the device: nothing of it may be used any more. */
  close(): void {
    this.#chunks?.close();
  }

  /** Whether chains in flight in a queue should have come back by now. */
  isDue(index: number): boolean {
    const queue = this.#queues[index];
    const isRequest = this.#kinds[index] === "request";
    if (queue === undefined) return false;
    if (this.#phase !== "live") return this.#replaying?.queue === queue;
    try {
      if (queue instanceof DirectQueue) return queue.isDue(isRequest, this.#replay!);
      if (!this.#enter(queue)) return false;
      try {
        return queue.isDue(isRequest, this.#replay!);
      } finally {
        endUse(this.device.memoryUse);
      }
    } catch {
      return false; // the driver's ring cannot be true: its next chain will say so
    }
  }
}

/** A activation's own memory, in one view; null when it has none. */
function activationMemory({ memory }: Activation): GuestMemory | null {
  if (memory === null) return null;
  return new GuestMemory([{ guest: memory.guest, buffer: viewMemory(memory.range) }]);
}
