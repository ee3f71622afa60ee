// SPDX-License-Identifier: Apache-2.0
// A device that echoes, a driver's queues in shared memory, and a folder for sockets: what tests of both roles need.
import {
  createMemory,
  EPOLLIN,
  EventFd,
  type Fd,
  Mapping,
  type Reactor,
  takeEvent,
  viewMemory,
  type Watch,
} from "../../ffi/mod.ts";
import { deviceClassByName } from "../../lib/classes/mod.ts";
import type { DeviceClass } from "../../lib/virtio/device_class.ts";
import { bit, VIRTIO_F_VERSION_1 } from "../../lib/virtio/features.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import { Chain, DriverQueue, DriverRing, splitRingLayout } from "../../lib/virtio/split_ring.ts";
import type { BackEndDevice, BackEndRing } from "../../lib/vhost_user/back_end.ts";
import type { MemorySlot, RingSetup } from "../../lib/vhost_user/front_end_types.ts";

export const SOUND: DeviceClass = deviceClassByName("sound")!;
export const RNG: DeviceClass = deviceClassByName("rng")!;
export const VERSION_1 = bit(VIRTIO_F_VERSION_1);

/** A folder of its own for sockets, removed at the end. */
export class SocketFolder implements Disposable {
  readonly path: string = Deno.makeTempDirSync();

  socket(name: string): string {
    return `${this.path}/${name}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A device that fills writable segments with what the readable ones hold, and writes down what happens to it. */
export class EchoDevice implements BackEndDevice {
  readonly name = "echo";
  readonly deviceId = 25;
  features = VERSION_1;
  queueCount = 4;
  readonly maxQueueSize = 64;
  config = Uint8Array.from({ length: 12 }, (_, i) => i);
  readonly log: string[] = [];
  /** Not null: requests are kept, and their heads lie here by queue, until they are given back. */
  held: Map<number, number[]> | null = null;
  /** Rings that take their time to be drained. */
  readonly slow = new Set<number>();
  readonly #rings = new Map<number, BackEndRing>();
  readonly #chain = new Chain(64);

  readConfig(): Uint8Array {
    return this.config;
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.config.set(bytes, offset);
    this.log.push(`config ${offset} ${[...bytes]}`);
  }

  featuresAccepted(features: bigint): void {
    this.log.push(`features ${features.toString(16)}`);
  }

  startRing(ring: BackEndRing): void {
    this.log.push(`start ${ring.index}`);
    this.#rings.set(ring.index, ring);
    ring.onKick = () => this.#serve(ring);
    this.#serve(ring);
  }

  drainRing(index: number): boolean {
    if (this.slow.has(index)) this.log.push(`drain ${index}`);
    return !this.slow.has(index);
  }

  /** Says that a slow ring is drained. */
  finishDrain(index: number): void {
    this.slow.delete(index);
    this.#rings.get(index)!.drained();
  }

  stopRing(index: number, abandoned: boolean): void {
    this.log.push(abandoned ? `abandon ${index}` : `stop ${index}`);
    this.#rings.delete(index);
  }

  disconnected(): void {
    this.log.push(`disconnected, ${this.#rings.size} rings left`);
  }

  /** Gives a kept request back. */
  giveBack(index: number, head: number): void {
    const ring = this.#rings.get(index)!;
    ring.ring.complete(head, 0);
    ring.call();
  }

  #serve(ring: BackEndRing): void {
    const chain = this.#chain;
    if (this.held !== null) {
      const heads: number[] = [];
      this.held.set(ring.index, heads);
      while (ring.ring.pop(chain)) heads.push(chain.head);
      return;
    }
    while (ring.ring.pop(chain)) {
      const bytes = new Uint8Array(chain.readableBytes);
      chain.gather(0, bytes);
      chain.scatter(0, bytes, 0, Math.min(bytes.length, chain.writableBytes));
      ring.ring.complete(chain.head, Math.min(bytes.length, chain.writableBytes));
    }
    ring.call();
  }
}

const SIZE = 1 << 16;
const GUEST = 0x4000_0000;
/** Unlike the guest address, and beyond 2^32, so that none is taken for the other. */
const USER = 0x7f00_0000_0000;
const QUEUE_BYTES = 0x2000;
const BUFFERS = 0x8000;

/** A driver with `count` queues of 16 in a memfd. */
export class Driver implements Disposable {
  readonly fd: Fd = createMemory("driver", SIZE);
  readonly #mapping: Mapping = Mapping.create(this.fd, SIZE);
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly queues: DriverQueue<string>[] = [];
  readonly kicks: EventFd[] = [];
  readonly calls: EventFd[] = [];
  readonly #memory: GuestMemory;

  constructor(readonly count = 4, readonly start = 0) {
    const buffer = viewMemory(this.#mapping.range);
    this.bytes = new Uint8Array(buffer);
    this.#memory = new GuestMemory([{ guest: GUEST, buffer }]);
    for (let i = 0; i < count; i++) {
      this.queues.push(this.#queue(i, start));
      this.kicks.push(EventFd.create());
      this.calls.push(EventFd.create());
    }
  }

  #queue(index: number, start: number): DriverQueue<string> {
    const layout = { index, size: 16, ...splitRingLayout(GUEST + index * QUEUE_BYTES, 16) };
    const options = { indirect: false, eventIdx: false, deviceName: "driver" };
    return new DriverQueue(new DriverRing(this.#memory, layout, options, start));
  }

  get memory(): MemorySlot[] {
    return [{ guest: GUEST, size: SIZE, user: USER, offset: 0, fd: this.fd.number }];
  }

  /** @param bases Where each ring goes on, its start unless told */
  rings(bases: readonly number[] = []): RingSetup[] {
    return this.queues.map((_, index) => {
      const { desc, avail, used } = splitRingLayout(USER + index * QUEUE_BYTES, 16);
      const kick = this.kicks[index]!.number;
      const call = this.calls[index]!.number;
      return { index, size: 16, base: bases[index] ?? this.start, desc, avail, used, kick, call };
    });
  }

  /** Offers a request: `text` to read, room for as much to write. */
  offer(queue: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.bytes.set(bytes, BUFFERS);
    this.bytes.fill(0, BUFFERS + 0x100, BUFFERS + 0x100 + bytes.length);
    const length = bytes.length;
    this.queues[queue]!.add([
      { address: GUEST + BUFFERS, length, writable: false },
      { address: GUEST + BUFFERS + 0x100, length, writable: true },
    ], text);
  }

  /** Waits for the call eventfd, takes the answer, and returns what the device wrote. */
  async answer(queue: number, reactor: Reactor): Promise<string> {
    await rung(this.calls[queue]!, reactor);
    const { length } = this.queues[queue]!.take()!;
    const at = BUFFERS + 0x100;
    return new TextDecoder().decode(this.bytes.slice(at, at + length));
  }

  /** The used index of a queue. */
  usedIdx(queue: number): number {
    const { used } = splitRingLayout(queue * QUEUE_BYTES, 16);
    return new DataView(this.bytes.buffer).getUint16(used + 2, true);
  }

  /** Takes what came back. @returns the texts as they were offered */
  takeAll(queue: number): string[] {
    const texts: string[] = [];
    for (let used = this.queues[queue]!.take(); used !== null; used = this.queues[queue]!.take()) {
      texts.push(used.token);
    }
    return texts;
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.kicks, ...this.calls, this.fd]) fd.close();
    this.#mapping.close();
  }
}

/** Resolves when an eventfd was rung, and takes it. */
export function rung(event: EventFd, reactor: Reactor): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const watch: Watch = reactor.watch(event.number, EPOLLIN, () => {
    watch.close();
    resolve(takeEvent(event.number));
  });
  return promise;
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}
