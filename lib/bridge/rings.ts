// SPDX-License-Identifier: Apache-2.0
/**
 * A device, as the ring Worker serves it: the queues of the driver's current epoch, and the current back-end.
 *
 * | the back-end is | until |
 * | --- | --- |
 * | attached | it has started its shadow rings ({@linkcode LaneRings.replay}) |
 * | replaying | it has answered the requests replayed before the chains in flight |
 * | replayed | it has started its direct rings ({@linkcode LaneRings.resume}); skipped where it has none |
 * | resuming | the chains in flight are resubmitted, and it has answered the remaining replayed requests |
 * | live | it is detached ({@linkcode LaneRings.detach}), as it can be in any phase |
 *
 * @module
 */
import { type PeerSignal, viewMemory } from "../../ffi/mod.ts";
import type { QueueKind, ReplayRole } from "../virtio/device_class.ts";
import { GuestMemory } from "../virtio/memory.ts";
import { Chain } from "../virtio/split_ring.ts";
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  RING_QUEUE_COUNTERS,
} from "../virtio/state.ts";
import { DriverLife, inMemory } from "./driver_life.ts";
import { DriverSide } from "./driver_side.ts";
import type { Activation, LaneDevice, RingEvent } from "./lane_messages.ts";
import { BATCH, CALL, KICK, type LaneQueue, LOOK, type Progress } from "./lane_queue.ts";
import { isShadowed } from "./replay.ts";
import { ReplayRequests } from "./replay_requests.ts";
import { QueueTurns, type Scheduled } from "./schedule.ts";
import { SlotLayout } from "./slots.ts";

/** A back-end's phase; see the module. */
type Phase =
  | { readonly is: "attached" | "replayed" | "live" }
  | { readonly is: "replaying" | "resuming"; readonly requests: ReplayRequests };

/** The current back-end. */
interface BackEnd {
  phase: Phase;
  /** By queue: the eventfd that it listens on. */
  readonly kicks: number[];
  /** It has rings in the driver's memory, which it starts after the replay. */
  readonly hasDirect: boolean;
  /** Event queues with buffers that it was not kicked for, as the driver had not kicked yet. */
  readonly unkicked: Set<number>;
  resubmitted: number;
  replayed: number;
}

/** See the module. */
export class LaneRings implements Scheduled {
  readonly priority: number;
  readonly #driver: DriverSide;
  readonly #kinds: readonly QueueKind[];
  readonly #turns: QueueTurns;
  readonly #scratch: { readonly chain: Chain; readonly layout: SlotLayout };
  #life: DriverLife | null = null;
  #backEnd: BackEnd | null = null;
  /** Whether the previous process may have died between using buffers and raising the interrupt. */
  #mayMissInterrupt: boolean;

  constructor(
    readonly device: LaneDevice,
    readonly replayRole: ReplayRole,
    signal: PeerSignal,
    readonly report: (event: RingEvent) => void,
  ) {
    const chain = new Chain();
    this.priority = device.priority;
    this.#driver = new DriverSide(device, signal);
    this.#kinds = device.queues.map(({ kind }) => kind);
    this.#turns = new QueueTurns(this.#driver.state.queueCount);
    this.#scratch = { chain, layout: new SlotLayout(chain.capacity) };
    this.#mayMissInterrupt = device.restored;
  }

  /** The queues whose kicks this Worker must listen for. */
  get shadowed(): number[] {
    const all = this.#driver.state.queues.map(({ index }) => index);
    return all.filter((index) => isShadowed(this.device, index));
  }

  // ---- turns ----

  get ready(): boolean {
    return this.#turns.ready;
  }

  /** Notes that a queue has work. */
  mark(queue: number, marks: number): void {
    this.#turns.mark(queue, marks);
  }

  /** Serves one queue, the queues in turn. */
  serve(): void {
    const index = this.#turns.next();
    if (index < 0) return;
    const marks = this.#turns.take(index);
    const queue = this.#life?.queues[index];
    if (queue === undefined || this.#backEnd === null) return;
    const { phase } = this.#backEnd;
    if (phase.is === "live") this.#serveInOrder(queue, marks);
    else if ("requests" in phase && phase.requests.queue === queue) this.#replayOn(phase.requests);
  }

  /**
   * Serves a queue. Before the driver gets an event it gets what the back-end returned in other queues before that: the event
   * may be caused by a request that Linux's driver still waits for, polling the ring with a lock held that it takes again to
   * handle the event (`__send_control_msg` of virtio_console). If the event came first, all processors could end up there.
   */
  #serveInOrder(queue: LaneQueue, marks: number): void {
    if ((marks & CALL) === 0 || this.#kinds[queue.index] !== "event") {
      return this.#serveQueue(queue, marks);
    }
    const backEnd = this.#backEnd;
    const events = this.#countReturned(queue); // Acquire: what was returned before them is seen from here on.
    for (const other of this.#life!.queues) {
      if (other === undefined || this.#kinds[other.index] === "event") continue;
      for (let left = this.#countReturned(other); left > 0; left -= BATCH) {
        this.#serveQueue(other, CALL);
        if (this.#backEnd !== backEnd) return; // its ring is malformed
      }
    }
    this.#serveQueue(queue, marks, events);
  }

  /** How many chains the back-end has returned in a queue. 0 where its ring is malformed: that is found when it is served. */
  #countReturned(queue: LaneQueue): number {
    try {
      return queue.countReturned();
    } catch {
      return 0;
    }
  }

  #serveQueue(queue: LaneQueue, marks: number, returned?: number): void {
    let left = 0;
    if (!this.#beginUse(queue)) return;
    try {
      left = queue.serve(marks, returned);
    } catch (error) {
      return this.#reportMalformed(queue, error as Error);
    } finally {
      this.#driver.endUse();
    }
    if (left !== 0) this.mark(queue.index, left);
    const isKicked = (marks & KICK) !== 0;
    const isOwed = isKicked && this.#backEnd?.unkicked.delete(queue.index) === true;
    if (queue.takeKick() || isOwed) this.#kick(queue.index, isKicked);
    if (queue.takeInterrupt()) this.#driver.interrupt(INTERRUPT_USED_BUFFER);
  }

  #beginUse(queue: LaneQueue): boolean {
    return this.#driver.beginUse(queue, this.#life!.epoch);
  }

  /** Detaches after a malformed ring, and reports which side wrote it. */
  #reportMalformed(queue: LaneQueue, { message: text }: Error): void {
    const { id } = this.device;
    const { epoch } = this.#life!;
    this.detach();
    if (queue.blame === "back-end") this.report({ id, on: "back-end error", text });
    else this.report({ id, on: "driver error", text, epoch });
  }

  /**
   * Kicks the back-end; for an event queue only if the driver did. A back-end looks for buffers there when it has an event
   * to send, and vhost-device-sound 0.3.0 loops endlessly when kicked without one.
   */
  #kick(index: number, driverKicked: boolean): void {
    const { kicks, unkicked } = this.#backEnd!;
    if (!driverKicked && this.#kinds[index] === "event") unkicked.add(index);
    else this.#driver.signal.signal(kicks[index]!);
  }

  /** Raises a config interrupt: the config space or the status changed. */
  configInterrupt(): void {
    this.#driver.interrupt(INTERRUPT_CONFIG_CHANGE);
  }

  // ---- attaching and detaching back-ends ----

  /**
   * Attaches a back-end.
   *
   * @returns the index at which each of the activation's rings begins; null when the driver's rings are malformed
   */
  attach(activation: Activation): number[] | null {
    const { id, name } = this.device;
    try {
      if (this.#life?.epoch !== activation.epoch) this.#life = this.#openQueues(activation);
      const { rings, indirect, eventIdx, isTracked } = activation;
      const memory = activationMemory(activation);
      const backEnd = { name: `the back-end of ${name}`, memory, indirect, eventIdx, isTracked };
      const bases = rings.map((ring) =>
        inMemory(name, ring.index, () => this.#life!.queues[ring.index]!.attach(ring, backEnd))
      );
      if (!this.#isCurrent(activation)) return null;
      const kicks: number[] = [];
      for (const { index, kick } of rings) kicks[index] = kick;
      this.#backEnd = {
        phase: { is: "attached" },
        kicks,
        hasDirect: rings.some(({ slots }) => slots === null),
        unkicked: new Set(),
        resubmitted: 0,
        replayed: 0,
      };
      return bases;
    } catch (error) {
      this.detach();
      // A ring read while the driver reset it may look malformed, and is no error.
      if (!this.#isCurrent(activation)) return null;
      const { message: text } = error as Error;
      this.report({ id, on: "driver error", text, epoch: activation.epoch });
      return null;
    }
  }

  /** Opens the queues of a new epoch, or of one that a previous process served. */
  #openQueues(activation: Activation): DriverLife {
    this.#life = null;
    const { device: { name, queues }, replayRole } = this;
    return new DriverLife(this.#driver, activation, { name, queues, replayRole }, this.#scratch);
  }

  /** Whether the driver has not reset the queues or the device meanwhile. A reset clears `ready` first, then the epoch moves. */
  #isCurrent({ epoch, rings }: Activation): boolean {
    const { state } = this.#driver;
    const ready = rings.every(({ index }) => state.queues[index]!.ready);
    return ready && state.epoch === epoch;
  }

  /** Detaches the back-end and its memory. Its chains stay in flight. */
  detach(): void {
    for (const queue of this.#life?.queues ?? []) queue?.detach();
    this.#backEnd = null;
    this.#turns.clear();
  }

  /** After the shadow rings are started: replays the requests that come before the chains in flight. */
  replay(): void {
    if (this.#backEnd?.phase.is !== "attached") return;
    this.#replay("replaying", this.#life!.replay.before());
  }

  /** After all rings are started: resubmits chains in flight, replays the remaining requests, then serves the control queue. */
  resume(): void {
    if (this.#backEnd?.phase.is === "replayed") this.#resume();
  }

  #resume(): void {
    const { control, replay } = this.#life!;
    if (this.#resubmit((queue) => queue !== control)) this.#replay("resuming", replay.after());
  }

  /** Sends requests of viola's own; when the last is answered, {@linkcode LaneRings.#advance} follows. */
  #replay(is: "replaying" | "resuming", messages: Uint8Array<ArrayBuffer>[]): void {
    const { control } = this.#life!;
    const backEnd = this.#backEnd!;
    const requests = new ReplayRequests(control, control === null ? [] : messages, this.replayRole);
    backEnd.phase = { is, requests };
    backEnd.replayed += requests.count;
    this.#replayOn(requests);
  }

  #replayOn(requests: ReplayRequests): void {
    const { id } = this.device;
    const { queue } = requests;
    let done = false;
    try {
      done = requests.step((text) => this.report({ id, on: "replay refused", text }));
    } catch (error) {
      return this.#reportMalformed(queue!, error as Error);
    }
    if (queue?.takeKick()) this.#kick(queue.index, true);
    if (done) this.#advance();
  }

  #advance(): void {
    const { control } = this.#life!;
    const backEnd = this.#backEnd!;
    if (backEnd.phase.is === "replaying" && !backEnd.hasDirect) this.#resume();
    else if (backEnd.phase.is === "replaying") {
      backEnd.phase = { is: "replayed" };
      this.report({ id: this.device.id, on: "replayed" });
    } else if (this.#resubmit((queue) => queue === control)) this.#goLive(backEnd);
  }

  /** Resubmits the chains in flight of some queues, in their old order. @returns false when a queue was reset or malformed */
  #resubmit(which: (queue: LaneQueue) => boolean): boolean {
    for (const queue of this.#life!.queues) {
      if (queue === undefined || !which(queue)) continue;
      if (!this.#beginUse(queue)) return false;
      try {
        const count = queue.resubmit();
        this.#backEnd!.resubmitted += count;
        this.#driver.state.queues[queue.index]!.count(RING_QUEUE_COUNTERS.resubmitted, count);
      } catch (error) {
        this.#reportMalformed(queue, error as Error);
        return false;
      } finally {
        this.#driver.endUse();
      }
      this.#kick(queue.index, false);
    }
    return true;
  }

  /** Starts serving. Every ring is looked at once from both ends, as signals may have been missed until now. */
  #goLive(backEnd: BackEnd): void {
    const { resubmitted, replayed } = backEnd;
    backEnd.phase = { is: "live" };
    this.report({ id: this.device.id, on: "live", resubmitted, replayed });
    for (const queue of this.#life!.queues) {
      if (queue === undefined) continue;
      if (queue.mayMissInterrupt) this.#mayMissInterrupt = true;
      else if (this.#kinds[queue.index] !== "event") this.mark(queue.index, LOOK | CALL);
      else {
        // At once, before any request: a back-end that answers one there is not kicked for buffers that come later.
        this.#serveInOrder(queue, LOOK | CALL);
        if (this.#backEnd !== backEnd) return; // the ring is malformed
      }
    }
    if (this.#mayMissInterrupt) this.#driver.interrupt(INTERRUPT_USED_BUFFER);
    this.#mayMissInterrupt = false;
  }

  /** Frees the device's mappings; it must not be used afterwards. */
  close(): void {
    this.#driver.close();
  }

  /** What became of each queue's chains, for the watchdog. */
  progress(): Progress[] {
    return this.device.queues.map((_, index) => this.#progressOf(index));
  }

  #progressOf(index: number): Progress {
    const queue = this.#life?.queues[index];
    if (queue === undefined || this.#backEnd === null) return "settled";
    const { phase } = this.#backEnd;
    if ("requests" in phase) return phase.requests.queue === queue ? "due" : "settled";
    if (phase.is !== "live" || !this.#beginUse(queue)) return "settled";
    try {
      return queue.look();
    } catch {
      return "settled"; // the driver's ring is malformed, which is reported when it is served next
    } finally {
      this.#driver.endUse();
    }
  }
}

/** An activation's own memory, in one view; null when it has none. */
function activationMemory({ memory }: Activation): GuestMemory | null {
  if (memory === null) return null;
  return new GuestMemory([{ guest: memory.guest, buffer: viewMemory(memory.range) }]);
}
