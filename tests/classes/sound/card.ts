// SPDX-License-Identifier: Apache-2.0
/**
 * A driver at the rings of a sound device.
 *
 * @module
 */
import type { Commands } from "../../../lib/device/command.ts";
import type { EmbeddedDevice } from "../../../lib/device/embedded_device.ts";
import type { DeviceEvent } from "../../../lib/device/role.ts";
import { createSound, device as role } from "../../../lib/classes/sound/device.ts";
import { TestFiles } from "./test_files.ts";
import type {
  SoundDeviceContract,
  SoundEvent,
  SoundSpec,
} from "../../../lib/classes/sound/spec.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { COMMAND_MS, DeviceBench, type FakeClock, Wiring } from "../../device/wiring.ts";
import { Draws } from "../../support/random.ts";

/** A buffer's end. */
export interface Done {
  id: number;
  status: number;
  latency: number;
  length: number;
  /** Of a captured one: its samples. */
  samples: Uint8Array;
}

const u32 = (...words: number[]): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer);

/** What {@linkcode Card.setParams} asks for when told nothing else: S16, stereo, 48 kHz, 10 ms periods. */
export const PARAMS: Omit<snd.PcmParams, "streamId"> = {
  bufferBytes: 4 * 1920,
  periodBytes: 1920,
  features: 1 << snd.PCM_F_EVT_XRUNS,
  channels: 2,
  format: 5,
  rate: 7,
};

/** How long a card's commands may work on. */
export const GRACE_MS: number = COMMAND_MS;

/** Options of a {@linkcode Card}. */
export interface CardOptions {
  /** Whether the driver starts its rings at once. @default {true} */
  readonly started?: boolean;
  /** @default {64} */
  readonly ringSize?: number;
  /** The thread for files: one whose disk does everything at once, unless given. */
  readonly files?: Pick<TestFiles, "start">;
}

/** A card and its driver. */
export class Card implements Disposable {
  readonly #bench: DeviceBench<SoundDeviceContract>;
  readonly device: EmbeddedDevice<SoundDeviceContract>;
  readonly clock: FakeClock;
  /** The commands' own clock: it stands until it is told to go. */
  readonly commandClock: FakeClock;
  readonly commands: Commands;
  readonly wiring: Wiring;
  #places = new Map<number, { at: number; data: number; length: number; capture: boolean }>();
  #nextId = 1;
  #nextEvent = 1;

  constructor(
    spec: SoundSpec = {},
    { started = true, ringSize = 64, files = new TestFiles() }: CardOptions = {},
  ) {
    const create: typeof role.create = (spec, host) => createSound(spec, host, files.start);
    this.#bench = new DeviceBench({ ...role, create }, spec);
    const { device, clock } = this.#bench;
    this.device = device;
    this.clock = clock;
    this.commandClock = this.#bench.commandClock;
    this.commands = this.#bench.commands;
    this.wiring = new Wiring(this.device, ringSize);
    if (started) this.wiring.start();
  }

  /** Plugs a jack in or out from outside. */
  setJack(id: number, connected: boolean): void {
    this.device.call("setJack", [id, connected]);
  }

  [Symbol.dispose](): void {
    this.leave();
    this.#bench[Symbol.dispose]();
  }

  /** The front-end goes, and commands finish, for real. */
  finish(): void {
    this.leave();
    while (this.commands.finishing.length > 0 && this.dispatch(10_000));
  }

  /** The front-end goes. */
  leave(): void {
    for (const { index } of this.wiring.rings) this.device.stopRing(index, true);
    this.device.disconnected();
  }

  /** Waits for what is watched, for real. @returns whether something happened */
  dispatch(ms = 2000): boolean {
    const { watches } = this.#bench;
    const n = watches.epoll.wait(ms);
    watches.dispatch(n);
    return n > 0;
  }

  /** Sends a control request. @returns the answer's bytes */
  request(bytes: Uint8Array, room = 1024): Uint8Array {
    const queue = this.wiring.queues[snd.VQ_CONTROL]!;
    const [at] = this.wiring.offer(snd.VQ_CONTROL, 0, [bytes], room > 0 ? [room] : []);
    const answer = queue.take();
    if (answer === null) throw new Error("the request was not answered");
    return at === undefined ? new Uint8Array() : this.wiring.bytes.slice(at, at + answer.length);
  }

  /** @returns the status */
  control(...words: number[]): number {
    return new DataView(this.request(u32(...words)).buffer).getUint32(0, true);
  }

  /** @returns the status */
  setParams(params: Partial<snd.PcmParams> = {}): number {
    const view = new DataView(new ArrayBuffer(snd.PCM_SET_PARAMS_SIZE));
    snd.encodePcmSetParams(view, 0, { streamId: 0, ...PARAMS, ...params });
    return new DataView(this.request(new Uint8Array(view.buffer)).buffer).getUint32(0, true);
  }

  /** SET_PARAMS and PREPARE. */
  prepare(params: Partial<snd.PcmParams> = {}): void {
    const status = this.setParams(params);
    if (status !== snd.S_OK) throw new Error(`SET_PARAMS: ${snd.soundCodeName(status)}`);
    const prepared = this.control(snd.R_PCM_PREPARE, params.streamId ?? 0);
    if (prepared !== snd.S_OK) throw new Error(`PREPARE: ${snd.soundCodeName(prepared)}`);
  }

  /** Offers a buffer to play. @returns its id */
  play(samples: Uint8Array, stream = 0): number {
    const id = this.#nextId++;
    // In two pieces at an odd place: a driver may cut a buffer anywhere.
    const middle = samples.length >> 1;
    const pieces = [u32(stream), samples.subarray(0, middle), samples.subarray(middle)];
    const [at] = this.wiring.offer(snd.VQ_TX, id, pieces.filter((p) => p.length > 0), [8]);
    this.#places.set(id, { at: at!, data: 0, length: 0, capture: false });
    return id;
  }

  /** Offers a buffer to capture into. @returns its id */
  capture(length: number, stream = 0): number {
    const id = this.#nextId++;
    const lengths = length > 0 ? [length, 8] : [8];
    const places = this.wiring.offer(snd.VQ_RX, id, [u32(stream)], lengths);
    this.#places.set(id, { at: places.at(-1)!, data: places[0]!, length, capture: true });
    return id;
  }

  /** All buffers that came back since last asked, in their order. */
  done(): Done[] {
    return [snd.VQ_TX, snd.VQ_RX].flatMap((index) => this.#doneOf(index));
  }

  #doneOf(index: number): Done[] {
    const queue = this.wiring.queues[index]!;
    const done: Done[] = [];
    for (let used = queue.take(); used !== null; used = queue.take()) {
      const { at, data } = this.#places.get(used.token)!;
      const view = new DataView(this.wiring.buffer, at, 8);
      const { bytes } = this.wiring;
      done.push({
        id: used.token,
        status: view.getUint32(0, true),
        latency: view.getUint32(4, true),
        length: used.length,
        samples: index === snd.VQ_RX ? bytes.slice(data, data + used.length - 8) : new Uint8Array(),
      });
    }
    return done;
  }

  /** Fills the event queue. */
  offerEvents(count: number): void {
    for (let i = 0; i < count; i++) {
      const id = -this.#nextEvent++;
      const [at] = this.wiring.offer(snd.VQ_EVENT, id, [], [8]);
      this.#places.set(id, { at: at!, data: 0, length: 8, capture: false });
    }
  }

  /** Events that came since last asked: [code, data]. */
  takeEvents(): number[][] {
    const queue = this.wiring.queues[snd.VQ_EVENT]!;
    const events: number[][] = [];
    for (let used = queue.take(); used !== null; used = queue.take()) {
      const { at } = this.#places.get(used.token)!;
      events.push([...new Uint32Array(this.wiring.buffer, at, 2)]);
    }
    return events;
  }

  /** All that the device reported. */
  get events(): (DeviceEvent | SoundEvent)[] {
    return this.#bench.events;
  }

  /** What the device reported of this kind. */
  reported<Kind extends SoundEvent["kind"]>(kind: Kind): Extract<SoundEvent, { kind: Kind }>[] {
    const found = this.events.filter((event) => event.kind === kind);
    return found as Extract<SoundEvent, { kind: Kind }>[];
  }
}

const draws = new Draws(1);

/** Samples that differ everywhere, and from call to call. */
export function noise(length: number): Uint8Array<ArrayBuffer> {
  return draws.bytes(length);
}
