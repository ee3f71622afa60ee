// SPDX-License-Identifier: Apache-2.0
/**
 * The driver's side of a ring whose device writes what it likes into the used ring. Each buffer comes back at most once,
 * with no more bytes than it has room for, and the descriptors that are free agree with those that are out.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RingError } from "../../../lib/virtio/error.ts";
import { GuestMemory } from "../../../lib/virtio/memory.ts";
import { DriverQueue, DriverRing, usedBytes } from "../../../lib/virtio/split_ring.ts";
import { ANY_U32, anyBytes, expectError, mostly, target, type Verdict } from "../target.ts";

type Step =
  | { do: "add"; readable: number[]; writable: number[] }
  | { do: "take" | "kick" | "enable" | "disable" }
  /** The device gives something back. `which`: of those in flight; null: any id. */
  | { do: "use"; which: number | null; id: number; length: number; skip: number }
  | { do: "noise"; at: number; bytes: Uint8Array };

interface Input {
  size: number;
  tables: boolean;
  eventIdx: boolean;
  start: number;
  steps: Step[];
}

const GUEST = 0x1_4000_0000;
/** In memory: table, available ring, used ring, indirect tables, buffers. */
const [AVAIL, USED, TABLES, DATA, BYTES] = [0x100, 0x200, 0x400, 0x1000, 0x2000];
const TABLE_ENTRIES = 4;

const lengths = fc.array(fc.integer({ min: 1, max: 64 }), { maxLength: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      readable: lengths,
      writable: lengths,
    }).filter(({ readable, writable }) => readable.length + writable.length > 0),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ do: "take" }) },
  fc.constantFrom<Step>({ do: "kick" }, { do: "enable" }, { do: "disable" }),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("use" as const),
      which: mostly<number | null>(fc.nat({ max: 10 }), fc.constant(null), 20),
      id: ANY_U32,
      length: mostly(fc.nat({ max: 64 }), ANY_U32),
      skip: mostly(fc.constant(0), fc.nat({ max: 0xffff }), 40),
    }),
  },
  fc.record({
    do: fc.constant("noise" as const),
    at: fc.nat({ max: DATA - 24 }),
    bytes: anyBytes(24),
  }),
);

const input: fc.Arbitrary<Input> = fc.record({
  size: fc.constantFrom(1, 2, 8, 16),
  tables: fc.boolean(),
  eventIdx: fc.boolean(),
  start: fc.constantFrom(0, 0xfffd),
  steps: fc.array(step, { maxLength: 60, size: "max" }),
});

/** A buffer that was added: its head, what it took and what it has room for. */
interface Token {
  head: number;
  descriptors: number;
  room: number;
}

/** A queue under test with its hostile device, and what must hold of it. */
class Bench {
  readonly #buffer = new ArrayBuffer(BYTES);
  readonly #bytes = new Uint8Array(this.#buffer);
  readonly #view = new DataView(this.#buffer);
  readonly #queue: DriverQueue<Token>;
  readonly #out = new Set<Token>();
  #usedIdx: number;
  /** An error was found: the queue is of no further use. */
  refused = false;

  constructor(readonly input: Input) {
    const { size, eventIdx, start, tables } = input;
    const memory = new GuestMemory([{ guest: GUEST, buffer: this.#buffer }]);
    const layout = { index: 0, size, desc: GUEST, avail: GUEST + AVAIL, used: GUEST + USED };
    const ring = new DriverRing(
      memory,
      layout,
      { indirect: tables, eventIdx, deviceName: "card0" },
      start,
    );
    const indirect = { memory, address: GUEST + TABLES, entries: TABLE_ENTRIES };
    this.#queue = new DriverQueue(ring, tables ? indirect : undefined);
    this.#usedIdx = start;
  }

  take(step: Step): void {
    if (step.do === "noise") return this.#noise(step.at, step.bytes);
    if (step.do === "use") return this.#use(step);
    const before = this.#bytes.slice();
    try {
      this.#drive(step);
    } catch (error) {
      expectError(error, RingError);
      this.refused = true;
    }
    this.#check(before);
  }

  /** Anywhere but in the buffers' own bytes, which nobody looks at here. */
  #noise(at: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, at);
  }

  #use({ which, id, length, skip }: Step & { do: "use" }): void {
    const tokens = [...this.#out];
    const head = which === null ? id : tokens[which % tokens.length]?.head ?? id;
    const element = USED + 4 + 8 * (this.#usedIdx & (this.input.size - 1));
    this.#view.setUint32(element, head, true);
    this.#view.setUint32(element + 4, length, true);
    this.#usedIdx = (this.#usedIdx + 1 + skip) & 0xffff;
    this.#view.setUint16(USED + 2, this.#usedIdx, true);
  }

  #drive(step: Exclude<Step, { do: "noise" | "use" }>): void {
    if (step.do === "add") this.#add(step.readable, step.writable);
    else if (step.do === "take") this.#takeBack();
    else if (step.do === "kick") this.#queue.ring.needsKick();
    else if (step.do === "enable") this.#queue.ring.enableInterrupts();
    else this.#queue.ring.disableInterrupts();
  }

  #add(readable: number[], writable: number[]): void {
    const count = readable.length + writable.length;
    const inTable = this.input.tables && count > 1 && count <= TABLE_ENTRIES;
    if (!inTable && count > this.input.size) return;
    const descriptors = inTable ? 1 : count;
    const room = writable.reduce((sum, length) => sum + length, 0);
    const token: Token = { head: 0, descriptors, room };
    let address = GUEST + DATA;
    const segments = [...readable, ...writable].map((length, i) => {
      address += length;
      return { address: address - length, length, writable: i >= readable.length };
    });
    const entry = this.#queue.ring.nextAvail & (this.input.size - 1);
    const fits = descriptors <= this.#queue.freeCount;
    assertEquals(this.#queue.add(segments, token), fits, "expected room for it");
    if (!fits) return;
    token.head = this.#view.getUint16(AVAIL + 4 + 2 * entry, true);
    const isTaken = [...this.#out].some(({ head }) => head === token.head);
    assert(token.head < this.input.size && !isTaken, `head ${token.head} is used twice`);
    this.#out.add(token);
  }

  #takeBack(): void {
    const free = this.#queue.freeCount;
    try {
      const taken = this.#queue.take();
      if (taken === null) return;
      const { token, length } = taken;
      assert(this.#out.delete(token), "a buffer came back that is not out");
      assert(length <= token.room, `${length} bytes came back in ${token.room}`);
    } catch (error) {
      expectError(error, RingError);
      this.refused = true;
      // One that came back with too many bytes is not out any more.
      const [gone] = [...this.#out].filter(({ descriptors }) =>
        this.#queue.freeCount === free + descriptors
      );
      if (gone !== undefined && this.#queue.freeCount > free) this.#out.delete(gone);
    }
  }

  #check(before: Uint8Array): void {
    const used = [...this.#out].reduce((sum, { descriptors }) => sum + descriptors, 0);
    assertEquals(this.#queue.freeCount + used, this.input.size, "descriptors free and out");
    assertEquals(this.#queue.ring.pending, this.#out.size, "chains out");
    const mine = (at: number): boolean => at < USED || (at >= TABLES && at < DATA);
    const foreign = this.#bytes.findIndex((byte, at) => byte !== before[at] && !mine(at));
    assertEquals(foreign, -1, "the first byte written that is the device's");
  }
}

function judge(input: Input): Verdict {
  assert(USED + usedBytes(input.size) <= TABLES);
  const bench = new Bench(input);
  for (const step of input.steps) {
    if (bench.refused) break;
    bench.take(step);
  }
  return bench.refused ? "refused" : "accepted";
}

/** See the module. */
export const DRIVER_RINGS = target("driver's ring", input, judge);
