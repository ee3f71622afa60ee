// SPDX-License-Identifier: Apache-2.0
/**
 * What one back-end is given for its life: eventfds, and with isolated memory a memfd with rings and room for chains.
 *
 * @module
 */
import { createMemory, EventFd, type Fd, Mapping, pageSize } from "../../ffi/mod.ts";
import { queueLayout } from "../virtio/registers.ts";
import { splitRingLayout } from "../virtio/split_ring.ts";
import type { DeviceState } from "../virtio/state.ts";
import type { MemoryMode, SessionRing } from "./lane_messages.ts";

/** The guest address of a session's memory in the back-end's eyes; not 0, which some take for "not set up". */
export const SESSION_GUEST = 0x1_0000;

/** Room for one queue's chains in bytes; pages are taken only when touched. */
const BOUNCE_BYTES = 16 * 2 ** 20;

/** The rings of one back-end's life, with all that they need. */
export class SessionMemory implements Disposable {
  readonly rings: SessionRing[] = [];
  /** Isolated memory; null when the back-end works in the driver's. */
  readonly memory: { fd: Fd; mapping: Mapping } | null = null;
  readonly #events: EventFd[] = [];

  /**
   * Makes them for the queues that the driver has set up.
   *
   * @param kicks Direct memory: the eventfds that the access Worker rings
   * @throws {OsError}
   */
  constructor(name: string, state: DeviceState, mode: MemoryMode, kicks: readonly number[]) {
    const ready = state.queues.filter((queue) => queue.ready).map(({ index }) => index);
    if (mode === "direct") {
      for (const index of ready) {
        const layout = queueLayout(state, index);
        const [call, kick] = [this.#event(), kicks[index]!];
        this.rings.push({ ...layout, call, kick, bounceStart: 0, bounceEnd: 0 });
      }
      return;
    }
    let end = 0;
    for (const index of ready) {
      const { size } = queueLayout(state, index);
      const { desc, avail, used, bytes } = splitRingLayout(SESSION_GUEST + end, size);
      const bounceStart = roundUp(end + bytes, pageSize());
      end = bounceStart + BOUNCE_BYTES;
      const [call, kick] = [this.#event(), this.#event()];
      this.rings.push({ index, size, desc, avail, used, call, kick, bounceStart, bounceEnd: end });
    }
    const fd = createMemory(`viola-${name}`, end);
    this.memory = { fd, mapping: Mapping.create(fd, end) };
  }

  #event(): number {
    const event = EventFd.create();
    this.#events.push(event);
    return event.number;
  }

  /** Frees everything: nobody in this process may touch it any more. */
  close(): void {
    this.memory?.mapping.close();
    this.memory?.fd.close();
    for (const event of this.#events) event.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
