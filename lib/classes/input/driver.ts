// SPDX-License-Identifier: Apache-2.0
/**
 * The input driver, as Linux's virtio_input: it asks the config space what the device is and has, keeps the event queue filled,
 * and sends LEDs and the like by the status queue.
 *
 * @module
 */
import { GuestError } from "../../guest/error.ts";
import type { DriverContract, DriverRole, Patience } from "../../guest/role.ts";
import { type MmioDevice, REGISTER, type VirtQueue } from "../../guest/transport.ts";
import { waitFor } from "../../guest/wait_for.ts";
import type { Capabilities } from "./capabilities.ts";
import { input } from "./class.ts";
import {
  type AbsInfo,
  CFG_ABS_INFO,
  CFG_EV_BITS,
  CFG_ID_DEVIDS,
  CFG_ID_NAME,
  CFG_ID_SERIAL,
  CFG_PROP_BITS,
  decodeAbsInfo,
  decodeBits,
  decodeDeviceIds,
  decodeEvent,
  encodeEvent,
  EVENT_SIZE,
  EVENT_TYPES,
  type InputEvent,
  MOST_PAYLOAD,
  PAYLOAD_AT,
} from "./wire.ts";

/** Offsets in the config space. */
const [SELECT, SUBSEL, SIZE] = [0, 1, 2] as const;
/** Buffers of the event queue, as of Linux. */
const MOST_BUFFERS = 64;
/** Most events that wait to be read by the owner; later ones are dropped. */
const MOST_UNREAD = 65536;
const [[EV_ABS], [EV_LED]] = [EVENT_TYPES.EV_ABS, EVENT_TYPES.EV_LED];
const NO_IDS = { bustype: 0, vendor: 0, product: 0, version: 0 };

/** What the driver shows. */
const PROGRESS = {
  states: [],
  totals: ["received", "sent", "malformed", "unread"],
  words: [],
  numbers: [],
} as const;

/** What the input driver and its guest's owner agree on. */
export interface InputDriverContract extends DriverContract {
  /** What the device is and has. */
  found: Capabilities;
  calls: {
    /** The next events, in order. @param count How many are waited for @returns fewer when the owner ended the call */
    receive(count: number): InputEvent[];
    /** Has the device set LEDs or the like, and waits until it has taken that. @returns how many events were taken */
    send(events: readonly InputEvent[]): number;
  };
  progress: typeof PROGRESS;
}

/** The config space, as a driver asks for what is in it (§5.8.5.1). */
class Config {
  constructor(readonly device: Pick<MmioDevice, "port" | "readConfig">) {}

  #set(offset: number, value: number): void {
    this.device.port.write(REGISTER.config + offset, 1, value);
  }

  /** What the device has of this; empty where it has nothing. */
  ask(select: number, subsel = 0): Uint8Array<ArrayBuffer> {
    this.#set(SELECT, select);
    this.#set(SUBSEL, subsel);
    const size = Math.min(this.device.readConfig(SIZE, 1) & 0xff, MOST_PAYLOAD);
    return Uint8Array.from({ length: size }, (_, i) => this.device.readConfig(PAYLOAD_AT + i, 1));
  }

  text(select: number): string {
    return new TextDecoder().decode(this.ask(select));
  }

  view(select: number, subsel = 0): DataView<ArrayBuffer> {
    return new DataView(this.ask(select, subsel).buffer);
  }
}

/** Asks for all that a driver wants to know. */
function capabilitiesOf(config: Config): Capabilities {
  const codes = new Map<number, readonly number[]>();
  for (const [type] of Object.values(EVENT_TYPES)) {
    const list = decodeBits(config.ask(CFG_EV_BITS, type));
    if (list.length > 0) codes.set(type, list);
  }
  const axes = new Map<number, AbsInfo>();
  for (const axis of codes.get(EV_ABS) ?? []) {
    const info = decodeAbsInfo(config.view(CFG_ABS_INFO, axis));
    if (info !== null) axes.set(axis, info);
  }
  return {
    name: config.text(CFG_ID_NAME),
    serial: config.text(CFG_ID_SERIAL),
    ids: decodeDeviceIds(config.view(CFG_ID_DEVIDS)) ?? NO_IDS,
    properties: decodeBits(config.ask(CFG_PROP_BITS)),
    codes,
    axes,
  };
}

/** A bound input device. */
class InputDriver {
  readonly found: Capabilities;
  readonly #device: MmioDevice<typeof PROGRESS>;
  readonly #patience: Patience;
  readonly #events: VirtQueue<number>;
  readonly #status: VirtQueue<number>;
  #unread: InputEvent[] = [];
  #inFlight = 0;

  constructor(device: MmioDevice<typeof PROGRESS>, patience: Patience) {
    this.#device = device;
    this.#patience = patience;
    this.#events = device.setUpQueue<number>("event", (...used) => this.#onEvent(...used));
    this.#status = device.setUpQueue<number>("status", (address) => {
      this.#inFlight--;
      device.progress.count("sent");
      device.pages.free(address, EVENT_SIZE);
    });
    this.found = capabilitiesOf(new Config(device));
    device.ready();
    this.#fill();
  }

  #fill(): void {
    const count = Math.min(this.#events.queue.ring.size, MOST_BUFFERS);
    const buffers = this.#device.pages.allocate(count * EVENT_SIZE);
    for (let i = 0; i < count; i++) this.#offer(buffers + i * EVENT_SIZE);
    this.#events.kick();
  }

  #offer(address: number): void {
    this.#events.add([{ address, length: EVENT_SIZE, writable: true }], address);
  }

  #onEvent(address: number, written: number): void {
    const { pages, progress } = this.#device;
    const bytes = pages.bytes(address, Math.min(written, EVENT_SIZE)).slice();
    const event = decodeEvent(new DataView(bytes.buffer));
    if (event === null) progress.count("malformed");
    else if (this.#unread.length >= MOST_UNREAD) progress.count("unread");
    else {
      this.#unread.push(event);
      progress.count("received");
    }
    this.#offer(address);
    this.#events.kick();
  }

  receive(count: number): InputEvent[] {
    this.#await(`${count} events`, () => this.#unread.length >= count);
    return this.#unread.splice(0, count);
  }

  send(events: readonly InputEvent[]): number {
    const { pages } = this.#device;
    const before = this.#device.progress.get("sent");
    for (const event of events) {
      const address = pages.allocate(EVENT_SIZE);
      encodeEvent(pages.view(address, EVENT_SIZE), event);
      const segments = [{ address, length: EVENT_SIZE, writable: false }];
      let isOffered = false;
      this.#await(
        "room in the status queue",
        () => isOffered ||= this.#status.add(segments, address),
      );
      if (!isOffered) {
        pages.free(address, EVENT_SIZE);
        break;
      }
      this.#inFlight++;
      this.#status.kick();
    }
    this.#await("the device to take what was sent", () => this.#inFlight === 0);
    return this.#device.progress.get("sent") - before;
  }

  #await(what: string, isSo: () => boolean): void {
    waitFor(this.#device, what, isSo, this.#patience.stallTimeoutMs);
  }

  /** Has it switch an LED off. Its config space is asked by the probe only, as by Linux's. */
  exercise(): void {
    const taken = this.send([{ type: EV_LED, code: 0, value: 0 }]);
    if (taken === 1) return;
    throw new GuestError("EIO", `use ${this.#device.name}: it took ${taken} events, expected 1`);
  }
}

/** The software input driver. */
export const driver: DriverRole<InputDriverContract> = {
  deviceClass: input,
  progress: PROGRESS,
  bind: (device, patience) => {
    const bound = device.bind(input.id, 0n, () => new InputDriver(device, patience));
    return {
      found: bound.found,
      calls: {
        receive: (count) => bound.receive(count),
        send: (events) => bound.send(events),
      },
      exercise: () => bound.exercise(),
    };
  },
};
