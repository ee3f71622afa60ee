// SPDX-License-Identifier: Apache-2.0
/**
 * A driver at the rings of a sound device, without sockets, and a clock that goes when it is told to.
 *
 * @module
 */
import { Watches } from "../../../ffi/mod.ts";
import type { Clock } from "../../../lib/device/clock.ts";
import { Commands } from "../../../lib/device/command.ts";
import { SoundDevice } from "../../../lib/classes/sound/device.ts";
import type { DeviceEvent, SoundSpec } from "../../../lib/classes/sound/spec.ts";
import type { BackEndDevice, BackEndRing } from "../../../lib/vhost_user/back_end.ts";
import { GuestMemory } from "../../../lib/virtio/memory.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import {
  DeviceRing,
  DriverQueue,
  DriverRing,
  splitRingLayout,
} from "../../../lib/virtio/split_ring.ts";
import { Draws } from "../../support/random.ts";

export class FakeClock implements Clock {
  time = 1e9;
  alarm = Infinity;
  onAlarm: () => void = () => {};

  now(): number {
    return this.time;
  }

  arm(ns: number): void {
    this.alarm = ns;
  }

  /** Lets milliseconds pass; alarms ring when they are due, at their time. */
  pass(ms: number): void {
    const end = this.time + ms * 1e6;
    while (this.alarm <= end) {
      this.time = Math.max(this.time, this.alarm);
      this.alarm = Infinity;
      this.onAlarm();
    }
    this.time = end;
  }

  /** Lets milliseconds pass in which the device does not run: then whatever was due rings late. */
  sleep(ms: number): void {
    this.time += ms * 1e6;
    this.pass(0);
  }
}

/** A buffer's end. */
export interface Done {
  id: number;
  status: number;
  latency: number;
  length: number;
  /** Of a captured one: its samples. */
  samples: Uint8Array;
}

export class TestRing implements BackEndRing {
  onKick: () => void = () => {};
  calls = 0;
  failure: Error | null = null;

  constructor(readonly index: number, readonly ring: DeviceRing, readonly memory: GuestMemory) {}

  call(): void {
    if (this.ring.needsInterrupt()) this.calls++;
  }

  fail(error: Error): void {
    this.failure = error;
  }
}

const GUEST = 0x1_0000_0000;
const MEMORY_BYTES = 2 ** 22;
const RING_BYTES = 0x4000;
const HEAP = 4 * RING_BYTES;

/** Memory, queues and rings of a device of up to four queues. */
export class Wiring {
  readonly buffer = new ArrayBuffer(MEMORY_BYTES);
  readonly bytes = new Uint8Array(this.buffer);
  readonly memory = new GuestMemory([{ guest: GUEST, buffer: this.buffer }]);
  readonly queues: DriverQueue<number>[] = [];
  readonly rings: TestRing[] = [];
  #next = HEAP;

  constructor(readonly device: BackEndDevice, size = 64, start = 65500) {
    for (let index = 0; index < device.queueCount; index++) {
      const layout = { index, size, ...splitRingLayout(GUEST + index * RING_BYTES, size) };
      const options = { indirect: true, eventIdx: index % 2 === 0, deviceName: device.name };
      // Indices wrap in every test.
      const tables = {
        memory: this.memory,
        address: GUEST + index * RING_BYTES + 0x2000,
        entries: 8,
      };
      const driver = new DriverRing(this.memory, layout, options, start);
      // Buffers lie in indirect tables, requests and events in the ring itself.
      this.queues.push(new DriverQueue(driver, index >= snd.VQ_TX ? tables : undefined));
      const ring = new DeviceRing(this.memory, layout, options, { nextAvail: start });
      this.rings.push(new TestRing(index, ring, this.memory));
    }
  }

  start(): void {
    for (const ring of this.rings) this.device.startRing(ring);
  }

  /** An offset of as many bytes that have not been given out for a long time. */
  allocate(length: number): number {
    if (this.#next + length > MEMORY_BYTES) this.#next = HEAP;
    const at = this.#next;
    this.#next += Math.ceil(length / 16) * 16;
    return at;
  }

  /** Offers a chain: pieces to read, then lengths to write. @returns where the pieces to write lie */
  offer(index: number, token: number, pieces: Uint8Array[], lengths: number[]): number[] {
    const readable = pieces.map((piece) => {
      const at = this.allocate(piece.length);
      this.bytes.set(piece, at);
      return { address: GUEST + at, length: piece.length, writable: false };
    });
    const places = lengths.map((length) => this.allocate(length));
    const writable = lengths.map((length, i) => ({
      address: GUEST + places[i]!,
      length,
      writable: true,
    }));
    const queue = this.queues[index]!;
    if (!queue.add([...readable, ...writable], token)) throw new Error("no room in the ring");
    if (queue.ring.needsKick()) this.rings[index]!.onKick();
    return places;
  }
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
export const GRACE_MS = 30_000;

/** A card and its driver. */
export class Card implements Disposable {
  readonly clock = new FakeClock();
  readonly events: DeviceEvent[] = [];
  readonly watches = new Watches();
  /** The commands' own clock: it stands until it is told to go. */
  readonly commandClock = new FakeClock();
  readonly commands = new Commands(this.watches, {
    clock: this.commandClock,
    graceMs: GRACE_MS,
    onKilled: (text) => this.events.push({ kind: "error", text }),
  });
  readonly device: SoundDevice;
  readonly wiring: Wiring;
  #places = new Map<number, { at: number; data: number; length: number; capture: boolean }>();
  #nextId = 1;
  #nextEvent = 1;

  constructor(spec: Partial<SoundSpec> = {}, { started = true, ringSize = 64 } = {}) {
    const { clock, commands } = this;
    const onEvent = (event: DeviceEvent): void => void this.events.push(event);
    const full: SoundSpec = { class: "sound", socket: "unused", ...spec };
    this.device = new SoundDevice(full, { clock, commands, onEvent });
    this.wiring = new Wiring(this.device, ringSize);
    if (started) this.wiring.start();
  }

  [Symbol.dispose](): void {
    this.leave();
    this.commands.close();
    this.watches.close();
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
    const n = this.watches.epoll.wait(ms);
    this.watches.dispatch(n);
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

  /** What the device reported of this kind. */
  reported<Kind extends DeviceEvent["kind"]>(
    kind: Kind,
  ): Extract<DeviceEvent, { kind: Kind }>[] {
    return this.events.filter((event) => event.kind === kind) as Extract<
      DeviceEvent,
      { kind: Kind }
    >[];
  }
}

const draws = new Draws(1);

/** Samples that differ everywhere, and from call to call. */
export function noise(length: number): Uint8Array<ArrayBuffer> {
  return draws.bytes(length);
}
