// SPDX-License-Identifier: Apache-2.0
/**
 * Isolated memory, in the ring Worker: chains are copied between the driver's rings and those of the back-end's own
 * memory. The back-end can be lost at any moment: what it had is known, and offered again to the next one.
 *
 * @module
 */
import { signalEvent, viewMemory } from "../../ffi/mod.ts";
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC } from "../virtio/features.ts";
import { GuestMemory } from "../virtio/memory.ts";
import { queueLayout } from "../virtio/registers.ts";
import { Chain, DriverRing } from "../virtio/split_ring.ts";
import { enter, leave } from "./gate.ts";
import { IsolatedQueue } from "./isolated_queue.ts";
import type { LaneDevice, RingEvent, Session } from "./lane_messages.ts";
import { type Replay, replayOf } from "./replay.ts";
import { ReplayQueue } from "./replay_queue.ts";
import { Bounce } from "./bounce.ts";
import { CALL, driverMemory, KICK, LaneRings } from "./rings.ts";

/** Chains served before another queue has its turn. */
const BATCH = 16;

/** Where a device stands with its back-end. */
type Phase = "none" | "attached" | "replaying before" | "replaying after" | "live";

/** A device whose chains are copied. */
export class IsolatedRings extends LaneRings {
  readonly #memory: GuestMemory;
  readonly #chain = new Chain();
  /** By index, those of the present life of the driver; a queue that it did not set up is missing. */
  #queues: (IsolatedQueue | undefined)[] = [];
  #epoch = -1;
  #phase: Phase = "none";
  #kicks: number[] = [];
  #replay: Replay | null = null;
  #replaying: ReplayQueue | null = null;
  #requeued = 0;
  #replayed = 0;

  constructor(device: LaneDevice, report: (event: RingEvent) => void) {
    super(device, report);
    const memory = driverMemory(device.port);
    if (memory === null) {
      throw new Error(`Cannot copy for ${device.name}: its loopback device's memory is not mapped`);
    }
    this.#memory = memory;
  }

  attach(session: Session): number[] {
    if (session.epoch !== this.#epoch) this.#begin(session);
    const { range, guest } = session.memory!;
    const buffer = viewMemory(range);
    const memory = new GuestMemory([{ guest, buffer }]);
    const options = {
      indirect: this.state.driverHas(VIRTIO_F_RING_INDIRECT_DESC),
      eventIdx: session.eventIdx,
      deviceName: `the back-end of ${this.device.name}`,
    };
    const bases = session.rings.map((ring) => {
      const queue = this.#queues[ring.index]!;
      const base = queue.usedIdx;
      const bounce = new Bounce(ring.bounceStart, ring.bounceEnd, ring.size);
      queue.attach(new DriverRing(memory, ring, options, base), bounce, buffer, guest);
      this.#kicks[ring.index] = ring.kick;
      return base;
    });
    this.#phase = "attached";
    return bases;
  }

  /** The rings of a new life of the driver, or of one that another process served before. */
  #begin(session: Session): void {
    const options = {
      indirect: this.state.driverHas(VIRTIO_F_RING_INDIRECT_DESC),
      eventIdx: this.state.driverHas(VIRTIO_F_RING_EVENT_IDX),
      deviceName: this.device.name,
    };
    this.#epoch = -1;
    this.#queues = [];
    this.#replay = replayOf(this.state.deviceId, this.state.replay, session.epoch);
    for (const { index } of session.rings) {
      const state = this.state.queues[index]!;
      const layout = queueLayout(this.state, index);
      const chain = this.#chain;
      this.#queues[index] = new IsolatedQueue(state, this.#memory, layout, options, chain);
    }
    this.#epoch = session.epoch;
  }

  detach(): void {
    for (const queue of this.#queues) queue?.detach();
    this.#phase = "none";
    this.#replaying = null;
    this.clearMarks();
  }

  go(): void {
    if (this.#phase !== "attached") return;
    this.#requeued = this.#replayed = 0;
    this.#startReplay("replaying before", this.#replay!.before());
  }

  /** Sends requests of our own in the replay's queue; when they are answered, {@linkcode advance} goes on. */
  #startReplay(phase: Phase, messages: Uint8Array<ArrayBuffer>[]): void {
    this.#phase = phase;
    const queue = this.#queues[this.#replay!.queue];
    if (messages.length === 0 || queue === undefined) return this.#advance();
    this.#replayed += messages.length;
    this.#replaying = new ReplayQueue(queue, messages);
    this.mark(queue.index, CALL);
  }

  #advance(): void {
    this.#replaying = null;
    const own = this.#replay!.queue;
    if (this.#phase === "replaying before") {
      this.#reoffer((queue) => queue !== own);
      this.#startReplay("replaying after", this.#replay!.after());
    } else {
      this.#reoffer((queue) => queue === own);
      this.#phase = "live";
      const { id } = this.device;
      this.report({ id, kind: "live", requeued: this.#requeued, replayed: this.#replayed });
      // The driver may have offered chains while nobody listened, and waits for no kick or interrupt to be lost.
      for (const queue of this.#queues) {
        if (queue !== undefined) this.mark(queue.index, KICK | CALL);
      }
    }
  }

  /** Offers the chains in flight in some queues to the new back-end, in their old order. */
  #reoffer(which: (queue: number) => boolean): void {
    for (const queue of this.#queues) {
      if (queue === undefined || !which(queue.index)) continue;
      this.#guarded(queue, () => this.#requeued += queue.reoffer());
      signalEvent(this.#kicks[queue.index]!);
    }
  }

  protected serveQueue(index: number, bits: number): void {
    const queue = this.#queues[index];
    if (queue === undefined || !queue.attached) return;
    if (this.#phase === "live") this.#serveLive(queue, bits);
    else if (this.#replaying?.queue === queue) this.#serveReplay(this.#replaying);
  }

  #serveLive(queue: IsolatedQueue, bits: number): void {
    let again = 0;
    const sound = this.#guarded(queue, () => {
      if ((bits & CALL) !== 0 && queue.collect(BATCH, this.#replay!)) again |= CALL;
      if ((bits & KICK) !== 0 || queue.parked) again |= queue.forward(BATCH) ? KICK : 0;
    });
    if (!sound) return;
    if (again !== 0) this.mark(queue.index, again);
    if (queue.needsKick()) signalEvent(this.#kicks[queue.index]!);
    if (queue.interruptWanted) this.interrupt();
  }

  #serveReplay(replaying: ReplayQueue): void {
    const { queue } = replaying;
    let done = false;
    const sound = this.#guarded(queue, () =>
      done = replaying.step((text) => {
        this.report({ id: this.device.id, kind: "replay refused", text });
      }));
    if (!sound) return;
    if (queue.needsKick()) signalEvent(this.#kicks[queue.index]!);
    if (done) this.#advance();
  }

  /**
   * Runs a batch inside the gate, in the driver's present life only.
   *
   * @returns whether it ran to its end
   */
  #guarded(queue: IsolatedQueue, batch: () => void): boolean {
    const { gate, id } = this.device;
    enter(gate);
    try {
      if (this.state.epoch !== this.#epoch || !queue.current) return false;
      batch();
      return true;
    } catch (error) {
      const kind = queue.blame === "driver" ? "driver error" : "back-end error";
      this.detach();
      this.report({ id, kind, text: (error as Error).message });
      return false;
    } finally {
      leave(gate);
    }
  }

  isDue(index: number): boolean {
    const queue = this.#queues[index];
    if (queue === undefined || this.#phase !== "live") return this.#replaying !== null;
    let due = false;
    this.#guarded(queue, () => due = queue.isDue(this.#replay!));
    return due;
  }
}
