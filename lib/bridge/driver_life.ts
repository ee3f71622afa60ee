// SPDX-License-Identifier: Apache-2.0
/**
 * One life of the driver, from DRIVER_OK to the reset: its queues, and the requests to replay to a new back-end.
 *
 * @module
 */
import type { QueueClass, ReplayRole } from "../virtio/device_class.ts";
import { MemoryError, RingError } from "../virtio/error.ts";
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_INDIRECT_DESC } from "../virtio/features.ts";
import { queueLayout } from "../virtio/queue_registers.ts";
import type { Chain, RingOptions } from "../virtio/split_ring.ts";
import { DirectQueue } from "./direct_queue.ts";
import type { DriverSide } from "./driver_side.ts";
import type { Activation } from "./lane_messages.ts";
import type { LaneQueue } from "./lane_queue.ts";
import { DeviceReplay } from "./replay.ts";
import { RequestWatch } from "./request_watch.ts";
import { type Scratch, ShadowQueue } from "./shadow_queue.ts";

/** The device that a {@linkcode DriverLife} belongs to. */
export interface LifeOptions {
  readonly name: string;
  readonly queues: readonly QueueClass[];
  readonly replayRole: ReplayRole;
}

/** See the module. */
export class DriverLife {
  readonly epoch: number;
  readonly replay: DeviceReplay;
  /** By index; a queue that the driver did not set up is missing. */
  readonly queues: (LaneQueue | undefined)[] = [];
  /** The queue that requests are replayed on; null where the class has no replay, or the queue is a direct one. */
  readonly control: ShadowQueue | null = null;

  /**
   * Opens the queues of an activation, as the driver has set them up.
   *
   * @throws {RingError} when a ring is malformed
   */
  constructor(
    driver: DriverSide,
    { epoch, rings }: Activation,
    { name, queues, replayRole }: LifeOptions,
    scratch: Scratch,
  ) {
    const { state, memory } = driver;
    this.epoch = epoch;
    this.replay = new DeviceReplay(replayRole, state.replay, epoch);
    const options = optionsOf(driver, name);
    for (const { index, slots } of rings) {
      const isDue = this.#judge(index, queues[index]!.kind === "request");
      const common = {
        state: state.queues[index]!,
        layout: queueLayout(state, index),
        options,
        isDue,
      };
      if (slots === null) this.queues[index] = new DirectQueue({ ...common, memory });
      else {
        const isControl = index === this.replay.queue;
        const watch = isControl ? new RequestWatch(this.replay) : null;
        const parts = { ...common, memory: memory!, scratch, watch };
        const queue = inMemory(name, index, () => new ShadowQueue(parts));
        this.queues[index] = queue;
        if (isControl) this.control = queue;
      }
    }
  }

  /** Whether a chain of a queue should have come back by now: always for requests, else if the class says so. */
  #judge(queue: number, isRequest: boolean): (chain: Chain) => boolean {
    return (chain) => isRequest || this.replay.isDue(queue, firstWord(chain));
  }
}

function optionsOf({ state }: DriverSide, deviceName: string): RingOptions {
  return {
    indirect: state.driverHas(VIRTIO_F_RING_INDIRECT_DESC),
    eventIdx: state.driverHas(VIRTIO_F_RING_EVENT_IDX),
    deviceName,
  };
}

/** Runs an action on a queue at the driver's addresses. @throws {RingError} when no memory is mapped there */
export function inMemory<T>(name: string, index: number, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!MemoryError.is(error)) throw error;
    const { address, length } = error;
    const where = `0x${address.toString(16)}`;
    const problem = `its ${length} bytes at ${where} are not in mapped memory`;
    throw new RingError(name, index, "set up", problem);
  }
}

/** The first 4 bytes of a chain's readable part, 0 for those it lacks. */
function firstWord(chain: Chain): number {
  const word = new DataView(new ArrayBuffer(4));
  chain.gather(0, new Uint8Array(word.buffer), 0, Math.min(4, chain.readableBytes));
  return word.getUint32(0, true);
}
