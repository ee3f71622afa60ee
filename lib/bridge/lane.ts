// SPDX-License-Identifier: Apache-2.0
/**
 * A lane as the main isolate holds it: its two Workers.
 *
 * @module
 */
import { BlockingWorker } from "../../ffi/mod.ts";
import type { AccessEvent, LaneDevice, LaneOptions, RingEvent, Session } from "./lane_messages.ts";

/** Told of what a lane's Workers report of one device, and of their end. */
export interface LaneListener {
  access(event: AccessEvent): void;
  ring(event: RingEvent): void;
  /** A Worker failed: the lane is dead. */
  failed(error: Error): void;
}

/** Two Workers and the devices they serve. */
export class Lane implements AsyncDisposable {
  private constructor(
    readonly options: LaneOptions,
    private readonly listeners: Map<number, LaneListener>,
    private readonly access: BlockingWorker,
    private readonly rings: BlockingWorker,
  ) {}

  /** @throws {Error} when the threads cannot be placed as asked */
  static async start(options: LaneOptions): Promise<Lane> {
    const listeners = new Map<number, LaneListener>();
    const onFailure = (error: Error): void => {
      for (const listener of listeners.values()) listener.failed(error);
    };
    const start = (script: string, name: string, onEvent: (event: unknown) => void) =>
      BlockingWorker.start(new URL(script, import.meta.url), {
        name: `${name} of lane ${options.name}`,
        init: options,
        onEvent,
        onFailure,
      });
    const access = start("./access_worker.ts", "the access Worker", (event) => {
      listeners.get((event as AccessEvent).id)?.access(event as AccessEvent);
    });
    const rings = start("./ring_worker.ts", "the ring Worker", (event) => {
      listeners.get((event as RingEvent).id)?.ring(event as RingEvent);
    });
    const started = await Promise.allSettled([access, rings]);
    const failed = started.find((result) => result.status === "rejected");
    if (failed !== undefined) {
      for (const result of started) if (result.status === "fulfilled") await result.value.close();
      throw failed.reason;
    }
    return new Lane(options, listeners, await access, await rings);
  }

  /** Takes a device in: from now on its accesses are answered. */
  async add(device: LaneDevice, listener: LaneListener): Promise<void> {
    this.listeners.set(device.id, listener);
    await this.rings.call("add", device);
    await this.access.call("add", device);
  }

  /** Lets a device go: nothing of it is touched any more. */
  async remove(id: number): Promise<void> {
    await this.access.call("remove", id);
    await this.rings.call("remove", id);
    this.listeners.delete(id);
  }

  /** Makes the rings of a new back-end. @returns where each begins; null when the driver's rings cannot be true */
  attach(session: Session): Promise<number[] | null> {
    return this.rings.call("attach", session);
  }

  /** Lets go of a back-end: its memory and eventfds are not touched any more. */
  detach(id: number): Promise<void> {
    return this.rings.call("detach", id);
  }

  /** The back-end listens at the relayed rings; "prepared" follows. */
  prepare(id: number): Promise<void> {
    return this.rings.call("prepare", id);
  }

  /** All rings are started; "live" follows. */
  go(id: number): Promise<void> {
    return this.rings.call("go", id);
  }

  /** Whether chains in flight in a queue should have come back by now. */
  isDue(id: number, queue: number): Promise<boolean> {
    return this.rings.call("isDue", { id, queue });
  }

  /** Raises a config interrupt. */
  configInterrupt(id: number): Promise<void> {
    return this.rings.call("configInterrupt", id);
  }

  /** Answers a reset that was held. */
  release(id: number): Promise<void> {
    return this.access.call("release", id);
  }

  /** Ends both Workers. */
  async close(): Promise<void> {
    await Promise.all([this.access.close(), this.rings.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
