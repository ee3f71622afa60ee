// SPDX-License-Identifier: Apache-2.0
/**
 * The input device (virtio 1.2, §5.8): events of a file, of an input device of the host, or of the owner.
 *
 * A file or device waits for the driver's buffers, event by event: a packet may be larger than the driver's queue. A packet of the
 * owner's that there are not enough buffers for is dropped whole, as in QEMU.
 *
 * @module
 */
import {
  type DeviceContract,
  type DeviceEvent,
  type DeviceHost,
  type DeviceRole,
  SpecError,
  type VirtioDevice,
} from "../../device/role.ts";
import type { Chain } from "../../virtio/chain.ts";
import { encodeConfig } from "./capabilities.ts";
import { input } from "./class.ts";
import { EvdevSource, openEvdev } from "./evdev.ts";
import { type EventsFile, type Line, NO_EVENTS, parseEvents, readEvents } from "./events_file.ts";
import { type EventSource, FileSource } from "./source.ts";
import { StdinSource } from "./stdin_source.ts";
import {
  decodeEvent,
  encodeEvent,
  endsPacket,
  EVENT_SIZE,
  type InputEvent,
  VQ_EVENT,
  VQ_STATUS,
} from "./wire.ts";

/** Most lines of the file that are played in one turn. */
const MOST_PLAYED = 256;
/** Most events of one packet of the owner's; Linux's driver has 64 buffers. */
export const MOST_OF_A_PACKET = 64;

/** How an input device is to be. */
export interface InputSpec {
  /** A file of events. Neither this nor `lines`: a device without keys. */
  events?: string;
  /** The file's text, instead. */
  lines?: string;
  /** An input device of the host, instead: `/dev/input/eventN`. */
  evdev?: string;
  /** After the events of the file come those of standard input, as they come. @default {"no"} */
  stdin?: "yes" | "no";
  /** Whether it is taken for this device alone. @default {"yes"} */
  grab?: "yes" | "no";
}

/** What an input device reports, besides what every device does. */
export type InputEventReport =
  | DeviceEvent & {
    /** The driver has set an LED, or the like. */
    readonly kind: "status";
    readonly type: number;
    readonly code: number;
    readonly value: number;
  }
  | DeviceEvent & {
    readonly kind: "dropped";
    /** Packets that the driver had no buffers for, since the device was made. */
    readonly packets: number;
  };

/** What an input device and its owner agree on. */
export interface InputDeviceContract extends DeviceContract {
  spec: InputSpec;
  calls: {
    /** Gives the driver a packet, SYN_REPORT included. @returns whether it had buffers for it */
    send(events: readonly InputEvent[]): boolean;
  };
  event: InputEventReport;
}

/** See the module. */
class InputDevice implements VirtioDevice<InputDeviceContract> {
  readonly calls: InputDeviceContract["calls"];
  readonly #host: DeviceHost<InputEventReport>;
  readonly #source: EventSource;
  readonly #bytes = new Uint8Array(EVENT_SIZE);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #selected = { select: 0, subsel: 0 };
  /** The next line, taken from the source. */
  #line: Line | null = null;
  /** When it is due, in nanoseconds; Infinity before the driver is there. */
  #dueAt = Infinity;
  /** An event of the source, or the driver's buffers, are waited for. */
  #isHeld = false;
  /** Buffers of the driver that hold no event. */
  #buffers: Chain[] = [];
  #dropped = 0;

  constructor(source: EventSource, host: DeviceHost<InputEventReport>) {
    this.#source = source;
    this.#host = host;
    this.calls = { send: (events) => this.#send(events) };
  }

  readConfig(): Uint8Array<ArrayBuffer> {
    const { select, subsel } = this.#selected;
    return encodeConfig(this.#source.capabilities, select, subsel);
  }

  /** Only select and subsel are the driver's to write (§5.8.5). */
  writeConfig(offset: number, bytes: Uint8Array): void {
    const selected = this.#selected;
    if (offset === 0) selected.select = bytes[0] ?? selected.select;
    if (offset <= 1) selected.subsel = bytes[1 - offset] ?? selected.subsel;
  }

  featuresAccepted(): void {
    this.#line = null;
    this.#dueAt = this.#host.now();
    this.#source.begin();
  }

  /** An event of the driver's, which is told. */
  serve(_queue: number, chain: Chain): void {
    const length = chain.gather(0, this.#bytes);
    const event = decodeEvent(new DataView(this.#bytes.buffer, 0, length));
    this.#host.complete(VQ_STATUS, chain, 0);
    if (event === null || endsPacket(event)) return;
    this.#source.set?.(event);
    const { type, code, value } = event;
    const text = `The driver sets ${code} of event type ${type} to ${value}`;
    this.#host.report({ kind: "status", text, quiet: true, type, code, value });
  }

  /** Nothing is taken of the source while the driver has no buffer: a wait begins when the event before it was given. */
  tick(now: number): void {
    this.#isHeld = false;
    for (let i = 0; i < MOST_PLAYED && now >= this.#dueAt && !this.#isHeld; i++) {
      this.#isHeld = !this.#play(now);
    }
  }

  /** @returns whether the next line was played */
  #play(now: number): boolean {
    this.#line ??= this.#source.next();
    if (this.#line === null) return false;
    if ("wait" in this.#line) this.#dueAt = now + 1e6 * this.#line.wait;
    else if (this.#hasBuffers(1)) this.#give(this.#line);
    else return false;
    this.#line = null;
    return true;
  }

  deadline(): number {
    if (!this.#isHeld) return this.#dueAt;
    return this.#line === null ? this.#source.retryAt ?? Infinity : Infinity;
  }

  /** @returns whether the driver has so many buffers with room for an event */
  #hasBuffers(count: number): boolean {
    while (this.#buffers.length < count) {
      const chain = this.#host.take(VQ_EVENT);
      if (chain === null) return false;
      if (chain.writableBytes >= EVENT_SIZE) this.#buffers.push(chain);
      else this.#host.refuse(VQ_EVENT, chain, EVENT_SIZE);
    }
    return true;
  }

  #send(events: readonly InputEvent[]): boolean {
    if (events.length > MOST_OF_A_PACKET || !this.#hasBuffers(events.length)) {
      this.#dropped++;
      const text = `${this.#dropped} packets of events dropped: the driver has no buffers for them`;
      this.#host.report({ kind: "dropped", text, packets: this.#dropped });
      return false;
    }
    for (const event of events) this.#give(event);
    return true;
  }

  /** Writes an event to a buffer that there is. */
  #give(event: InputEvent): void {
    const chain = this.#buffers.shift()!;
    encodeEvent(this.#view, event);
    this.#host.complete(VQ_EVENT, chain, chain.scatter(0, this.#bytes));
  }

  stop(queue: number, abandoned: boolean): void {
    if (queue !== VQ_EVENT) return;
    const unused = this.#buffers.splice(0);
    if (!abandoned) { for (const chain of unused) this.#host.complete(VQ_EVENT, chain, 0); }
  }

  reset(): void {
    this.#selected.select = this.#selected.subsel = 0;
    this.#dueAt = Infinity;
    this.#source.end();
  }
}

function fileOf({ events, lines }: InputSpec): EventsFile {
  if (lines !== undefined) return parseEvents(lines, "the lines");
  return events === undefined ? NO_EVENTS : readEvents(events);
}

/** @throws {SpecError} */
function checkInput(spec: InputSpec): void {
  const { events, evdev, grab, stdin } = spec;
  if (stdin === "yes" && events === undefined) {
    throw new SpecError(
      "Cannot use events of standard input alone: expected a file whose first line says what the device is",
    );
  }
  if (evdev === undefined) {
    if (grab !== undefined) throw new SpecError("Cannot take no input device: expected evdev too");
    fileOf(spec);
  } else if (events !== undefined) {
    throw new SpecError(`Cannot use events of ${events} and of ${evdev}: expected one of them`);
  } else openEvdev(evdev);
}

function sourceOf(spec: InputSpec, host: DeviceHost<InputEventReport>): EventSource {
  const { evdev: path, grab = "yes", stdin } = spec;
  if (stdin === "yes") return new StdinSource(fileOf(spec), host);
  if (path === undefined) return new FileSource(fileOf(spec));
  return new EvdevSource(openEvdev(path), { path, isGrabbed: grab === "yes" }, host);
}

/** Makes an input device with events of any kind. */
export function createInput(
  source: EventSource,
  host: DeviceHost<InputEventReport>,
): VirtioDevice<InputDeviceContract> {
  return new InputDevice(source, host);
}

/** The embedded input device. */
export const device: DeviceRole<InputDeviceContract> = {
  deviceClass: input,
  check: checkInput,
  create: (spec, host) => createInput(sourceOf(spec, host), host),
};
