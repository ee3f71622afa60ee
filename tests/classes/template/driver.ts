// SPDX-License-Identifier: Apache-2.0
/**
 * The echo driver.
 *
 * @module
 */
import { GuestError } from "../../../lib/guest/error.ts";
import { RequestQueue } from "../../../lib/guest/request_queue.ts";
import type { DriverContract, DriverRole, Patience } from "../../../lib/guest/role.ts";
import type { MmioDevice, VirtQueue } from "../../../lib/guest/transport.ts";
import { echo } from "./class.ts";
import { CONTROL_SIZE, EVENT_SIZE, OK, SET_KEY } from "./wire.ts";

/** What the driver shows. */
const PROGRESS = {
  states: [],
  totals: ["knocks", "configChanges"],
  words: [],
  numbers: [],
} as const;

/** What the echo driver and its guest's owner agree on. */
export interface EchoDriverContract extends DriverContract {
  found: {
    /** The most bytes that come back at once. */
    limit: number;
  };
  calls: {
    /** Sets the key that what comes back is combined with. */
    setKey(key: number): void;
    /** Sends bytes. @returns what came back */
    echo(bytes: Uint8Array): Uint8Array<ArrayBuffer>;
    /** The most bytes that come back at once, as the device says by now. */
    limit(): number;
  };
  progress: typeof PROGRESS;
}

class EchoDriver {
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #control: RequestQueue;
  readonly #echo: RequestQueue;
  readonly #events: VirtQueue<number>;
  limit: number;

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#control = new RequestQueue(device, "control", patience.controlTimeoutMs);
    this.#echo = new RequestQueue(device, "echo", patience.stallTimeoutMs);
    this.#events = device.setUpQueue<number>("event", (address) => this.#onEvent(address));
    this.limit = device.readConfig(0);
    device.ready();
    const address = device.pages.allocate(EVENT_SIZE);
    this.#offerEvent(address);
  }

  #offerEvent(address: number): void {
    this.#events.add([{ address, length: EVENT_SIZE, writable: true }], address);
    this.#events.kick();
  }

  #onEvent(address: number): void {
    const { pages, progress } = this.#device;
    progress.set("knocks", pages.view(address, EVENT_SIZE).getUint32(0, true));
    this.#offerEvent(address);
  }

  configChanged(): void {
    this.limit = this.#device.readConfig(0);
    this.#device.progress.count("configChanges");
  }

  setKey(key: number): void {
    const request = new Uint8Array(CONTROL_SIZE);
    request.set([SET_KEY, key]);
    const answer = this.#control.send("SET_KEY", request, new Uint8Array(1)).getUint8(0);
    if (answer === OK) return;
    throw this.#control.error("EINVAL", "SET_KEY", `the device answers ${answer}, expected ${OK}`);
  }

  echo(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const answer = this.#echo.send("an echo", bytes, new Uint8Array(bytes.length));
    return new Uint8Array(answer.buffer);
  }

  exercise(): void {
    const [back] = this.echo(Uint8Array.of(7));
    if (back !== undefined) return;
    throw new GuestError("EIO", `use ${this.#device.name}: nothing came back`);
  }
}

/** The software echo driver. */
export const driver: DriverRole<EchoDriverContract> = {
  deviceClass: echo,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(echo.id, 0n, () => new EchoDriver(device, patience));
    return {
      found: { limit: bound.limit },
      calls: {
        setKey: (key) => bound.setKey(key),
        echo: (bytes) => bound.echo(bytes),
        limit: () => bound.limit,
      },
      exercise: () => bound.exercise(),
      configChanged: () => bound.configChanged(),
    };
  },
};
