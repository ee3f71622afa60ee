// SPDX-License-Identifier: Apache-2.0
/**
 * A queue that the back-end serves in the driver's own memory: viola forwards kicks and calls, and does not touch the ring.
 *
 * @module
 */
import { type GuestMemory } from "../virtio/memory.ts";
import { RingError } from "../virtio/error.ts";
import {
  availBytes,
  Chain,
  DeviceRing,
  type RingLayout,
  type RingOptions,
  usedBytes,
  VIRTQ_USED_F_NO_NOTIFY,
} from "../virtio/split_ring.ts";
import { RING_QUEUE_COUNTERS, type RingQueue } from "../virtio/state.ts";
import type { ActivationRing } from "./lane_messages.ts";
import { type BackEndRings, CALL, type LaneQueue, type Progress } from "./lane_queue.ts";

/** What a direct queue is created from. */
export interface DirectQueueParts {
  readonly state: RingQueue;
  /** The driver's memory; null where viola has not mapped it. */
  readonly memory: GuestMemory | null;
  /** Where the driver's ring lies. */
  readonly layout: RingLayout;
  readonly options: RingOptions;
  /** Whether a chain should have come back by now, as its class says. */
  readonly isDue: (chain: Chain) => boolean;
}

/** See the module. */
export class DirectQueue implements LaneQueue {
  readonly index: number;
  /** Buffers used before viola watched the call eventfd may have raised no interrupt. */
  readonly mayMissInterrupt = true;
  readonly blame = "driver";
  readonly #parts: DirectQueueParts;
  readonly #epoch: number;
  /** How many chains the current back-end found in flight or waiting; null before the first one attached. */
  #found: number | null = null;
  /** The used index when {@linkcode look} last looked. */
  #lastUsedIdx = -1;
  #interruptWanted = false;

  constructor(parts: DirectQueueParts) {
    this.index = parts.layout.index;
    this.#parts = parts;
    this.#epoch = parts.state.epoch;
  }

  get current(): boolean {
    const { state } = this.#parts;
    return state.ready && state.epoch === this.#epoch;
  }

  /**
   * A back-end starts at the used index; one that tracks its chains adds those that are noted to be in flight. Where viola
   * has not mapped the ring it starts at 0: there is only one activation then, and its ring is new.
   *
   * @throws {RingError} when the chains in flight are not certain: the back-end does not know them, and the last one has
   *   given chains back in another order than it took them
   */
  attach(_: ActivationRing, { isTracked }: Pick<BackEndRings, "isTracked">): number {
    const { memory, layout, options } = this.#parts;
    const isFirst = this.#found === null;
    this.#found = 0;
    if (memory === null) return 0;
    const { usedIdx } = this.#ringOf(memory);
    const availIdx = readIdx(memory, layout.avail);
    if (!isTracked && !isCertain(memory, layout, availIdx, usedIdx)) {
      const problem =
        "requests were completed out of order, and with direct memory viola cannot know which are in " +
        "flight when a back-end ends that does not track them (INFLIGHT_SHMFD)";
      throw new RingError(options.deviceName, this.index, "resume", problem);
    }
    if (!isFirst) this.#found = (availIdx - usedIdx) & 0xffff;
    return usedIdx;
  }

  /** Nothing to do: the chains in flight lie in the driver's ring. */
  detach(): void {}

  /** The back-end finds the chains in the driver's ring. */
  resubmit(): number {
    return this.#found ?? 0;
  }

  countReturned(): number {
    return 0;
  }

  serve(marks: number): number {
    if ((marks & CALL) === 0) return 0;
    this.#parts.state.count(RING_QUEUE_COUNTERS.calls);
    this.#interruptWanted = true;
    return 0;
  }

  /** Never: the access Worker signals kicks. */
  takeKick(): boolean {
    return false;
  }

  takeInterrupt(): boolean {
    const wanted = this.#interruptWanted;
    this.#interruptWanted = false;
    return wanted;
  }

  look(): Progress {
    const { memory, isDue } = this.#parts;
    if (memory === null) return "settled";
    const ring = this.#ringOf(memory);
    const moved = ring.usedIdx !== this.#lastUsedIdx;
    this.#lastUsedIdx = ring.usedIdx;
    const chain = new Chain();
    const hasDue = ring.pop(chain) && isDue(chain);
    if (hasDue) return moved ? "moving" : "due";
    return this.#isPolled(memory) ? "moving" : "settled";
  }

  /** Whether the driver would not kick for its next chain, since the back-end looks for it. */
  #isPolled(memory: GuestMemory): boolean {
    const { layout: { size, avail, used }, options } = this.#parts;
    if (!options.eventIdx) return (readWord(memory, used, 0) & VIRTQ_USED_F_NO_NOTIFY) !== 0;
    return readWord(memory, used, 2 + 4 * size) !== readIdx(memory, avail);
  }

  /** The ring as a device would see it after the last used element. Changes nothing in it. */
  #ringOf(memory: GuestMemory): DeviceRing {
    const { layout, options } = this.#parts;
    const usedIdx = readIdx(memory, layout.used);
    return new DeviceRing(memory, layout, options, { nextAvail: usedIdx, usedIdx });
  }
}

/**
 * Whether the chains in flight are those from the used index on, as far as the rings show: the entries that both rings still
 * hold were used in the order in which they became available, and no head is twice among the entries after them.
 */
function isCertain(
  memory: GuestMemory,
  { size, avail, used }: RingLayout,
  availIdx: number,
  usedIdx: number,
): boolean {
  const pending = (availIdx - usedIdx) & 0xffff;
  if (pending > size) return true; // malformed, which is reported when the ring is read
  const availView = viewAt(memory, avail, availBytes(size));
  const usedView = viewAt(memory, used, usedBytes(size));
  const availHead = (i: number): number => availView.getUint16(4 + 2 * (i & (size - 1)), true);
  const usedHead = (i: number): number => usedView.getUint32(4 + 8 * (i & (size - 1)), true);
  const heads = Array.from({ length: pending }, (_, i) => availHead(usedIdx + i));
  if (new Set(heads).size < pending) return false;
  // One less than both can hold: the driver may be writing the next entry. None before the index has gone once around.
  const both = Math.min(size - pending - 1, usedIdx);
  for (let i = usedIdx - both; i < usedIdx; i++) if (availHead(i) !== usedHead(i)) return false;
  return true;
}

function viewAt(memory: GuestMemory, at: number, length: number): DataView {
  const { view, guest } = memory.region(at, length);
  return new DataView(view.buffer, view.byteOffset + at - guest, length);
}

/** The `idx` of an available or a used ring. Acquire: what it covers is read after it. */
function readIdx(memory: GuestMemory, at: number): number {
  return readWord(memory, at, 1);
}

/** A 16-bit word of a ring, by its number. Acquire: see {@linkcode readIdx}. */
function readWord(memory: GuestMemory, ring: number, word: number): number {
  const at = ring + 2 * word;
  const { u16, guest } = memory.region(at, 2);
  return Atomics.load(u16, (at - guest) / 2);
}
