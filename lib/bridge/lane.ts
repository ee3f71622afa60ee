// SPDX-License-Identifier: Apache-2.0
/**
 * A lane, as the main isolate holds it: its two Workers.
 *
 * @module
 */
import { asset, BlockingWorker } from "../../ffi/mod.ts";
import type {
  AccessContract,
  AccessEvent,
  LaneDevice,
  LaneOptions,
  RingContract,
  RingEvent,
} from "./lane_messages.ts";

/** Receives what a lane's Workers report about one device, and their failure. */
export interface LaneListener {
  access(event: AccessEvent): void;
  ring(event: RingEvent): void;
  /** A Worker failed: the lane serves no device any more. */
  failed(error: Error): void;
}

/** Two Workers and the devices they serve. After a failure a Worker touches no memory and gets no more calls. */
export class Lane implements AsyncDisposable {
  /** Resolves when both Workers run; rejects, with neither left, when their threads cannot be placed as asked. */
  readonly ready: Promise<void>;
  readonly #listeners = new Map<number, LaneListener>();
  /** Answers register accesses. */
  readonly access: BlockingWorker<AccessContract>;
  /** Serves rings. */
  readonly rings: BlockingWorker<RingContract>;

  /** Begins to start both Workers; calls may be made at once. @throws {OsError} when there are no descriptors left */
  constructor(readonly options: LaneOptions) {
    const onFailure = (error: Error): void => {
      for (const listener of this.#listeners.values()) listener.failed(error);
    };
    this.access = new BlockingWorker<AccessContract>(asset("lib/bridge/access_worker.ts"), {
      name: `the access Worker of lane ${options.name}`,
      init: options,
      onEvent: (event) => this.#listeners.get(event.id)?.access(event),
      onFailure,
    });
    try {
      this.rings = new BlockingWorker<RingContract>(asset("lib/bridge/ring_worker.ts"), {
        name: `the ring Worker of lane ${options.name}`,
        init: options,
        onEvent: (event) => this.#listeners.get(event.id)?.ring(event),
        onFailure,
      });
    } catch (error) {
      void this.access.close();
      throw error;
    }
    this.ready = this.#settled();
    this.ready.catch(() => {}); // reported to those who await it; unawaited it must not end the process
  }

  async #settled(): Promise<void> {
    try {
      await all([this.access.ready, this.rings.ready]);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Adds a device and starts answering its accesses. @throws {Error} after removing the device again */
  async add(device: LaneDevice, listener: LaneListener): Promise<void> {
    this.#listeners.set(device.id, listener);
    try {
      await all([this.rings.call("add", device), this.access.call("add", device)]);
    } catch (error) {
      await this.remove(device.id);
      throw error;
    }
  }

  /**
   * Removes a device; afterwards no Worker touches its memory or descriptors. The ring Worker removes it first, since an
   * interrupt that it is raising returns only when the access Worker answers the device's accesses.
   *
   * @throws {Error} when a Worker hangs, and may still touch it
   */
  async remove(id: number): Promise<void> {
    if (!this.rings.failed) await this.rings.call("remove", id);
    if (!this.access.failed) await this.access.call("remove", id);
    this.#listeners.delete(id);
  }

  /** Stops both Workers. */
  async close(): Promise<void> {
    await Promise.all([this.access.close(), this.rings.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Waits until all have settled. @throws the error of the first that failed */
async function all(promises: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(promises);
  await Promise.all(promises);
}
