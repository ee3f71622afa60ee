// SPDX-License-Identifier: Apache-2.0
/** A hostile driver on a soft node, on a thread of its own. The lies are tables; each is told by its place in its table. */
import { BlockingWorker } from "../../ffi/mod.ts";
import type { SoftWires } from "../../lib/loopback/soft.ts";
import {
  MESSAGE_LIES,
  type MessageLie,
  PLACE_LIES,
  RING_LIES,
  type RingLie,
} from "./hostile_driver.ts";

export { MESSAGE_LIES, PLACE_LIES, RING_LIES } from "./hostile_driver.ts";

/** The driver's thread. */
export interface HostileContract {
  init: SoftWires;
  calls: {
    bringUp(indirect: boolean, place: number): { indirect: boolean; status: number };
    tell(lie: number, queue: number): void;
    send(lie: number): void;
    usedIdx(queue: number): number;
    status(): number;
    reset(): void;
  };
  event: never;
}

export class HostileGuest implements AsyncDisposable {
  readonly #worker: BlockingWorker<HostileContract>;

  private constructor(worker: BlockingWorker<HostileContract>) {
    this.#worker = worker;
  }

  static async start(wires: SoftWires): Promise<HostileGuest> {
    const script = new URL("./hostile_worker.ts", import.meta.url);
    return new HostileGuest(
      await BlockingWorker.start(script, { name: "hostile driver", init: wires }),
    );
  }

  /**
   * Waits for the device and brings it up from nothing, rings and all.
   *
   * @param indirect Whether to take indirect tables where they are offered
   * @param place Where its rings lie, one of {@linkcode PLACE_LIES}; without it, where they do
   * @returns whether indirect tables were negotiated, and the device's status
   */
  bringUp(
    indirect: boolean,
    place?: typeof PLACE_LIES[number],
  ): Promise<{ indirect: boolean; status: number }> {
    const index = place === undefined ? -1 : PLACE_LIES.indexOf(place);
    return this.#worker.call("bringUp", indirect, index);
  }

  /** Tells a lie in a queue's ring, and notifies. */
  tell(lie: RingLie, queue: number): Promise<void> {
    return this.#worker.call("tell", RING_LIES.indexOf(lie), queue);
  }

  /** Tells a lie in a message, and notifies. */
  send(lie: MessageLie): Promise<void> {
    return this.#worker.call("send", MESSAGE_LIES.indexOf(lie));
  }

  /** How many chains of a queue the device gave back since the last {@linkcode bringUp}. */
  usedIdx(queue: number): Promise<number> {
    return this.#worker.call("usedIdx", queue);
  }

  /** The device's status. */
  status(): Promise<number> {
    return this.#worker.call("status");
  }

  /** Resets the device. */
  reset(): Promise<void> {
    return this.#worker.call("reset");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.close();
  }
}
