// SPDX-License-Identifier: Apache-2.0
/**
 * The device's side of a ring whose driver writes what it likes, whenever it likes, into memory of three regions. Whatever
 * is taken lies inside memory, nothing is written but what a device may write, and the indices agree with what was taken
 * and given back.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RingError } from "../../../lib/virtio/error.ts";
import { GuestMemory } from "../../../lib/virtio/memory.ts";
import { Chain, DeviceRing } from "../../../lib/virtio/split_ring.ts";
import {
  ANY_U32,
  ANY_U64,
  anyBytes,
  expectError,
  mostly,
  target,
  type Verdict,
} from "../target.ts";

type Step =
  | { do: "describe"; table: number; index: number; descriptor: Descriptor }
  | { do: "offer"; head: number; skip: number }
  | { do: "noise"; at: number; bytes: Uint8Array }
  | { do: "pop" | "announce" | "enable" | "disable" }
  | { do: "walk" | "complete"; which: number; length: number };

interface Descriptor {
  address: bigint;
  length: number;
  flags: number;
  next: number;
}

interface Input {
  size: number;
  indirect: boolean;
  eventIdx: boolean;
  start: number;
  steps: Step[];
}

const GUEST = 0x1_4000_0000;
/** Bytes of each region; the second follows the first, the third lies by itself. */
const REGIONS = [0x800, 0x400, 0x400];
const STARTS = [GUEST, GUEST + 0x800, GUEST + 0x10_0000];
/** In the first region: table, available ring, used ring; then room for indirect tables. */
const [AVAIL, USED, TABLE] = [0x200, 0x280, 0x500];
const CAPACITY = 6;

const address = mostly(
  fc.oneof(
    fc.nat({ max: 0xbf0 }).map((n) => BigInt(GUEST + n)),
    fc.nat({ max: 0x3f0 }).map((n) => BigInt(STARTS[2]! + n)),
    fc.nat({ max: 15 }).map((n) => BigInt(GUEST + TABLE + 16 * n)),
  ),
  ANY_U64,
);
const length = mostly(
  fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 6 }).map((n) => 16 * n)),
  ANY_U32,
);
const descriptor: fc.Arbitrary<Descriptor> = fc.record({
  address,
  length,
  flags: mostly(fc.constantFrom(0, 1, 1, 2, 3, 4), fc.nat({ max: 0xffff })),
  next: mostly(fc.nat({ max: 15 }), fc.nat({ max: 0xffff })),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("describe" as const),
      table: fc.constantFrom(0, 0, TABLE),
      index: fc.nat({ max: 15 }),
      descriptor,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("offer" as const),
      head: mostly(fc.nat({ max: 15 }), fc.nat({ max: 0xffff }), 20),
      skip: mostly(fc.constant(0), fc.nat({ max: 0xffff }), 30),
    }),
  },
  fc.record({
    do: fc.constant("noise" as const),
    at: fc.nat({ max: 0x7c0 }),
    bytes: anyBytes(24),
  }),
  { weight: 5, arbitrary: fc.constant<Step>({ do: "pop" }) },
  fc.constantFrom<Step>({ do: "announce" }, { do: "enable" }, { do: "disable" }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("walk" as const, "complete" as const, "complete" as const),
      which: fc.nat({ max: 20 }),
      length: ANY_U32,
    }),
  },
);

const input: fc.Arbitrary<Input> = fc.record({
  size: fc.constantFrom(1, 2, 8, 16),
  indirect: fc.boolean(),
  eventIdx: fc.boolean(),
  start: fc.constantFrom(0, 0xfffe),
  steps: fc.array(step, { maxLength: 60, size: "max" }),
});

/** A ring under test with its hostile driver, and what must hold of it. */
class Bench {
  readonly #buffers = REGIONS.map((bytes) => new ArrayBuffer(bytes));
  readonly #bytes = new Uint8Array(this.#buffers[0]!);
  readonly #view = new DataView(this.#buffers[0]!);
  readonly #ring: DeviceRing;
  readonly #chain = new Chain(CAPACITY);
  /** Heads that were taken and not given back. */
  readonly #held: number[] = [];
  #completed: number;
  #availIdx: number;
  refused = false;

  constructor(readonly input: Input) {
    const { size, indirect, eventIdx, start } = input;
    this.#availIdx = this.#completed = start;
    this.#view.setUint16(AVAIL + 2, start, true);
    this.#view.setUint16(USED + 2, start, true);
    const regions = this.#buffers.map((buffer, i) => ({ guest: STARTS[i]!, buffer }));
    const layout = { index: 0, size, desc: GUEST, avail: GUEST + AVAIL, used: GUEST + USED };
    const options = { indirect, eventIdx, deviceName: "card0" };
    this.#ring = new DeviceRing(new GuestMemory(regions), layout, options, { nextAvail: start });
  }

  take(step: Step): void {
    if (step.do === "describe") this.#describe(step.table + 16 * step.index, step.descriptor);
    else if (step.do === "offer") this.#offer(step.head, step.skip);
    else if (step.do === "noise") this.#bytes.set(step.bytes, step.at);
    else this.#attempt(step);
    assertEquals(this.#ring.pending, this.#held.length);
    assertEquals(this.#ring.usedIdx, this.#completed);
    assertEquals(this.#ring.nextAvail, (this.#completed + this.#held.length) & 0xffff);
  }

  #describe(at: number, { address, length, flags, next }: Descriptor): void {
    this.#view.setBigUint64(at, address, true);
    this.#view.setUint32(at + 8, length, true);
    this.#view.setUint16(at + 12, flags, true);
    this.#view.setUint16(at + 14, next, true);
  }

  #offer(head: number, skip: number): void {
    const entry = this.#availIdx & (this.input.size - 1);
    this.#view.setUint16(AVAIL + 4 + 2 * entry, head, true);
    this.#availIdx = (this.#availIdx + 1 + skip) & 0xffff;
    this.#view.setUint16(AVAIL + 2, this.#availIdx, true);
  }

  /** The device's own steps: each may be refused, and then has done nothing. */
  #attempt(step: Exclude<Step, { do: "describe" | "offer" | "noise" }>): void {
    const before = this.#buffers.map((buffer) => new Uint8Array(buffer.slice(0)));
    try {
      if (step.do === "pop") this.#pop(before);
      else if (step.do === "walk") this.#walk(step.which, before);
      else if (step.do === "complete") this.#complete(step.which, step.length, before);
      else this.#flag(step.do, before);
    } catch (error) {
      expectError(error, RingError);
      this.refused = true;
    }
  }

  #pop(before: Uint8Array[]): void {
    const there = this.#ring.pop(this.#chain);
    this.#expectWritten(before, []);
    if (!there) return;
    const { head } = this.#chain;
    assert(head < this.input.size && !this.#held.includes(head), `took ${head} twice`);
    this.#held.push(head);
    this.#checkChain();
    this.#fill(before);
  }

  #walk(which: number, before: Uint8Array[]): void {
    const head = this.#held[which % this.#held.length] ?? which;
    const isHeld = this.#held.includes(head);
    this.#ring.walk(head, this.#chain);
    assert(isHeld, `read chain ${head}, which is not in flight`);
    this.#expectWritten(before, []);
    this.#checkChain();
  }

  #complete(which: number, length: number, before: Uint8Array[]): void {
    const head = this.#held[which % this.#held.length] ?? which;
    const isHeld = this.#held.includes(head);
    this.#ring.complete(head, length);
    assert(isHeld, `gave chain ${head} back, which is not in flight`);
    this.#held.splice(this.#held.indexOf(head), 1);
    const element = USED + 4 + 8 * (this.#completed & (this.input.size - 1));
    this.#completed = (this.#completed + 1) & 0xffff;
    assertEquals(this.#view.getUint32(element, true), head);
    assertEquals(this.#view.getUint32(element + 4, true), length);
    assertEquals(this.#view.getUint16(USED + 2, true), this.#completed);
    this.#expectWritten(before, [[GUEST + element, 8], [GUEST + USED + 2, 2]]);
  }

  #flag(which: "announce" | "enable" | "disable", before: Uint8Array[]): void {
    const event = USED + 4 + 8 * this.input.size;
    const allowed: [number, number][] = [[GUEST + USED, 2], [GUEST + event, 2]];
    try {
      if (which === "announce") this.#ring.needsInterrupt();
      else if (which === "enable") this.#ring.enableNotifications();
      else this.#ring.disableNotifications();
    } finally {
      this.#expectWritten(before, which === "announce" ? [] : allowed);
    }
  }

  /** What a chain says of itself, and that each of its segments lies inside memory. */
  #checkChain(): void {
    const { count, readableCount, readableBytes, writableBytes, address, length } = this.#chain;
    assert(count >= 1 && count <= CAPACITY && readableCount <= count, `${count} segments`);
    let [readable, writable] = [0, 0];
    for (let i = 0; i < count; i++) {
      assert(isInside(address[i]!, length[i]!), `${length[i]} bytes at ${address[i]}`);
      if (i < readableCount) readable += length[i]!;
      else writable += length[i]!;
    }
    assertEquals([readableBytes, writableBytes], [readable, writable]);
    const bytes = new Uint8Array(readable + 1);
    assertEquals(this.#chain.gather(0, bytes), readable);
  }

  /** Writes into the chain's writable part, and nowhere else. */
  #fill(before: Uint8Array[]): void {
    const { writableBytes, readableCount, count, address, length } = this.#chain;
    const bytes = new Uint8Array(writableBytes + 1).fill(0x5a);
    assertEquals(this.#chain.scatter(0, bytes), writableBytes);
    const segments = Array.from({ length: count }, (_, i) => [address[i]!, length[i]!] as const);
    this.#expectWritten(before, segments.slice(readableCount));
  }

  /** Fails when memory differs from what it was anywhere else than there. */
  #expectWritten(before: Uint8Array[], ranges: readonly (readonly [number, number])[]): void {
    this.#buffers.forEach((buffer, i) => {
      const now = new Uint8Array(buffer);
      for (let at = 0; at < now.length; at++) {
        if (now[at] === before[i]![at]) continue;
        const address = STARTS[i]! + at;
        const allowed = ranges.some(([start, n]) => address >= start && address < start + n);
        assert(allowed, `byte 0x${address.toString(16)} was written`);
      }
    });
  }
}

function isInside(address: number, length: number): boolean {
  return length > 0 &&
    STARTS.some((start, i) => address >= start && address + length <= start + REGIONS[i]!);
}

function judge(input: Input): Verdict {
  const bench = new Bench(input);
  for (const step of input.steps) bench.take(step);
  return bench.refused ? "refused" : "accepted";
}

/** See the module. */
export const DEVICE_RINGS = target("device's ring", input, judge);
