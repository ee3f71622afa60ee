// SPDX-License-Identifier: Apache-2.0
/** A hostile driver on a soft node, on a thread of its own. Its faults are tables; a fault is passed as its index in its table. */
import { BlockingWorker } from "../../ffi/mod.ts";
import type { SoftWires } from "../../lib/loopback/soft.ts";
import { MESSAGE_FAULTS, type MessageFault } from "./hostile_messages.ts";
import { PLACEMENT_FAULTS, RING_FAULTS, type RingFault } from "./hostile_rings.ts";

export { MESSAGE_FAULTS, PLACEMENT_FAULTS, RING_FAULTS };

/** The driver's thread. */
export interface HostileContract {
  init: SoftWires;
  calls: {
    bringUp(indirect: boolean, place: number): { indirect: boolean; status: number };
    writeRing(fault: number, queue: number): void;
    writeMessage(fault: number): void;
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
   * @param place Where it says that its rings are; absent: where they are
   * @returns whether indirect tables were negotiated, and the device's status
   */
  bringUp(
    indirect: boolean,
    place?: typeof PLACEMENT_FAULTS[number],
  ): Promise<{ indirect: boolean; status: number }> {
    const index = place === undefined ? -1 : PLACEMENT_FAULTS.indexOf(place);
    return this.#worker.call("bringUp", indirect, index);
  }

  /** Writes a fault into a queue's ring, and notifies. */
  writeRing(fault: RingFault, queue: number): Promise<void> {
    return this.#worker.call("writeRing", RING_FAULTS.indexOf(fault), queue);
  }

  /** Sends a malformed message, and notifies. */
  writeMessage(fault: MessageFault): Promise<void> {
    return this.#worker.call("writeMessage", MESSAGE_FAULTS.indexOf(fault));
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
