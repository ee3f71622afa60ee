// SPDX-License-Identifier: Apache-2.0
/**
 * A driver's queue: a ring, its free descriptors, and a token for each chain in flight.
 *
 * @module
 */
import { DescriptorPool } from "./descriptor_pool.ts";
import type { DriverRing, UsedElement } from "./driver_ring.ts";
import { encodeDescriptor } from "./driver_ring.ts";
import type { GuestMemory } from "./memory.ts";
import {
  descBytes,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from "./ring_layout.ts";

/** A piece of a buffer, at a guest address. */
export interface Segment {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Whether the device writes it; readable segments come before writable ones. */
  readonly writable: boolean;
}

/** Memory for indirect tables, one per descriptor of the ring. */
export interface IndirectTables {
  readonly memory: GuestMemory;
  /** Guest address of the first table, a multiple of 16. */
  readonly address: number;
  /** Descriptors of each table. All of them take 16 × `entries` × the ring's size bytes. */
  readonly entries: number;
}

/** A {@linkcode DriverRing} with its descriptors; each chain has a token that {@linkcode take} returns. */
export class DriverQueue<Token> {
  readonly #pool: DescriptorPool;
  // For each head: the writable bytes of its chain, its token.
  readonly #room: Float64Array<ArrayBuffer>;
  readonly #tokens: (Token | undefined)[];
  readonly #tables: readonly DataView[];
  readonly #tablesAt: number;
  readonly #used: UsedElement = { head: 0, length: 0 };

  /**
   * @param ring A new one
   * @param indirect Tables for chains of several segments, which then take one descriptor each. Only when negotiated
   * @throws {MemoryError} when the tables do not lie in memory
   */
  constructor(readonly ring: DriverRing, indirect?: IndirectTables) {
    const { size } = ring;
    this.#pool = new DescriptorPool(size);
    this.#room = new Float64Array(size);
    this.#tokens = new Array(size).fill(undefined);
    this.#tables = indirect === undefined ? [] : makeTables(indirect, size);
    this.#tablesAt = indirect?.address ?? 0;
  }

  /** Descriptors that are free. */
  get freeCount(): number {
    return this.#pool.freeCount;
  }

  /**
   * Offers a buffer to the device; call `ring.needsKick()` after one or several.
   *
   * @returns whether there was room
   * @throws {RangeError} for a buffer without segments, with more than the ring has descriptors, or with a readable segment
   * after a writable one
   */
  add(segments: readonly Segment[], token: Token): boolean {
    const inTable = this.#fitsTable(segments);
    this.#check(segments, inTable);
    const needed = inTable ? 1 : segments.length;
    if (needed > this.#pool.freeCount) return false;
    const head = this.#pool.take(needed);
    if (inTable) this.#writeTable(head, segments);
    else this.#write(head, segments);
    this.#room[head] = segments.reduce((sum, s) => sum + (s.writable ? s.length : 0), 0);
    this.#tokens[head] = token;
    this.ring.offer(head);
    this.ring.publish();
    return true;
  }

  /**
   * Takes the next used buffer.
   *
   * @returns its token and how many bytes the device wrote, null when there is none
   * @throws {RingError} when the device returned a chain that is not in flight, or more bytes than it has
   */
  take(): { token: Token; length: number } | null {
    if (!this.ring.takeUsed(this.#used)) return null;
    const { head, length } = this.#used;
    const token = this.#tokens[head]!;
    this.#pool.give(head);
    this.#tokens[head] = undefined;
    const room = this.#room[head]!;
    if (length > room) {
      throw this.ring.error(
        "take a used chain from",
        `${length} bytes written, expected up to ${room}`,
      );
    }
    return { token, length };
  }

  /** Whether a buffer goes to an indirect table; all have the same size. */
  #fitsTable({ length }: readonly Segment[]): boolean {
    const table = this.#tables[0];
    return length > 1 && table !== undefined && descBytes(length) <= table.byteLength;
  }

  #check(segments: readonly Segment[], inTable: boolean): void {
    const { length } = segments;
    if (length === 0 || (!inTable && length > this.ring.size)) {
      throw new RangeError(
        `Cannot add a buffer of ${length} segments, expected 1 to ${this.ring.size}`,
      );
    }
    if (segments.some((s, i) => !s.writable && segments[i - 1]?.writable)) {
      throw new RangeError("Cannot add a buffer with a readable segment after a writable one");
    }
  }

  #write(head: number, segments: readonly Segment[]): void {
    let index = head;
    segments.forEach(({ address, length }, i) => {
      const next = this.#pool.after(index);
      this.ring.writeDescriptor(index, address, length, flagsOf(segments, i), next);
      index = next;
    });
  }

  #writeTable(head: number, segments: readonly Segment[]): void {
    const table = this.#tables[head]!;
    segments.forEach(({ address, length }, i) => {
      encodeDescriptor(table, i, address, length, flagsOf(segments, i), i + 1);
    });
    const address = this.#tablesAt + head * table.byteLength;
    this.ring.writeDescriptor(head, address, descBytes(segments.length), VIRTQ_DESC_F_INDIRECT, 0);
  }
}

function flagsOf(segments: readonly Segment[], i: number): number {
  const next = i + 1 < segments.length ? VIRTQ_DESC_F_NEXT : 0;
  return segments[i]!.writable ? next | VIRTQ_DESC_F_WRITE : next;
}

function makeTables({ memory, address, entries }: IndirectTables, count: number): DataView[] {
  const bytes = descBytes(entries);
  const { buffer, guest } = memory.region(address, count * bytes);
  return Array.from(
    { length: count },
    (_, i) => new DataView(buffer, address - guest + i * bytes, bytes),
  );
}
