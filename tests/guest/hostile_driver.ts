// SPDX-License-Identifier: Apache-2.0
/**
 * A driver that lies: it brings any device up as it should, then tells one lie, in a ring or in a sound message. The lies
 * are tables, so that a test can tell them all to whatever stands on the other side.
 */
import { GuestPages, PAGE_SIZE } from "../../lib/guest/pages.ts";
import { NO_PROGRESS, Progress } from "../../lib/guest/progress.ts";
import { type GuestPort, MmioDevice, REGISTER } from "../../lib/guest/transport.ts";
import { bit, hasFeature, VIRTIO_F_RING_INDIRECT_DESC } from "../../lib/virtio/features.ts";
import * as snd from "../../lib/classes/sound/wire.ts";
import {
  encodeDescriptor,
  type RingLayout,
  splitRingLayout,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../lib/virtio/split_ring.ts";
import { STATUS_DRIVER, STATUS_FEATURES_OK } from "../../lib/virtio/state.ts";

/** Bytes of a queue's own memory, for buffers and tables. */
/** By device id: entropy, sound. */
const QUEUE_COUNTS: Readonly<Record<number, number>> = { 4: 1, 25: 4 };
const BUFFER_BYTES = 16 * PAGE_SIZE;

/** A ring without rules: whatever is asked for is written. */
export class RawQueue {
  #avail = 0;

  /**
   * @param buffer Guest address of {@linkcode BUFFER_BYTES} that are this queue's
   * @param indirect Whether indirect tables were negotiated
   */
  constructor(
    readonly pages: GuestPages,
    readonly layout: RingLayout,
    readonly buffer: number,
    readonly indirect: boolean,
  ) {}

  get size(): number {
    return this.layout.size;
  }

  /** Where the guest's memory begins. */
  get memoryStart(): number {
    return this.pages.base;
  }

  /** Where it ends. */
  get memoryEnd(): number {
    return this.pages.memory.region(this.pages.base, 1).end;
  }

  /** Writes a descriptor of the ring. */
  descriptor(index: number, address: number, length: number, flags: number, next = 0): void {
    const table = this.pages.view(this.layout.desc, 16 * this.size);
    encodeDescriptor(table, index, address, length, flags, next);
  }

  /** Writes a descriptor to a table in the buffer, at page `page` of it. @returns the table's address */
  tableEntry(
    page: number,
    index: number,
    address: number,
    length: number,
    flags: number,
    next = 0,
  ): number {
    const table = this.buffer + page * PAGE_SIZE;
    encodeDescriptor(this.pages.view(table, PAGE_SIZE), index, address, length, flags, next);
    return table;
  }

  /** Writes heads to the available ring, then its idx, `jump` beyond what would be true. */
  publish(heads: readonly number[], jump = 0): void {
    const { avail, size } = this.layout;
    const view = this.pages.view(avail, 6 + 2 * size);
    for (const head of heads) view.setUint16(4 + 2 * (this.#avail++ % size), head, true);
    this.#avail = (this.#avail + jump) & 0xffff;
    view.setUint16(2, this.#avail, true);
  }

  /** Puts bytes into the buffer. @returns their address */
  put(offset: number, bytes: Uint8Array): number {
    this.pages.bytes(this.buffer + offset, bytes.length).set(bytes);
    return this.buffer + offset;
  }
}

/** A lie told in a ring. */
export interface RingLie {
  readonly name: string;
  /** What a device's error says of it; null where a device need not mind. */
  readonly says: RegExp | null;
  /** Only where indirect tables were negotiated (true), or were not (false). */
  readonly indirect?: boolean;
  tell(queue: RawQueue): void;
}

/** A chain of one descriptor, writable: what most lies need. */
function single(queue: RawQueue, address: number, length: number): void {
  queue.descriptor(0, address, length, WRITE);
  queue.publish([0]);
}

/** A chain that is but an indirect table. */
function viaTable(queue: RawQueue, table: number, length: number, flags = INDIRECT): void {
  queue.descriptor(0, table, length, flags, 1);
  queue.publish([0]);
}

const OUTSIDE = /memory/;

export const RING_LIES: readonly RingLie[] = [
  {
    name: "the available idx jumps ahead by more than the ring",
    says: /available idx/,
    tell: (q) => q.publish([], q.size + 1),
  },
  {
    name: "the available idx goes back",
    says: /available idx/,
    tell: (q) => q.publish([], 0xffff),
  },
  {
    name: "the available idx jumps by half its range",
    says: /available idx/,
    tell: (q) => q.publish([], 0x8000),
  },
  {
    name: "a head that no descriptor has",
    says: /available entry \d+ is \d+/,
    tell: (q) => q.publish([q.size]),
  },
  {
    name: "a head of 65535",
    says: /available entry \d+ is 65535/,
    tell: (q) => q.publish([0xffff]),
  },
  {
    name: "a next that no descriptor has",
    says: /next/,
    tell(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, q.size);
      q.publish([0]);
    },
  },
  {
    name: "a descriptor that is its own next",
    says: /loop/,
    tell(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, 0);
      q.publish([0]);
    },
  },
  {
    name: "a chain that comes back to its middle",
    says: /loop/,
    tell(q) {
      for (let i = 0; i < 4; i++) q.descriptor(i, q.buffer, 16, WRITE | NEXT, i === 3 ? 1 : i + 1);
      q.publish([0]);
    },
  },
  {
    name: "a chain as long as the ring that still goes on",
    says: /loop/,
    tell(q) {
      for (let i = 0; i < q.size; i++) {
        q.descriptor(i, q.buffer, 1, WRITE | NEXT, (i + 1) % q.size);
      }
      q.publish([0]);
    },
  },
  { name: "an address of 0", says: OUTSIDE, tell: (q) => single(q, 0, 16) },
  {
    name: "an address just below memory",
    says: OUTSIDE,
    tell: (q) => single(q, q.memoryStart - 16, 16),
  },
  {
    name: "an address at the end of memory",
    says: OUTSIDE,
    tell: (q) => single(q, q.memoryEnd, 16),
  },
  {
    name: "the last address of all",
    says: OUTSIDE,
    tell(q) {
      single(q, 0, 1);
      q.pages.bytes(q.layout.desc, 8).fill(0xff);
    },
  },
  {
    name: "a buffer that begins below memory",
    says: OUTSIDE,
    tell: (q) => single(q, q.memoryStart - 1, 16),
  },
  {
    name: "a buffer that ends a byte behind memory",
    says: OUTSIDE,
    tell: (q) => single(q, q.memoryEnd - 16, 17),
  },
  {
    name: "a length of 4 GiB less one",
    says: OUTSIDE,
    tell: (q) => single(q, q.buffer, 0xffffffff),
  },
  { name: "a length of 0", says: /length/, tell: (q) => single(q, q.buffer, 0) },
  {
    name: "a readable buffer after a writable one",
    says: /a readable segment after a writable one/,
    tell(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, 1);
      q.descriptor(1, q.buffer, 16, 0);
      q.publish([0]);
    },
  },
  {
    name: "an indirect table that was not negotiated",
    says: /indirect/,
    indirect: false,
    tell: (q) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), 16),
  },
  {
    name: "an indirect table inside another",
    says: /indirect/,
    indirect: true,
    tell(q) {
      const inner = q.tableEntry(2, 0, q.buffer, 16, WRITE);
      viaTable(q, q.tableEntry(1, 0, inner, 16, INDIRECT), 16);
    },
  },
  {
    name: "an indirect table with a next descriptor",
    says: /indirect/,
    indirect: true,
    tell(q) {
      q.descriptor(1, q.buffer, 16, WRITE);
      viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), 16, INDIRECT | NEXT);
    },
  },
  ...[0, 15, 17, 0xfffffff0].map((length) => ({
    name: `an indirect table of ${length} bytes`,
    says: /indirect/,
    indirect: true,
    tell: (q: RawQueue) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), length),
  })),
  {
    name: "an indirect table outside memory",
    says: /indirect/,
    indirect: true,
    tell: (q) => viaTable(q, q.memoryEnd - 16, 32),
  },
  {
    name: "an indirect table whose next is beyond it",
    says: /next/,
    indirect: true,
    tell: (q) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE | NEXT, 2), 32),
  },
  {
    name: "an indirect table that loops",
    says: /loop/,
    indirect: true,
    tell(q) {
      q.tableEntry(1, 0, q.buffer, 16, WRITE | NEXT, 1);
      viaTable(q, q.tableEntry(1, 1, q.buffer, 16, WRITE | NEXT, 0), 32);
    },
  },
  {
    name: "an address outside memory, in an indirect table",
    says: OUTSIDE,
    indirect: true,
    tell: (q) => viaTable(q, q.tableEntry(1, 0, q.memoryEnd, 16, WRITE), 16),
  },
  {
    // A device that answers the first before it looks at the second sees nothing wrong.
    name: "a head in flight offered again",
    says: null,
    tell(q) {
      q.descriptor(0, q.buffer, 16, WRITE);
      q.publish([0, 0]);
    },
  },
  {
    name: "the device's own idx rewritten",
    says: null,
    tell(q) {
      q.pages.view(q.layout.used, 4).setUint16(2, 0x1234, true);
      single(q, q.buffer, 16);
    },
  },
  {
    name: "flags that no ring has",
    says: null,
    tell(q) {
      q.pages.view(q.layout.avail, 2).setUint16(0, 0xfffe, true);
      single(q, q.buffer, 16);
    },
  },
];

/** A lie told in a message of the sound device, on a ring without fault. */
export interface MessageLie {
  readonly name: string;
  /** The queue's index. */
  readonly queue: number;
  /** What the device reads. */
  readonly request: Uint8Array;
  /** How much it may write. */
  readonly room: number;
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export const MESSAGE_LIES: readonly MessageLie[] = [
  ...[
    ["no request at all", words()],
    ["half a code", new Uint8Array(2)],
    ["a code that is none", words(0x4242)],
    ["a status for a code", words(snd.S_OK)],
    ["a query cut short", words(snd.R_PCM_INFO, 0)],
    ["a query from beyond the last stream", words(snd.R_PCM_INFO, 99, 1, snd.PCM_INFO_SIZE)],
    ["a query whose end wraps", words(snd.R_PCM_INFO, 0xffffffff, 2, snd.PCM_INFO_SIZE)],
    ["a query for 4 GiB of streams", words(snd.R_PCM_INFO, 0, 0xffffffff, snd.PCM_INFO_SIZE)],
    ["a query with items of size 0", words(snd.R_PCM_INFO, 0, 1, 0)],
    ["a query with items of 4 GiB", words(snd.R_JACK_INFO, 0, 1, 0xffffffff)],
    ["parameters cut short", words(snd.R_PCM_SET_PARAMS, 0, 4096)],
    ["parameters of stream 99", words(snd.R_PCM_SET_PARAMS, 99, 4096, 1024, 0, 0x00070502)],
    ["a period of 0", words(snd.R_PCM_SET_PARAMS, 0, 4096, 0, 0, 0x00070502)],
    ["a buffer smaller than its period", words(snd.R_PCM_SET_PARAMS, 0, 64, 4096, 0, 0x00070502)],
    ["0 channels", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x00070500)],
    ["a format that is none", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x0007ff02)],
    ["a rate that is none", words(snd.R_PCM_SET_PARAMS, 0, 4096, 1024, 0, 0x00ff0502)],
    ["a start of what was never prepared", words(snd.R_PCM_START, 0)],
    ["a stop of what never ran", words(snd.R_PCM_STOP, 0)],
    ["a release of stream 4 billion", words(snd.R_PCM_RELEASE, 0xffffffff)],
  ].map(([name, request]) => ({
    name: name as string,
    queue: snd.VQ_CONTROL,
    request: request as Uint8Array,
    room: 64,
  })),
  {
    name: "no room for the answer",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_PREPARE, 0),
    room: 0,
  },
  {
    name: "room for half an answer",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_PREPARE, 0),
    room: 2,
  },
  {
    name: "room for less than what is asked for",
    queue: snd.VQ_CONTROL,
    request: words(snd.R_PCM_INFO, 0, 2, snd.PCM_INFO_SIZE),
    room: 10,
  },
  { name: "sound for stream 99", queue: snd.VQ_TX, request: words(99, 1, 2, 3), room: 8 },
  { name: "sound with half a header", queue: snd.VQ_TX, request: new Uint8Array(3), room: 8 },
  { name: "sound without sound", queue: snd.VQ_TX, request: words(0), room: 8 },
  { name: "sound for the capture stream", queue: snd.VQ_TX, request: words(1, 1), room: 8 },
  { name: "sound with no room for the status", queue: snd.VQ_TX, request: words(0, 1), room: 4 },
  { name: "room for sound of stream 99", queue: snd.VQ_RX, request: words(99), room: 72 },
  { name: "room for a status and no sound", queue: snd.VQ_RX, request: words(1), room: 8 },
  { name: "room for sound without a header", queue: snd.VQ_RX, request: words(), room: 72 },
];

/** Where a ring is said to lie that lies nowhere; `memoryEnd` is where the guest's memory ends. */
export const PLACE_LIES: readonly {
  readonly name: string;
  misplace(ring: RingLayout, memoryEnd: number): Partial<RingLayout>;
}[] = [
  { name: "a descriptor table behind memory", misplace: (_, end) => ({ desc: end }) },
  { name: "a descriptor table at 0", misplace: () => ({ desc: 0 }) },
  {
    name: "a used ring that ends behind memory",
    misplace: (_, end) => ({ used: end - 64 }),
  },
  {
    name: "an available ring 2^52 bytes away",
    misplace: ({ avail }) => ({ avail: avail + 2 ** 52 }),
  },
];

/** Drives a device of any class up to DRIVER_OK, then does to its rings whatever is asked. */
export class HostileDriver {
  readonly #device: MmioDevice;
  readonly queues: RawQueue[] = [];

  constructor(readonly port: GuestPort) {
    const pages = new GuestPages(port.memory, port.guestBase, port.memorySize);
    this.#device = new MmioDevice(
      port,
      pages,
      "hostile driver's device",
      new Progress(NO_PROGRESS),
    );
  }

  /**
   * Brings the device up from nothing: reset, features, queues, DRIVER_OK.
   *
   * @param indirect Whether to take indirect tables where they are offered
   * @param misplace Says where the rings lie instead of where they do
   */
  bringUp(
    indirect: boolean,
    misplace: (ring: RingLayout, memoryEnd: number) => Partial<RingLayout> = () => ({}),
  ): void {
    const device = this.#device;
    this.queues.length = 0;
    device.pages.freeAll();
    device.identify();
    device.addStatus(STATUS_DRIVER);
    const taken = this.#negotiate(indirect);
    const count = QUEUE_COUNTS[device.identity.deviceId]!;
    for (let i = 0; i < count; i++) this.#setUp(i, taken, misplace);
    device.ready();
  }

  #negotiate(indirect: boolean): boolean {
    const device = this.#device;
    device.write(REGISTER.deviceFeaturesSel, 0);
    const offered = BigInt(device.read(REGISTER.deviceFeatures));
    const take = indirect && hasFeature(offered, VIRTIO_F_RING_INDIRECT_DESC);
    device.write(REGISTER.driverFeaturesSel, 1);
    device.write(REGISTER.driverFeatures, 1); // VERSION_1
    device.write(REGISTER.driverFeaturesSel, 0);
    device.write(REGISTER.driverFeatures, take ? Number(bit(VIRTIO_F_RING_INDIRECT_DESC)) : 0);
    device.addStatus(STATUS_FEATURES_OK);
    return take;
  }

  #setUp(
    index: number,
    indirect: boolean,
    misplace: (ring: RingLayout, memoryEnd: number) => Partial<RingLayout>,
  ): void {
    const { pages } = this.#device;
    this.#device.write(REGISTER.queueSel, index);
    const size = this.#device.read(REGISTER.queueNumMax);
    const base = pages.allocate(splitRingLayout(0, size, PAGE_SIZE).bytes);
    const layout = { index, size, ...splitRingLayout(base, size, PAGE_SIZE) };
    const queue = new RawQueue(pages, layout, pages.allocate(BUFFER_BYTES), indirect);
    this.queues.push(queue);
    this.#place({ ...layout, ...misplace(layout, queue.memoryEnd) });
  }

  #place({ size, desc, avail, used }: RingLayout): void {
    const device = this.#device;
    device.write(REGISTER.queueNum, size);
    if (device.identity.version === 1) {
      device.write(REGISTER.queueAlign, PAGE_SIZE);
      device.write(REGISTER.queuePfn, desc / PAGE_SIZE);
      return;
    }
    const parts = [
      [REGISTER.queueDesc, desc],
      [REGISTER.queueAvail, avail],
      [REGISTER.queueUsed, used],
    ] as const;
    for (const [register, address] of parts) {
      device.write(register, address % 2 ** 32);
      device.write(register + 4, Math.floor(address / 2 ** 32));
    }
    device.write(REGISTER.queueReady, 1);
  }

  /** Tells a lie in a queue's ring, and notifies. */
  tell(lie: RingLie, queue: number): void {
    lie.tell(this.queues[queue]!);
    this.notify(queue);
  }

  /** Tells a lie in a message, and notifies. */
  send({ queue: index, request, room }: MessageLie): void {
    const queue = this.queues[index]!;
    const segments = [
      { address: queue.put(0, request), length: request.length, flags: 0 },
      { address: queue.buffer + PAGE_SIZE, length: room, flags: WRITE },
    ].filter(({ length }) => length > 0);
    segments.forEach(({ address, length, flags }, i) => {
      const next = i + 1 < segments.length ? NEXT : 0;
      queue.descriptor(i, address, length, flags | next, i + 1);
    });
    queue.publish([0]);
    this.notify(index);
  }

  notify(queue: number): void {
    this.#device.write(REGISTER.queueNotify, queue);
  }

  /** The device's status. */
  get status(): number {
    return this.#device.read(REGISTER.status);
  }

  /** Bytes that the device says it wrote for the last chain of a queue it gave back, null when it gave none. */
  lastUsed(queue: number): { head: number; length: number } | null {
    const { pages, layout } = this.queues[queue]!;
    const used = pages.view(layout.used, 6 + 8 * layout.size);
    const idx = used.getUint16(2, true);
    if (idx === 0) return null;
    const at = 4 + 8 * ((idx - 1) % layout.size);
    return { head: used.getUint32(at, true), length: used.getUint32(at + 4, true) };
  }

  /** The device's idx of a queue. */
  usedIdx(queue: number): number {
    const { pages, layout } = this.queues[queue]!;
    return pages.view(layout.used, 4).getUint16(2, true);
  }

  /** Resets the device. */
  reset(): void {
    this.#device.write(REGISTER.status, 0);
  }
}
