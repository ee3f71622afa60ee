// SPDX-License-Identifier: Apache-2.0
/**
 * What a back-end gets for an activation: eventfds, and for shadow queues a memfd with rings and slots for chains.
 *
 * @module
 */
import { createMemory, EventFd, type Fd, Mapping, pageSize } from "../../ffi/mod.ts";
import {
  hasFeature,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
} from "../virtio/features.ts";
import { MAX_SEGMENTS, type RingLayout, splitRingLayout } from "../virtio/split_ring.ts";
import type { DeviceState } from "../virtio/state.ts";
import type { MemorySlot } from "../vhost_user/mod.ts";
import type { Activation, ActivationRing, LaneDevice } from "./lane_messages.ts";
import { isShadowed } from "./replay.ts";

/** The guest address of an activation's memory, as the back-end sees it; not 0, which some read as "not set up". */
export const ACTIVATION_GUEST = 0x1_0000;

/**
 * Room for one queue's chains, in bytes: over half a second of eight channels at 96 kHz. Pages are allocated only when
 * touched, but V8 counts the whole view as heap in each isolate that maps it (see lib/loopback/views.ts).
 */
export const SLOT_BYTES = 4 * 2 ** 20;

/** The rings of one activation, with their eventfds and memory. */
export class ActivationMemory implements Disposable {
  readonly rings: ActivationRing[] = [];
  /** The memory of shadow queues; null when there are none. */
  readonly memory: { fd: Fd; mapping: Mapping } | null = null;
  readonly #owned = new DisposableStack();
  #end = 0;

  /**
   * Creates rings for the queues that the driver has set up.
   *
   * @param features The features set at the back-end
   * @param starts The first index of shadow rings, by queue: 0, or where this connection's previous ones were stopped
   * @param flatSize The least size of shadow rings where chains of indirect tables lie flat
   * @throws {OsError} after freeing everything
   */
  constructor(
    device: LaneDevice,
    state: DeviceState,
    readonly features: bigint,
    readonly starts: ReadonlyMap<number, number> = new Map(),
    flatSize: number = MAX_SEGMENTS,
  ) {
    const least = leastSize(state, features, flatSize);
    try {
      for (const queue of state.queues) {
        if (!queue.ready) continue;
        // If the driver resets the queue meanwhile, the ring Worker will not attach to what is read here.
        const { index, num: size, desc, avail, used } = queue;
        const layout = { index, size, desc, avail, used };
        const shadowed = isShadowed(device, index);
        this.rings.push(
          shadowed ? this.#shadow(index, Math.max(size, least)) : this.#direct(layout),
        );
      }
      if (this.#end > 0) this.memory = this.#share(device.name);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #share(name: string): { fd: Fd; mapping: Mapping } {
    const fd = this.#owned.use(createMemory(`viola-${name}`, this.#end));
    return { fd, mapping: this.#owned.use(Mapping.create(fd, this.#end)) };
  }

  /** A ring in viola's memory, followed by the slots for its chains. */
  #shadow(index: number, size: number): ActivationRing {
    const { desc, avail, used, bytes } = splitRingLayout(ACTIVATION_GUEST + this.#end, size);
    const start = roundUp(this.#end + bytes, pageSize());
    const end = this.#end = start + SLOT_BYTES;
    const [call, kick] = [this.#event(), this.#event()];
    const first = this.starts.get(index) ?? 0;
    return { index, size, desc, avail, used, call, kick, slots: { start, end, first } };
  }

  /**
   * The driver's ring; the access Worker signals its kick eventfd. A new one for each back-end: the last may hold its own
   * still, and read it empty.
   */
  #direct(layout: RingLayout): ActivationRing {
    return { ...layout, call: this.#event(), kick: this.#event(), slots: null };
  }

  /**
   * The activation as the ring Worker receives it.
   *
   * @param isTracked See {@linkcode Activation}
   */
  describe(id: number, epoch: number, isTracked = false): Activation {
    const { rings, features, memory } = this;
    return {
      id,
      epoch,
      rings,
      memory: memory === null ? null : { range: memory.mapping.range, guest: ACTIVATION_GUEST },
      indirect: hasFeature(features, VIRTIO_F_RING_INDIRECT_DESC),
      eventIdx: hasFeature(features, VIRTIO_F_RING_EVENT_IDX),
      isTracked,
    };
  }

  /** The memory as a back-end is given it; none when there are no shadow queues. */
  get slots(): MemorySlot[] {
    if (this.memory === null) return [];
    const [size, fd] = [this.memory.mapping.length, this.memory.fd.number];
    return [{ guest: ACTIVATION_GUEST, user: ACTIVATION_GUEST, size, offset: 0, fd }];
  }

  #event(): number {
    return this.#owned.use(EventFd.create()).number;
  }

  /** Frees everything; nothing in this process may use it afterwards. */
  close(): void {
    this.#owned.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * The least size of a shadow ring. Two descriptors, since viola's own requests have two segments; more where the driver uses
 * indirect tables and the back-end does not.
 */
function leastSize(state: DeviceState, features: bigint, flatSize: number): number {
  const flattens = state.driverHas(VIRTIO_F_RING_INDIRECT_DESC) &&
    !hasFeature(features, VIRTIO_F_RING_INDIRECT_DESC);
  return flattens ? Math.max(flatSize, 2) : 2;
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
