// SPDX-License-Identifier: Apache-2.0
/**
 * A driver of a device at a socket: queues in shared memory, and a front-end that hands them over.
 *
 * @module
 */
import {
  createMemory,
  EventFd,
  type Fd,
  Mapping,
  type Reactor,
  viewMemory,
} from "../../../ffi/mod.ts";
import { signalEvent } from "../../../ffi/mod.ts";
import { connectWithBackoff, type FrontEnd } from "../../../lib/vhost_user/mod.ts";
import { deviceClassByName } from "../../../lib/classes/mod.ts";
import { GuestMemory } from "../../../lib/virtio/memory.ts";
import * as snd from "../../../lib/classes/sound/wire.ts";
import { DriverQueue, DriverRing, splitRingLayout } from "../../../lib/virtio/split_ring.ts";

const GUEST = 0x4000_0000;
const RING_BYTES = 0x2000;
const HEAP = 4 * RING_BYTES;
const SIZE = 2 ** 20;
const RING_SIZE = 64;

/** A buffer that came back. */
export interface Used {
  token: number;
  length: number;
  /** Its written bytes. */
  bytes: Uint8Array;
}

/** A driver; its memory outlives any device that serves it. */
export class RemoteDriver implements AsyncDisposable {
  readonly #fd: Fd = createMemory("driver", SIZE);
  readonly #mapping = Mapping.create(this.#fd, SIZE);
  readonly #buffer = viewMemory(this.#mapping.range);
  readonly bytes = new Uint8Array(this.#buffer);
  #queues: DriverQueue<{ token: number; at: number }>[] = [];
  #doorbells: { kick: EventFd; call: EventFd }[] = [];
  #next = HEAP;
  #frontEnd: FrontEnd | null = null;
  readonly #class;

  constructor(readonly reactor: Reactor, className: string) {
    this.#class = deviceClassByName(className)!;
  }

  /** Connects, and begins with empty rings. */
  async connect(path: string): Promise<FrontEnd> {
    this.disconnect();
    const name = `driver of ${path}`;
    const options = { reactor: this.reactor, name, deviceClass: this.#class };
    const frontEnd = await connectWithBackoff(path, options);
    this.#frontEnd = frontEnd;
    const profile = await frontEnd.initialise();
    const { features } = profile;
    const memory = new GuestMemory([{ guest: GUEST, buffer: this.#buffer }]);
    this.#queues = this.#class.queues(profile).map((_, index) => {
      const layout = {
        index,
        size: RING_SIZE,
        ...splitRingLayout(GUEST + index * RING_BYTES, RING_SIZE),
      };
      const ringOptions = { indirect: false, eventIdx: true, deviceName: name };
      return new DriverQueue(new DriverRing(memory, layout, ringOptions));
    });
    this.#doorbells = this.#queues.map(() => ({ kick: EventFd.create(), call: EventFd.create() }));
    const rings = this.#queues.map((_, index) => ({
      index,
      size: RING_SIZE,
      base: 0,
      ...splitRingLayout(GUEST + index * RING_BYTES, RING_SIZE),
      kick: this.#doorbells[index]!.kick.number,
      call: this.#doorbells[index]!.call.number,
    }));
    const slot = { guest: GUEST, size: SIZE, user: GUEST, offset: 0, fd: this.#fd.number };
    await frontEnd.start({ features, memory: [slot], rings });
    return frontEnd;
  }

  /** Offers a chain: one piece to read, one to write. */
  offer(queue: number, token: number, readable: Uint8Array, writable: number): void {
    const room = readable.length + writable + 32;
    if (this.#next + room > SIZE) this.#next = HEAP;
    const read = this.#next;
    const write = read + Math.ceil(readable.length / 16) * 16;
    this.#next = Math.ceil((write + writable) / 16) * 16;
    this.bytes.set(readable, read);
    const segments = [
      { address: GUEST + read, length: readable.length, writable: false },
      { address: GUEST + write, length: writable, writable: true },
    ].filter(({ length }) => length > 0);
    if (!this.#queues[queue]!.add(segments, { token, at: write })) throw new Error("no room");
    signalEvent(this.#doorbells[queue]!.kick.number);
  }

  /** What came back of a queue. */
  take(queue: number): Used[] {
    const used: Used[] = [];
    const ring = this.#queues[queue]!;
    for (let one = ring.take(); one !== null; one = ring.take()) {
      const { token, at } = one.token;
      used.push({ token, length: one.length, bytes: this.bytes.slice(at, at + one.length) });
    }
    return used;
  }

  /** Waits for what comes back next of a queue. @throws {Error} after 5 s */
  async next(queue: number, deadlineMs = 5000): Promise<Used[]> {
    const deadline = performance.now() + deadlineMs;
    for (let used = this.take(queue);; used = this.take(queue)) {
      if (used.length > 0) return used;
      if (performance.now() > deadline) throw new Error(`queue ${queue} is silent`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Sends a control request to a sound card. @returns the status */
  async control(bytes: Uint8Array): Promise<number> {
    this.offer(snd.VQ_CONTROL, 0, bytes, 4);
    const [answer] = await this.next(snd.VQ_CONTROL);
    return new DataView(answer!.bytes.buffer).getUint32(0, true);
  }

  /** SET_PARAMS, PREPARE and START of stream 0, whose statuses must be OK. */
  async startPlayback(params: Omit<snd.PcmParams, "streamId">): Promise<void> {
    const view = new DataView(new ArrayBuffer(snd.PCM_SET_PARAMS_SIZE));
    snd.encodePcmSetParams(view, 0, { streamId: 0, ...params });
    const requests = [new Uint8Array(view.buffer), word(snd.R_PCM_PREPARE), word(snd.R_PCM_START)];
    for (const request of requests) {
      const status = await this.control(request);
      if (status !== snd.S_OK) throw new Error(soundFailure(request, status));
    }
  }

  /** Ends the connection; what was in flight is forgotten. */
  disconnect(): void {
    this.#frontEnd?.close();
    this.#frontEnd = null;
    for (const { kick, call } of this.#doorbells) {
      kick.close();
      call.close();
    }
    this.#doorbells = [];
  }

  // deno-lint-ignore require-await -- disposed of in the order of its async owners
  async [Symbol.asyncDispose](): Promise<void> {
    this.disconnect();
    this.#mapping.close();
    this.#fd.close();
  }
}

/** A request for stream 0. */
export function word(code: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(code, 0).buffer);
}

function soundFailure(request: Uint8Array, status: number): string {
  const code = new DataView(request.buffer).getUint32(0, true);
  return `${snd.soundCodeName(code)} got ${snd.soundCodeName(status)}`;
}
