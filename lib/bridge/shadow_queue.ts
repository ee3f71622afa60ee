// SPDX-License-Identifier: Apache-2.0
/**
 * A shadow queue: viola copies chains between the driver's ring, where it is the device, and the back-end's ring, where it
 * is the driver. Sizes and features of the two rings may differ.
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
import {
  type BackEndRings,
  BATCH,
  CALL,
  KICK,
  type LaneQueue,
  LOOK,
  type Progress,
} from "./lane_queue.ts";
import type { RequestWatch } from "./request_watch.ts";
import { NO_ROOM, ShadowRing } from "./shadow_ring.ts";
import { SlotAllocator, type SlotLayout } from "./slots.ts";

/** The owner value of viola's own requests; for a driver's chain it is the head in the driver's ring. */
const OWN = -1;

/** Buffers for one chain, shared by all queues of a thread. */
export interface Scratch {
  readonly chain: Chain;
  readonly layout: SlotLayout;
}

/** What a shadow queue is created from. */
export interface ShadowQueueParts {
  readonly state: RingQueue;
  /** The driver's memory. */
  readonly memory: GuestMemory;
  /** Where the driver's ring lies. */
  readonly layout: RingLayout;
  readonly options: RingOptions;
  readonly scratch: Scratch;
  /** Records the requests of the control queue; null for every other queue. */
  readonly watch: RequestWatch | null;
  /** Whether a chain should have come back by now, as its class says. */
  readonly isDue: (chain: Chain) => boolean;
}

/** See the module. */
export class ShadowQueue implements LaneQueue {
  readonly index: number;
  /** Nothing is missed: both rings are checked when the back-end goes live, and the driver is then interrupted as usual. */
  readonly mayMissInterrupt = false;
  blame: "driver" | "back-end" = "driver";
  readonly #parts: ShadowQueueParts;
  readonly #ring: DeviceRing;
  readonly #epoch: number;
  readonly #used: UsedElement = { head: 0, length: 0 };
  readonly #waiting: Waiting;
  #back: ShadowRing | null = null;
  #interruptWanted = false;

  /** @throws {RingError} when the driver's ring is malformed, or disagrees with the device's state */
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

  /** Whether chains taken from the driver's ring wait for room in the back-end's. */
  get waits(): boolean {
    return !this.#waiting.isEmpty;
  }

  attach(ring: ActivationRing, { name, memory, indirect, eventIdx }: BackEndRings): number {
    // Not the driver's index: some daemons accept only 0 for a ring of a new connection (vhost-device-rng 0.1.0).
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

  countReturned(): number {
    this.blame = "back-end";
    return this.#back?.ring.countUsed() ?? 0;
  }

  serve(marks: number, returned?: number): number {
    let left = 0;
    if ((marks & CALL) !== 0 && this.collect(BATCH, returned)) left |= CALL;
    if (((marks & (KICK | LOOK)) !== 0 || this.waits) && this.forward(BATCH)) {
      left |= marks & KICK | LOOK;
    }
    return left;
  }

  /**
   * Moves chains from the driver to the back-end.
   *
   * @param batch The most chains to move
   * @returns whether there may be more
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

  /** Moves waiting chains while there is room. @returns how many */
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

  resubmit(): number {
    this.blame = "driver";
    const { state, scratch: { chain }, watch } = this.#parts;
    const heads = state.headsInFlight();
    for (const head of heads) {
      // A process that died after the answer and before giving the chain back leaves an answered chain in flight.
      if (watch?.replay.isAnswered(state.inflight[head]!)) {
        this.#ring.walk(head, chain);
        this.#giveBack(head, chain.writableBytes);
      } else this.#waiting.add(head);
    }
    this.#placeWaiting(heads.length);
    return heads.length;
  }

  /** Copies the current chain to the back-end's memory and queues it there. @returns whether there was room */
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
   * Moves chains that the back-end used back to the driver.
   *
   * @param batch The most chains to move
   * @param returned How many there are; a chain that is returned later is left for the next call
   * @returns whether there may be more
   * @throws {RingError} when either ring is malformed
   */
  collect(batch: number, returned: number = this.countReturned()): boolean {
    const { ring } = this.#back!;
    const used = this.#used;
    this.blame = "back-end";
    for (let left = Math.min(batch, returned); left > 0 && ring.takeUsed(used); left--) {
      this.#return(used);
      this.blame = "back-end";
    }
    this.#parts.state.count(RING_QUEUE_COUNTERS.calls);
    this.#interruptWanted ||= this.#ring.needsInterrupt();
    return returned > batch || ring.enableInterrupts();
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
   * Copies the whole writable part back, not only the length that the back-end reports, as some devices write at its end
   * (the status of a short capture period). Bytes that the back-end did not write are those copied in before.
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

  look(): Progress {
    this.blame = "driver";
    const { state, scratch: { chain }, isDue } = this.#parts;
    const head = state.headsInFlight()[0];
    if (head === undefined) return "settled";
    this.#ring.walk(head, chain);
    return isDue(chain) ? "due" : "settled";
  }

  // ---- viola's own requests, sent before any chain of the driver's ----

  /**
   * Sends a request of viola's own.
   *
   * @param responseBytes Size of the buffer for its response; 0: there is none
   */
  sendOwn(request: Uint8Array, responseBytes: number): void {
    this.blame = "back-end";
    const { layout } = this.#parts.scratch;
    const back = this.#back!;
    const lengths = ownLengths(request.length, responseBytes);
    layout.lay(lengths, lengths.length);
    const head = back.place(layout, lengths, 1, OWN);
    back.write(head, layout.at[0]!, request, 0, request.length);
    if (responseBytes > 0) {
      back.write(head, layout.at[1]!, new Uint8Array(responseBytes), 0, responseBytes);
    }
    back.ring.enableInterrupts(); // for this request, the only one in the ring
    back.ring.publish();
  }

  /**
   * Takes the response to the request sent last.
   *
   * @param requestBytes The length of the request
   * @param response Filled if the response has arrived
   * @returns whether it has arrived
   * @throws {RingError} when the back-end's ring is malformed
   */
  takeOwn(requestBytes: number, response: Uint8Array): boolean {
    this.blame = "back-end";
    const { layout } = this.#parts.scratch;
    const back = this.#back!;
    while (!back.ring.takeUsed(this.#used)) if (!back.ring.enableInterrupts()) return false;
    const { head } = this.#used;
    const lengths = ownLengths(requestBytes, response.length);
    layout.lay(lengths, lengths.length);
    if (response.length > 0) back.read(head, layout.at[1]!, response, 0, response.length);
    back.release(head);
    return true;
  }
}

/** The segments of a request of viola's own. */
function ownLengths(requestBytes: number, responseBytes: number): number[] {
  return responseBytes > 0 ? [requestBytes, responseBytes] : [requestBytes];
}

/** A queue of the heads of chains that wait for room; allocated once, with the size of the ring. */
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

  /** The head that waits longest; not to be used when empty. */
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
 * Makes the record of chains in flight agree with the ring. A process that died between giving a chain back and recording
 * that leaves one chain too many, the last of the used ring; its record is removed.
 *
 * @throws {RingError} when they differ by more than that
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
