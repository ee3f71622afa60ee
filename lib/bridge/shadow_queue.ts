// SPDX-License-Identifier: Apache-2.0
/**
 * A queue whose chains are copied: the driver's ring, where viola is the device, and the back-end's, where it is the
 * driver. Sizes and features of the two need not agree.
 *
 * @module
 */
import { RingError } from "../virtio/error.ts";
import type { GuestMemory } from "../virtio/memory.ts";
import {
  type Chain,
  DeviceRing,
  DriverRing,
  type RingLayout,
  type RingOptions,
  usedBytes,
  type UsedElement,
} from "../virtio/split_ring.ts";
import { RING_QUEUE_COUNTERS, type RingQueue } from "../virtio/state.ts";
import type { ActivationRing } from "./lane_messages.ts";
import { type BackEndRings, CALL, KICK, type LaneQueue, LOOK } from "./lane_queue.ts";
import type { RequestWatch } from "./request_watch.ts";
import { NO_ROOM, ShadowRing } from "./shadow_ring.ts";
import { SlotAllocator, type SlotLayout } from "./slots.ts";

/** Chains moved before another queue has its turn. */
const BATCH = 16;
/** The owner of a request of viola's own; a chain of the driver's is owned by its head there. */
const OWN = -1;

/** What a thread uses for one chain at a time. */
export interface Scratch {
  readonly chain: Chain;
  readonly layout: SlotLayout;
}

/** What a shadow queue is made of. */
export interface ShadowQueueParts {
  readonly state: RingQueue;
  /** The driver's. */
  readonly memory: GuestMemory;
  /** Where the driver put it. */
  readonly layout: RingLayout;
  readonly options: RingOptions;
  readonly scratch: Scratch;
  /** Of the queue whose requests are watched; null for every other. */
  readonly watch: RequestWatch | null;
  /** Whether a chain should have come back by now, by what its class knows. */
  readonly isDue: (chain: Chain) => boolean;
}

/** See the module. */
export class ShadowQueue implements LaneQueue {
  readonly index: number;
  /** Those that wait at the driver are interrupted for by the ring's own rules. */
  readonly mayOweInterrupt = false;
  blame: "driver" | "back-end" = "driver";
  readonly #parts: ShadowQueueParts;
  readonly #ring: DeviceRing;
  readonly #epoch: number;
  readonly #used: UsedElement = { head: 0, length: 0 };
  readonly #waiting: Waiting;
  #back: ShadowRing | null = null;
  #interruptWanted = false;

  /** @throws {RingError} when the driver's ring is malformed, or not what the state says of it */
  constructor(parts: ShadowQueueParts) {
    const { state, memory, layout, options } = parts;
    state.resumeProgress();
    reconcile(state, memory, layout, options.deviceName);
    this.index = state.index;
    this.#parts = parts;
    this.#epoch = state.epoch;
    this.#ring = new DeviceRing(memory, layout, options, {
      nextAvail: state.nextAvail,
      inFlight: state.headsInFlight(),
    });
    this.#waiting = new Waiting(layout.size);
  }

  get current(): boolean {
    const { state } = this.#parts;
    return state.ready && state.epoch === this.#epoch;
  }

  /** Whether chains that were taken from the driver's ring wait for room. */
  get waits(): boolean {
    return !this.#waiting.isEmpty;
  }

  attach(ring: ActivationRing, { name, memory, indirect, eventIdx }: BackEndRings): number {
    // Not where the driver's ring is: some daemons take no index but 0 for a ring of a new connection (rng 0.1.0).
    const { start, end, first } = ring.slots!;
    const back = new DriverRing(memory!, ring, { indirect, eventIdx, deviceName: name }, first);
    const slots = new SlotAllocator(start, end, ring.size);
    this.#back = new ShadowRing(back, memory!.regions[0]!, slots, indirect);
    return first;
  }

  detach(): void {
    this.#back = null;
    this.#waiting.clear();
  }

  serve(marks: number): number {
    let left = 0;
    if ((marks & CALL) !== 0 && this.collect(BATCH)) left |= CALL;
    if (((marks & (KICK | LOOK)) !== 0 || this.waits) && this.forward(BATCH)) {
      left |= marks & KICK | LOOK;
    }
    return left;
  }

  /**
   * Moves chains from the driver to the back-end.
   *
   * @param batch At most so many
   * @returns whether there are more
   * @throws {RingError} when the driver's ring is malformed
   */
  forward(batch: number): boolean {
    this.blame = "driver";
    const { state, scratch: { chain } } = this.#parts;
    let left = batch - this.#placeWaiting(batch);
    if (this.waits) return left === 0;
    do {
      while (left > 0 && this.#ring.pop(chain)) {
        state.takeOn(chain.head);
        left--;
        if (this.#place()) continue;
        this.#waiting.add(chain.head);
        this.#back!.ring.publish();
        return false;
      }
      if (left === 0) break;
    } while (this.#ring.enableNotifications());
    if (left < batch) this.#back!.ring.publish();
    return left === 0;
  }

  /** Offers chains that waited for room, as far as there is some now. @returns how many */
  #placeWaiting(most: number): number {
    let placed = 0;
    while (placed < most && this.waits) {
      this.#ring.walk(this.#waiting.first, this.#parts.scratch.chain);
      if (!this.#place()) break;
      this.#waiting.shift();
      placed++;
    }
    if (placed > 0) this.#back!.ring.publish();
    return placed;
  }

  reoffer(): number {
    this.blame = "driver";
    const { state, scratch: { chain }, watch } = this.#parts;
    const heads = state.headsInFlight();
    for (const head of heads) {
      // It may have been answered although it is in flight: a process died in between.
      if (watch?.replay.isAnswered(state.inflight[head]!)) {
        this.#ring.walk(head, chain);
        this.#giveBack(head, chain.writableBytes);
      } else this.#waiting.add(head);
    }
    this.#placeWaiting(heads.length);
    return heads.length;
  }

  /** Copies the chain at hand to the back-end's memory and puts it in line. @returns whether there was room */
  #place(): boolean {
    const { state, memory, scratch: { chain, layout } } = this.#parts;
    const back = this.#back!;
    const { count } = chain;
    layout.lay(chain.length, count);
    const head = back.place(layout, chain.length, chain.readableCount, chain.head);
    if (head === NO_ROOM) return false;
    for (let i = 0; i < count; i++) {
      const address = chain.address[i]!;
      const length = chain.length[i]!;
      const { u8, guest } = memory.region(address, length);
      back.write(head, layout.at[i]!, u8, address - guest, length);
    }
    state.count(RING_QUEUE_COUNTERS.chains);
    state.count(RING_QUEUE_COUNTERS.bytesOut, chain.readableBytes);
    return true;
  }

  /**
   * Moves what the back-end gave back to the driver.
   *
   * @param batch At most so many
   * @returns whether there are more
   * @throws {RingError} when either ring is malformed
   */
  collect(batch: number): boolean {
    const { ring } = this.#back!;
    const used = this.#used;
    let left = batch;
    this.blame = "back-end";
    do {
      while (left > 0 && ring.takeUsed(used)) {
        left--;
        this.#return(used);
        this.blame = "back-end";
      }
      if (left === 0) break;
    } while (ring.enableInterrupts());
    this.#parts.state.count(RING_QUEUE_COUNTERS.calls);
    this.#interruptWanted ||= this.#ring.needsInterrupt();
    return left === 0;
  }

  #return({ head, length }: UsedElement): void {
    this.blame = "driver";
    const { state, options, scratch: { chain, layout }, watch } = this.#parts;
    const back = this.#back!;
    const owner = back.ownerOf(head);
    this.#ring.walk(owner, chain);
    layout.lay(chain.length, chain.count);
    if (layout.bytes !== back.slotBytesOf(head)) {
      const problem = `the chain at ${owner} changed in flight`;
      throw new RingError(options.deviceName, this.index, "complete a chain of", problem);
    }
    const written = Math.min(length, chain.writableBytes);
    if (written < length) state.count(RING_QUEUE_COUNTERS.errors);
    this.#copyBack(head);
    watch?.observe(chain, back, head, layout, state.inflight[owner]!);
    back.release(head);
    this.#giveBack(owner, written);
  }

  #giveBack(head: number, written: number): void {
    const { state } = this.#parts;
    this.#ring.complete(head, written);
    state.giveBack(head);
    state.count(RING_QUEUE_COUNTERS.completions);
    state.count(RING_QUEUE_COUNTERS.bytesIn, written);
  }

  /**
   * Copies the whole writable part back, not only what the back-end says it wrote: some write at its end (a sound
   * capture's status after a short period). What it left alone is what was copied in.
   */
  #copyBack(head: number): void {
    const { memory, scratch: { chain, layout } } = this.#parts;
    for (let i = chain.readableCount; i < chain.count; i++) {
      const address = chain.address[i]!;
      const length = chain.length[i]!;
      const { u8, guest } = memory.region(address, length);
      this.#back!.read(head, layout.at[i]!, u8, address - guest, length);
    }
  }

  takeKick(): boolean {
    return this.#back !== null && this.#back.ring.needsKick();
  }

  takeInterrupt(): boolean {
    const wanted = this.#interruptWanted;
    this.#interruptWanted = false;
    return wanted;
  }

  isDue(): boolean {
    this.blame = "driver";
    const { state, scratch: { chain }, isDue } = this.#parts;
    const head = state.headsInFlight()[0];
    if (head === undefined) return false;
    this.#ring.walk(head, chain);
    return isDue(chain);
  }

  // ---- requests of viola's own, in a ring that holds nothing else yet ----

  /**
   * Sends a request of viola's own.
   *
   * @param responseBytes Room for its response
   */
  sendOwn(request: Uint8Array, responseBytes: number): void {
    this.blame = "back-end";
    const { layout } = this.#parts.scratch;
    const back = this.#back!;
    const lengths = [request.length, responseBytes];
    layout.lay(lengths, 2);
    const head = back.place(layout, lengths, 1, OWN);
    back.write(head, layout.at[0]!, request, 0, request.length);
    back.write(head, layout.at[1]!, new Uint8Array(responseBytes), 0, responseBytes);
    back.ring.enableInterrupts(); // for this one: nothing before it is still out
    back.ring.publish();
  }

  /**
   * Takes the response to it.
   *
   * @param requestBytes How long the request was
   * @param response Filled if it is there
   * @returns whether it is
   * @throws {RingError} when the back-end's ring is malformed
   */
  takeOwn(requestBytes: number, response: Uint8Array): boolean {
    this.blame = "back-end";
    const { layout } = this.#parts.scratch;
    const back = this.#back!;
    while (!back.ring.takeUsed(this.#used)) if (!back.ring.enableInterrupts()) return false;
    const { head } = this.#used;
    layout.lay([requestBytes, response.length], 2);
    back.read(head, layout.at[1]!, response, 0, response.length);
    back.release(head);
    return true;
  }
}

/** Heads of chains that wait for room, in the order in which they were taken; made once, for as many as a ring has. */
class Waiting {
  readonly #heads: Uint16Array<ArrayBuffer>;
  #from = 0;
  #to = 0;

  constructor(size: number) {
    this.#heads = new Uint16Array(size);
  }

  get isEmpty(): boolean {
    return this.#from === this.#to;
  }

  /** The one that waits longest, of those there are. */
  get first(): number {
    return this.#heads[this.#from]!;
  }

  add(head: number): void {
    if (this.isEmpty) this.clear();
    this.#heads[this.#to++] = head;
  }

  shift(): void {
    this.#from++;
  }

  clear(): void {
    this.#from = this.#to = 0;
  }
}

/**
 * Makes what is known of chains in flight agree with the ring. A process that gave a chain back and died before it noted
 * that leaves one more than the indices say, the last of the used ring: it is dropped.
 *
 * @throws {RingError} when they differ by anything else
 */
function reconcile(
  state: RingQueue,
  memory: GuestMemory,
  { used, size }: RingLayout,
  device: string,
): void {
  const { u16, u32, guest } = memory.region(used, usedBytes(size));
  const usedIdx = Atomics.load(u16, (used - guest) / 2 + 1);
  const pending = (state.nextAvail - usedIdx) & 0xffff;
  const known = state.headsInFlight().length;
  if (known === pending) return;
  const last = u32[(used - guest) / 4 + 1 + 2 * ((usedIdx - 1) & (size - 1))]!;
  if (known === pending + 1 && state.isInFlight(last)) return state.giveBack(last);
  const problem = `${known} chains are in flight, expected ${pending} between available entry ` +
    `${state.nextAvail} and used element ${usedIdx}`;
  throw new RingError(device, state.index, "set up", problem);
}
