// SPDX-License-Identifier: Apache-2.0
/**
 * A lane as the main isolate holds it: its two Workers.
 *
 * @module
 */
import { BlockingWorker, part } from "../../ffi/mod.ts";
import type {
  AccessContract,
  AccessEvent,
  Activation,
  LaneDevice,
  LaneOptions,
  RingContract,
  RingEvent,
} from "./lane_messages.ts";

/** How long a Worker may take for nothing, in milliseconds. */
const PING_MS = 2000;

/** Told of what a lane's Workers report of one device, and of their end. */
export interface LaneListener {
  access(event: AccessEvent): void;
  ring(event: RingEvent): void;
  /** A Worker failed: the lane is dead. */
  failed(error: Error): void;
}

/** Two Workers and the devices they serve. A Worker that failed touches nothing any more, and is asked for nothing. */
export class Lane implements AsyncDisposable {
  /** Settles when both Workers are there; rejects when their threads cannot be placed as asked, and none is left then. */
  readonly ready: Promise<void>;
  readonly #listeners = new Map<number, LaneListener>();
  readonly #access: BlockingWorker<AccessContract>;
  readonly #rings: BlockingWorker<RingContract>;

  /** Begins to start both Workers; they can be asked for things at once. @throws {OsError} when there are no descriptors left */
  constructor(readonly options: LaneOptions) {
    const onFailure = (error: Error): void => {
      for (const listener of this.#listeners.values()) listener.failed(error);
    };
    this.#access = new BlockingWorker<AccessContract>(part("lib/bridge/access_worker.ts"), {
      name: `the access Worker of lane ${options.name}`,
      init: options,
      onEvent: (event) => this.#listeners.get(event.id)?.access(event),
      onFailure,
    });
    try {
      this.#rings = new BlockingWorker<RingContract>(part("lib/bridge/ring_worker.ts"), {
        name: `the ring Worker of lane ${options.name}`,
        init: options,
        onEvent: (event) => this.#listeners.get(event.id)?.ring(event),
        onFailure,
      });
    } catch (error) {
      void this.#access.close();
      throw error;
    }
    this.ready = this.#settled();
    this.ready.catch(() => {}); // whoever cares awaits it
  }

  async #settled(): Promise<void> {
    try {
      await all([this.#access.ready, this.#rings.ready]);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Takes a device in: from now on its accesses are answered. @throws {Error} and nothing of it is touched any more */
  async add(device: LaneDevice, listener: LaneListener): Promise<void> {
    this.#listeners.set(device.id, listener);
    try {
      await all([this.#rings.call("add", device), this.#access.call("add", device)]);
    } catch (error) {
      await this.remove(device.id);
      throw error;
    }
  }

  /**
   * Lets a device go: nothing of it is touched any more. Its rings go first, as an interrupt that is being raised ends
   * only when its accesses are answered.
   *
   * @throws {Error} when a Worker hangs, and may still touch it
   */
  async remove(id: number): Promise<void> {
    if (!this.#rings.failed) await this.#rings.call("remove", id);
    if (!this.#access.failed) await this.#access.call("remove", id);
    this.#listeners.delete(id);
  }

  /** Makes the rings of a new back-end. @returns where each begins; null when the driver's rings cannot be true */
  attach(activation: Activation): Promise<number[] | null> {
    return this.#rings.call("attach", activation);
  }

  /**
   * Lets go of a back-end: its memory and eventfds are not touched any more.
   *
   * @throws {Error} when the Worker hangs, and may still touch them
   */
  async detach(id: number): Promise<void> {
    if (!this.#rings.failed) await this.#rings.call("detach", id);
  }

  /** The back-end listens at the shadow rings; "prepared" follows. */
  prepare(id: number): Promise<void> {
    return this.#rings.call("prepare", id);
  }

  /** All rings are started; "live" follows. */
  go(id: number): Promise<void> {
    return this.#rings.call("go", id);
  }

  /** Whether both Workers answer: one that a hostile back-end made wait does not. */
  async answers(): Promise<boolean> {
    const pings = [
      this.#access.callWithin(PING_MS, "ping"),
      this.#rings.callWithin(PING_MS, "ping"),
    ];
    return (await Promise.allSettled(pings)).every(({ status }) => status === "fulfilled");
  }

  /** Whether chains in flight in a queue should have come back by now. */
  isDue(id: number, queue: number): Promise<boolean> {
    return this.#rings.call("isDue", id, queue);
  }

  /** Raises a config interrupt. */
  configInterrupt(id: number): Promise<void> {
    return this.#rings.call("configInterrupt", id);
  }

  /** Answers the access that is held. */
  async release(id: number): Promise<void> {
    if (!this.#access.failed) await this.#access.call("release", id);
  }

  /** Says to the driver that it must reset the device, if it is still in this life; its status is reported. */
  needReset(id: number, epoch: number): Promise<void> {
    return this.#access.call("needReset", id, epoch);
  }

  /** Ends both Workers. */
  async close(): Promise<void> {
    await Promise.all([this.#access.close(), this.#rings.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Waits until all have settled. @throws what the first of them that failed did */
async function all(promises: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(promises);
  await Promise.all(promises);
}
