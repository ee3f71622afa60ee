// SPDX-License-Identifier: Apache-2.0
/**
 * An input device at its queues, and a device of the host behind it that a test plays.
 *
 * @module
 */
import { EVDEV_NUMBERS, EventFd, osError, WOULD_BLOCK } from "../../../ffi/mod.ts";
import { input } from "../../../lib/classes/input/class.ts";
import { createInput, type InputDeviceContract } from "../../../lib/classes/input/device.ts";
import {
  capabilitiesOf,
  type Evdev,
  EvdevSource,
  HOST_EVENT_SIZE,
} from "../../../lib/classes/input/evdev.ts";
import { decodeEvent, encodeBits, encodeEvent } from "../../../lib/classes/input/wire.ts";
import { DeviceBench, Wiring } from "../../device/wiring.ts";

/** Event types. */
export const [SYN, KEY, REL, ABS, LED, REP] = [0, 1, 2, 3, 0x11, 0x14];
/** The code of SYN_DROPPED. */
export const DROPPED = 3;
/** An event. */
export type Triple = [type: number, code: number, value: number];

/** Events as the host has them. */
function hostBytes(events: readonly Triple[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(events.length * HOST_EVENT_SIZE);
  events.forEach(([type, code, value], i) => {
    const view = new DataView(bytes.buffer, i * HOST_EVENT_SIZE);
    view.setUint32(0, 1_700_000_000, true); // a time, which is of no use
    encodeEvent(new DataView(bytes.buffer, i * HOST_EVENT_SIZE + 16), { type, code, value });
  });
  return bytes;
}

/** What the kernel knows of a device, and does. */
export class FakeHost {
  name = "Maus ü";
  pressed: number[] = [];
  position = 7;
  /** Events that were not read. */
  events: Triple[] = [];
  /** What a read returns instead. */
  failure = 0;
  isBusy = false;
  isOpen = false;
  isGrabbed = false;
  /** What was written. */
  written: string[] = [];

  open(): Evdev {
    const wake = EventFd.create();
    this.isOpen = true;
    return {
      number: wake.number,
      path: "/dev/input/event7",
      get: (number, length) => this.#get(number, length),
      grab: () => {
        if (this.isBusy) throw osError("take /dev/input/event7 for itself", "EBUSY");
        this.isGrabbed = true;
      },
      read: (bytes) => {
        if (this.failure !== 0) return this.failure;
        const events = this.events.splice(0, Math.floor(bytes.length / HOST_EVENT_SIZE));
        if (events.length === 0) return WOULD_BLOCK;
        bytes.set(hostBytes(events));
        return events.length * HOST_EVENT_SIZE;
      },
      write: (bytes) => {
        const { type, code, value } = decodeEvent(new DataView(bytes.buffer, 16))!;
        this.written.push(`${type} ${code} ${value}`);
        return bytes.length;
      },
      close: () => {
        wake.close();
        this.isOpen = this.isGrabbed = false;
      },
    };
  }

  #get(number: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    const { EVIOCGID, EVIOCGNAME, EVIOCGUNIQ, EVIOCGPROP, EVIOCGKEY, EVIOCGBIT, EVIOCGABS } =
      EVDEV_NUMBERS;
    if (number === EVIOCGUNIQ) throw osError("use /dev/input/event7 as an input device", "ENOENT");
    const answers: Record<number, Uint8Array> = {
      [EVIOCGID]: Uint8Array.of(3, 0, 0x34, 0x12, 2, 0, 0, 1),
      [EVIOCGNAME]: new TextEncoder().encode(this.name),
      [EVIOCGPROP]: encodeBits([1]),
      [EVIOCGKEY]: encodeBits(this.pressed),
      [EVIOCGBIT + KEY]: encodeBits([30, 0x110]),
      [EVIOCGBIT + REL]: encodeBits([0, 1]),
      [EVIOCGBIT + ABS]: encodeBits([0]),
      [EVIOCGBIT + LED]: encodeBits([0]),
      [EVIOCGABS]: new Uint8Array(Int32Array.of(this.position, -5, 300, 1, 2, 3).buffer),
    };
    bytes.set(answers[number] ?? []);
    return bytes;
  }
}

/** An input device at its queues, and the host's device behind it. */
export class HostBench implements Disposable {
  readonly host = new FakeHost();
  readonly bench: DeviceBench<InputDeviceContract>;
  readonly wiring: Wiring;
  readonly #places = new Map<number, number>();
  #token = 0;

  constructor(isGrabbed = true) {
    const options = { path: "/dev/input/event7", isGrabbed, open: () => this.host.open() };
    const node = this.host.open();
    const capabilities = capabilitiesOf(node);
    node.close();
    this.bench = new DeviceBench<InputDeviceContract>({
      deviceClass: input,
      check: () => {},
      create: (_, host) => createInput(new EvdevSource(capabilities, options, host), host),
    }, {});
    this.wiring = new Wiring(this.bench.device);
  }

  /** A driver comes. */
  begin(buffers = 60): this {
    this.bench.device.featuresAccepted(0n);
    this.wiring.start();
    this.offer(buffers);
    return this;
  }

  /** It leaves. */
  end(): void {
    for (const queue of [0, 1]) this.bench.device.stopRing(queue, false);
    this.bench.device.disconnected();
  }

  offer(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#places.set(++this.#token, this.wiring.offer(0, this.#token, [], [8])[0]!);
    }
  }

  /** What the driver got since the last call. */
  received(): string[] {
    this.bench.device.turn();
    const all: string[] = [];
    for (let used; (used = this.wiring.queues[0]!.take()) !== null;) {
      if (used.length === 0) continue;
      const view = new DataView(this.wiring.buffer, this.#places.get(used.token)!, 8);
      const { type, code, value } = decodeEvent(view)!;
      all.push(`${type} ${code} ${value}`);
    }
    return all;
  }

  reported(kind: string): string[] {
    return this.bench.events.filter((event) => event.kind === kind).map(({ text }) => text);
  }

  [Symbol.dispose](): void {
    this.bench.device.disconnected();
    this.bench[Symbol.dispose]();
  }
}
