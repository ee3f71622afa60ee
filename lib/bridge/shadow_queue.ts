// SPDX-License-Identifier: Apache-2.0
/**
 * One queue, twice: the driver's ring, where viola is the device, and the back-end's, where it is the driver. A chain
 * stands in both at the same descriptors, so neither side's numbers need translation.
 *
 * @module
 */
import { RingError } from "../virtio/error.ts";
import { copyBytes, type GuestMemory } from "../virtio/memory.ts";
import {
  Chain,
  DESC_SIZE,
  DeviceRing,
  type DriverRing,
  encodeDescriptor,
  type RingLayout,
  type RingOptions,
  usedBytes,
  type UsedElement,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "../virtio/split_ring.ts";
import { RING_QUEUE_COUNTERS, type RingQueue } from "../virtio/state.ts";
import type { SlotAllocator } from "./slots.ts";
import type { DeviceReplay } from "./replay.ts";

/** Segments begin at multiples of this, as a back-end written in a language with aligned structures may expect. */
const SEGMENT_ALIGN = 16;

function aligned(bytes: number): number {
  return bytes + (-bytes & (SEGMENT_ALIGN - 1)); // not the usual way, which ends at 2^31
}

/** The first 4 bytes of a chain's readable part, 0 for those it lacks. */
export function firstWord(chain: Chain): number {
  const word = new DataView(new ArrayBuffer(4));
  chain.gather(0, new Uint8Array(word.buffer), 0, Math.min(4, chain.readableBytes));
  return word.getUint32(0, true);
}

/**
 * Makes what is known of chains in flight agree with the ring. A process that gave a chain back and died before it noted
 * that leaves one more than the indices say, the last of the used ring: it is dropped.
 *
 * @throws {RingError} when they differ by anything else
 */
function awaitUnused(
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

/** A queue whose chains are copied, for one life of the driver and any number of back-ends. */
export class ShadowQueue {
  readonly index: number;
  readonly #state: RingQueue;
  readonly #memory: GuestMemory;
  readonly #ring: DeviceRing;
  readonly #chain: Chain;
  readonly #epoch: number;
  /** By head: where its chain stands in the back-end's memory, and how many bytes it has there. */
  readonly #slot: Int32Array;
  readonly #slotBytes: Int32Array;
  readonly #used: UsedElement = { head: 0, length: 0 };
  #back: DriverRing | null = null;
  #slots: SlotAllocator | null = null;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  #guest = 0;
  /** The request at hand, and its response, as far as the class's replay looks at them. */
  #request = new DataView(new ArrayBuffer(0));
  #response = new DataView(new ArrayBuffer(0));
  /** The chain that was taken from the driver's ring but found no room. */
  #parkedHead = -1;
  /** Whose ring was being read: who is to blame for an error. */
  blame: "driver" | "back-end" = "driver";
  #interruptWanted = false;

  /**
   * @param layout Where the driver put it
   * @param chain Scratch of the thread
   * @throws {RingError} when the driver's ring cannot be true
   */
  constructor(
    state: RingQueue,
    memory: GuestMemory,
    layout: RingLayout,
    options: RingOptions,
    chain: Chain,
  ) {
    state.resumeProgress();
    awaitUnused(state, memory, layout, options.deviceName);
    this.index = state.index;
    this.#state = state;
    this.#memory = memory;
    this.#chain = chain;
    this.#epoch = state.epoch;
    this.#ring = new DeviceRing(memory, layout, options, {
      nextAvail: state.nextAvail,
      inFlight: state.headsInFlight(),
    });
    this.#slot = new Int32Array(this.#ring.size);
    this.#slotBytes = new Int32Array(this.#ring.size);
  }

  /** Whether the driver has not reset the queue since. */
  get current(): boolean {
    return this.#state.ready && this.#state.epoch === this.#epoch;
  }

  /** Whether a chain waits for room. */
  get parked(): boolean {
    return this.#parkedHead >= 0;
  }

  /**
   * Takes up a back-end.
   *
   * @param back Its ring, empty
   * @param slots Room for chains, as offsets into `buffer`
   * @param buffer The memory it has
   * @param guest The guest address of the first byte of `buffer`
   */
  attach(back: DriverRing, slots: SlotAllocator, buffer: ArrayBuffer, guest: number): void {
    this.#back = back;
    this.#slots = slots;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#guest = guest;
  }

  /** Lets go of the back-end and its memory. What it had is still in flight. */
  detach(): void {
    this.#back = null;
    this.#slots = null;
    this.#bytes = new Uint8Array(0);
    this.#view = new DataView(this.#bytes.buffer);
    this.#parkedHead = -1;
  }

  /**
   * Moves chains from the driver to the back-end.
   *
   * @param batch At most so many
   * @returns whether there are more
   * @throws {RingError} when the driver's ring cannot be true
   */
  forward(batch: number): boolean {
    this.blame = "driver";
    if (this.parked && !this.#unpark()) return false;
    const ring = this.#ring;
    let left = batch;
    do {
      while (left > 0 && ring.pop(this.#chain)) {
        this.#state.takeOn(this.#chain.head);
        left--;
        if (this.#place()) continue;
        this.#parkedHead = this.#chain.head;
        this.#back!.publish();
        return false;
      }
      if (left === 0) break;
    } while (ring.enableNotifications());
    if (left < batch) this.#back!.publish();
    return left === 0;
  }

  #unpark(): boolean {
    this.#ring.walk(this.#parkedHead, this.#chain);
    if (!this.#place()) return false;
    this.#parkedHead = -1;
    this.#back!.publish();
    return true;
  }

  /**
   * Offers the chains in flight again, in the order in which they were taken.
   *
   * @param replay Knows of one that was answered although it is in flight: a process died in between
   * @returns how many
   */
  reoffer(replay: DeviceReplay): number {
    this.blame = "driver";
    const heads = this.#state.headsInFlight();
    for (const head of heads) {
      this.#ring.walk(head, this.#chain);
      if (this.index === replay.queue && replay.isAnswered(this.#state.inflight[head]!)) {
        this.#giveBack(head, this.#chain.writableBytes);
        continue;
      }
      if (this.#place()) continue;
      // The last may have waited for room before, and does so again; those before it had room, all at once.
      if (head !== heads.at(-1)) {
        throw this.#back!.error("offer a chain in", `the chain at ${head} changed in flight`);
      }
      this.#parkedHead = head;
    }
    if (heads.length > 0) this.#back!.publish();
    return heads.length;
  }

  /** Copies the chain at hand to the back-end's memory and puts it in line. @returns false if there is no room now */
  #place(): boolean {
    const chain = this.#chain;
    const { head, count } = chain;
    const tableBytes = chain.tableIndex < 0 ? 0 : DESC_SIZE * (count - chain.directCount);
    let bytes = tableBytes;
    for (let i = 0; i < count; i++) bytes += aligned(chain.length[i]!);
    const slot = this.#slots!.take(bytes);
    if (slot < 0) {
      if (this.#ring.pending > 1) return false;
      throw this.#back!.error(
        "offer a chain in",
        `its ${bytes} bytes are more than a back-end is given`,
      );
    }
    this.#slot[head] = slot;
    this.#slotBytes[head] = bytes;
    let at = slot + tableBytes;
    for (let i = 0; i < count; i++) {
      const length = chain.length[i]!;
      this.#copy(chain.address[i]!, at, length, false);
      this.#describe(i, slot, at, length);
      at += aligned(length);
    }
    if (chain.tableIndex >= 0) {
      const address = this.#guest + slot;
      this.#back!.writeDescriptor(chain.tableIndex, address, tableBytes, VIRTQ_DESC_F_INDIRECT, 0);
    }
    this.#back!.offer(head);
    this.#state.count(RING_QUEUE_COUNTERS.chains);
    this.#state.count(RING_QUEUE_COUNTERS.bytesOut, chain.readableBytes);
    return true;
  }

  /** Writes the descriptor of segment `i` of the chain at hand: in the ring where it was there, else in the slot's table. */
  #describe(i: number, slot: number, at: number, length: number): void {
    const chain = this.#chain;
    const direct = i < chain.directCount;
    const write = i < chain.readableCount ? 0 : VIRTQ_DESC_F_WRITE;
    const isLast = i + 1 === chain.count;
    const flags = write | (isLast ? 0 : VIRTQ_DESC_F_NEXT);
    const address = this.#guest + at;
    if (direct) {
      const next = i + 1 < chain.directCount ? chain.index[i + 1]! : Math.max(chain.tableIndex, 0);
      this.#back!.writeDescriptor(chain.index[i]!, address, length, flags, isLast ? 0 : next);
    } else {
      const entry = i - chain.directCount;
      const table = slot + DESC_SIZE * entry;
      encodeDescriptor(
        this.#view,
        table / DESC_SIZE,
        address,
        length,
        flags,
        isLast ? 0 : entry + 1,
      );
    }
  }

  /** Copies a segment between the driver's memory and the back-end's. */
  #copy(address: number, at: number, length: number, toDriver: boolean): void {
    const { u8, guest } = this.#memory.region(address, length);
    if (toDriver) copyBytes(u8, address - guest, this.#bytes, at, length);
    else copyBytes(this.#bytes, at, u8, address - guest, length);
  }

  /**
   * Moves what the back-end gave back to the driver.
   *
   * @param batch At most so many
   * @param replay Told of requests that were answered
   * @returns whether there are more
   * @throws {RingError} when either ring cannot be true
   */
  collect(batch: number, replay: DeviceReplay): boolean {
    const back = this.#back!;
    const used = this.#used;
    let left = batch;
    this.blame = "back-end";
    do {
      while (left > 0 && back.takeUsed(used)) {
        left--;
        this.#return(used, replay);
        this.blame = "back-end";
      }
      if (left === 0) break;
    } while (back.enableInterrupts());
    this.#state.count(RING_QUEUE_COUNTERS.calls);
    this.#interruptWanted ||= this.#ring.needsInterrupt();
    return left === 0;
  }

  #return({ head, length }: UsedElement, replay: DeviceReplay): void {
    this.blame = "driver";
    const chain = this.#chain;
    this.#ring.walk(head, chain);
    const written = Math.min(length, chain.writableBytes);
    if (written < length) this.#state.count(RING_QUEUE_COUNTERS.errors);
    this.#copyBack(head);
    if (this.index === replay.queue) this.#observe(head, replay);
    this.#slots!.give(this.#slot[head]!, this.#slotBytes[head]!);
    this.#giveBack(head, written);
  }

  #giveBack(head: number, written: number): void {
    this.#ring.complete(head, written);
    this.#state.giveBack(head);
    this.#state.count(RING_QUEUE_COUNTERS.completions);
    this.#state.count(RING_QUEUE_COUNTERS.bytesIn, written);
  }

  /**
   * Copies the whole writable part back, not only what the back-end says it wrote: some write at its end (a sound
   * capture's status after a short period). What it left alone is what was copied in.
   */
  #copyBack(head: number): void {
    const chain = this.#chain;
    const slot = this.#slot[head]!;
    const end = slot + this.#slotBytes[head]!;
    let at = slot + (chain.tableIndex < 0 ? 0 : DESC_SIZE * (chain.count - chain.directCount));
    for (let i = 0; i < chain.count; i++) {
      const length = chain.length[i]!;
      if (at + length > end) {
        throw this.#back!.error("take back a chain of", `the chain at ${head} changed in flight`);
      }
      if (i >= chain.readableCount) this.#copy(chain.address[i]!, at, length, true);
      at += aligned(length);
    }
  }

  /** Shows the replay the beginning of the request at hand, and of its response. */
  #observe(head: number, replay: DeviceReplay): void {
    const chain = this.#chain;
    const { requestBytes, responseBytes } = replay.role;
    if (chain.writableBytes < responseBytes) return;
    if (this.#request.byteLength < requestBytes) {
      this.#request = new DataView(new ArrayBuffer(requestBytes));
    }
    const request = new Uint8Array(this.#request.buffer);
    const length = chain.gather(0, request, 0, Math.min(requestBytes, chain.readableBytes));
    this.#readResponse(head, responseBytes);
    replay.observe(this.#request, length, this.#response, this.#state.inflight[head]!);
  }

  /** Copies a response's first bytes, from as many of the chain's writable segments as they lie in. */
  #readResponse(head: number, bytes: number): void {
    const chain = this.#chain;
    const response = this.#responseOf(bytes);
    let at = this.#slot[head]!;
    if (chain.tableIndex >= 0) at += DESC_SIZE * (chain.count - chain.directCount);
    for (let i = 0, done = 0; done < bytes; i++) {
      const length = chain.length[i]!;
      if (i >= chain.readableCount) {
        const piece = Math.min(length, bytes - done);
        response.set(this.#bytes.subarray(at, at + piece), done);
        done += piece;
      }
      at += aligned(length);
    }
  }

  /** Room for a response of so many bytes: always the same, as all of a class are equally long. */
  #responseOf(bytes: number): Uint8Array {
    if (this.#response.byteLength !== bytes) {
      this.#response = new DataView(new ArrayBuffer(bytes));
    }
    return new Uint8Array(this.#response.buffer);
  }

  /** Whether the back-end wants to be rung for what was offered. */
  needsKick(): boolean {
    return this.#back !== null && this.#back.needsKick();
  }

  /** Whether the driver wants an interrupt for what came back since this was last asked. */
  takeInterrupt(): boolean {
    const wanted = this.#interruptWanted;
    this.#interruptWanted = false;
    return wanted;
  }

  /** Whether the oldest chain in flight should have come back by now, as far as its class knows. */
  isDue(isRequest: boolean, replay: DeviceReplay): boolean {
    this.blame = "driver";
    const head = this.#state.headsInFlight()[0];
    if (head === undefined) return false;
    this.#ring.walk(head, this.#chain);
    return isRequest || replay.isDue(this.index, firstWord(this.#chain));
  }

  // ---- requests of viola's own, in a ring that holds nothing else yet ----

  /**
   * Sends a request of our own.
   *
   * @param responseBytes Room for its response
   */
  sendOwn(request: Uint8Array, responseBytes: number): void {
    const back = this.#back!;
    const bytes = aligned(request.length) + aligned(responseBytes);
    const slot = this.#slots!.take(bytes);
    this.#slot[0] = slot;
    this.#slotBytes[0] = bytes;
    const response = slot + aligned(request.length);
    this.#bytes.set(request, slot);
    this.#bytes.fill(0, response, response + responseBytes);
    back.writeDescriptor(0, this.#guest + slot, request.length, VIRTQ_DESC_F_NEXT, 1);
    back.writeDescriptor(1, this.#guest + response, responseBytes, VIRTQ_DESC_F_WRITE, 0);
    back.offer(0);
    back.enableInterrupts(); // for this one: nothing before it is still out
    back.publish();
  }

  /**
   * Takes the response to it.
   *
   * @returns it, until the next is asked for; null if it is not there yet
   * @throws {RingError} when the back-end's ring cannot be true
   */
  takeOwn(requestBytes: number, responseBytes: number): DataView | null {
    this.blame = "back-end";
    const back = this.#back!;
    while (!back.takeUsed(this.#used)) if (!back.enableInterrupts()) return null;
    const slot = this.#slot[0]!;
    this.#slots!.give(slot, this.#slotBytes[0]!);
    const at = slot + aligned(requestBytes);
    this.#responseOf(responseBytes).set(this.#bytes.subarray(at, at + responseBytes));
    return this.#response;
  }
}
