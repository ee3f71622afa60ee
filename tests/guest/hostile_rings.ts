// SPDX-License-Identifier: Apache-2.0
/**
 * Malformed rings, as a table: each entry writes one fault into a queue of a driver that is otherwise correct.
 */
import { type GuestPages, PAGE_SIZE } from "../../lib/guest/pages.ts";
import {
  encodeDescriptor,
  type RingLayout,
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  VIRTQ_DESC_F_WRITE as WRITE,
} from "../../lib/virtio/split_ring.ts";

/** Bytes of a queue's own memory, for buffers and tables. */
export const BUFFER_BYTES = 16 * PAGE_SIZE;

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

/** A fault in a ring. */
export interface RingFault {
  readonly name: string;
  /** What a device's error says of it; null where a device need not mind. */
  readonly says: RegExp | null;
  /** Only where indirect tables were negotiated (true), or were not (false). */
  readonly indirect?: boolean;
  write(queue: RawQueue): void;
}

/** A chain of one descriptor, writable: for most faults. */
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

export const RING_FAULTS: readonly RingFault[] = [
  {
    name: "the available idx jumps ahead by more than the ring",
    says: /available idx/,
    write: (q) => q.publish([], q.size + 1),
  },
  {
    name: "the available idx goes back",
    says: /available idx/,
    write: (q) => q.publish([], 0xffff),
  },
  {
    name: "the available idx jumps by half its range",
    says: /available idx/,
    write: (q) => q.publish([], 0x8000),
  },
  {
    name: "a head that no descriptor has",
    says: /available entry \d+ is \d+/,
    write: (q) => q.publish([q.size]),
  },
  {
    name: "a head of 65535",
    says: /available entry \d+ is 65535/,
    write: (q) => q.publish([0xffff]),
  },
  {
    name: "a next that no descriptor has",
    says: /next/,
    write(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, q.size);
      q.publish([0]);
    },
  },
  {
    name: "a descriptor that is its own next",
    says: /loop/,
    write(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, 0);
      q.publish([0]);
    },
  },
  {
    name: "a chain that comes back to its middle",
    says: /loop/,
    write(q) {
      for (let i = 0; i < 4; i++) q.descriptor(i, q.buffer, 16, WRITE | NEXT, i === 3 ? 1 : i + 1);
      q.publish([0]);
    },
  },
  {
    name: "a chain as long as the ring that still goes on",
    says: /loop/,
    write(q) {
      for (let i = 0; i < q.size; i++) {
        q.descriptor(i, q.buffer, 1, WRITE | NEXT, (i + 1) % q.size);
      }
      q.publish([0]);
    },
  },
  { name: "an address of 0", says: OUTSIDE, write: (q) => single(q, 0, 16) },
  {
    name: "an address just below memory",
    says: OUTSIDE,
    write: (q) => single(q, q.memoryStart - 16, 16),
  },
  {
    name: "an address at the end of memory",
    says: OUTSIDE,
    write: (q) => single(q, q.memoryEnd, 16),
  },
  {
    name: "the last address of all",
    says: OUTSIDE,
    write(q) {
      single(q, 0, 1);
      q.pages.bytes(q.layout.desc, 8).fill(0xff);
    },
  },
  {
    name: "a buffer that begins below memory",
    says: OUTSIDE,
    write: (q) => single(q, q.memoryStart - 1, 16),
  },
  {
    name: "a buffer that ends a byte behind memory",
    says: OUTSIDE,
    write: (q) => single(q, q.memoryEnd - 16, 17),
  },
  {
    name: "a length of 4 GiB less one",
    says: OUTSIDE,
    write: (q) => single(q, q.buffer, 0xffffffff),
  },
  { name: "a length of 0", says: /length/, write: (q) => single(q, q.buffer, 0) },
  {
    name: "a readable buffer after a writable one",
    says: /a readable segment after a writable one/,
    write(q) {
      q.descriptor(0, q.buffer, 16, WRITE | NEXT, 1);
      q.descriptor(1, q.buffer, 16, 0);
      q.publish([0]);
    },
  },
  {
    name: "an indirect table that was not negotiated",
    says: /indirect/,
    indirect: false,
    write: (q) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), 16),
  },
  {
    name: "an indirect table inside another",
    says: /indirect/,
    indirect: true,
    write(q) {
      const inner = q.tableEntry(2, 0, q.buffer, 16, WRITE);
      viaTable(q, q.tableEntry(1, 0, inner, 16, INDIRECT), 16);
    },
  },
  {
    name: "an indirect table with a next descriptor",
    says: /indirect/,
    indirect: true,
    write(q) {
      q.descriptor(1, q.buffer, 16, WRITE);
      viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), 16, INDIRECT | NEXT);
    },
  },
  ...[0, 15, 17, 0xfffffff0].map((length) => ({
    name: `an indirect table of ${length} bytes`,
    says: /indirect/,
    indirect: true,
    write: (q: RawQueue) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE), length),
  })),
  {
    name: "an indirect table outside memory",
    says: /indirect/,
    indirect: true,
    write: (q) => viaTable(q, q.memoryEnd - 16, 32),
  },
  {
    name: "an indirect table whose next is beyond it",
    says: /next/,
    indirect: true,
    write: (q) => viaTable(q, q.tableEntry(1, 0, q.buffer, 16, WRITE | NEXT, 2), 32),
  },
  {
    name: "an indirect table that loops",
    says: /loop/,
    indirect: true,
    write(q) {
      q.tableEntry(1, 0, q.buffer, 16, WRITE | NEXT, 1);
      viaTable(q, q.tableEntry(1, 1, q.buffer, 16, WRITE | NEXT, 0), 32);
    },
  },
  {
    name: "an address outside memory, in an indirect table",
    says: OUTSIDE,
    indirect: true,
    write: (q) => viaTable(q, q.tableEntry(1, 0, q.memoryEnd, 16, WRITE), 16),
  },
  {
    // A device that answers the first before it looks at the second sees nothing wrong.
    name: "a head in flight offered again",
    says: null,
    write(q) {
      q.descriptor(0, q.buffer, 16, WRITE);
      q.publish([0, 0]);
    },
  },
  {
    name: "the device's own idx rewritten",
    says: null,
    write(q) {
      q.pages.view(q.layout.used, 4).setUint16(2, 0x1234, true);
      single(q, q.buffer, 16);
    },
  },
  {
    name: "flags that no ring has",
    says: null,
    write(q) {
      q.pages.view(q.layout.avail, 2).setUint16(0, 0xfffe, true);
      single(q, q.buffer, 16);
    },
  },
];

/** Addresses of a ring outside memory; `memoryEnd` is the end of the guest's memory. */
export const PLACEMENT_FAULTS: readonly {
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
