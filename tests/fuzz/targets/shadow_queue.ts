// SPDX-License-Identifier: Apache-2.0
/**
 * A shadow queue between an honest driver and back-ends that are not, and between a driver that is not and an honest
 * back-end. The honest driver gets each chain back once and whole, whatever back-ends did meanwhile; whoever breaks a rule
 * is the one who is blamed; and the record of chains in flight stays one that a successor takes up.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { RingError } from "../../../lib/virtio/error.ts";
import { type BackEnd, DATA, DRIVER, ShadowBench } from "../../bridge/shadow_fixture.ts";
import { ANY_U32, anyBytes, expectError, mostly, target, type Verdict } from "../target.ts";

/** Bytes that the hostile side writes into a part of what is its own. */
interface Noise {
  part: "desc" | "avail" | "used" | "anywhere";
  at: number;
  bytes: Uint8Array;
}

type Step =
  | { do: "offer"; readable: number; writable: number }
  | { do: "turn"; batch: number }
  | { do: "take" }
  /** The back-end gives back what it holds; says that it wrote so many bytes. */
  | { do: "give"; which: number; length: number }
  /** Another back-end takes over, of its own kind. */
  | { do: "change"; size: number; indirect: boolean; eventIdx: boolean }
  /** Another process takes over. */
  | { do: "restore" }
  | ({ do: "noise" } & Noise);

interface Input {
  size: number;
  tables: number;
  eventIdx: boolean;
  start: number;
  steps: Step[];
}

const ROOM = 0x1000;
/** Bytes of the driver's memory that are looked at: rings, tables and the first of its buffers. */
const LOOKED_AT = 0xc000;

/** Numbers as they stand in rings. */
const words = fc.array(mostly(fc.nat({ max: 9 }), ANY_U32), { minLength: 1, maxLength: 4 });
const ringNoise = fc.tuple(words, fc.constantFrom(Uint16Array, Uint32Array))
  .map(([all, Words]) => new Uint8Array(Words.from(all).buffer));

/** One step of a run. @param noise What the hostile side writes */
function stepsWith(noise: fc.Arbitrary<Noise>): fc.Arbitrary<Step> {
  return fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("offer" as const),
        readable: fc.nat({ max: 3 }),
        writable: fc.integer({ min: 1, max: 40 }),
      }),
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("turn" as const),
        batch: fc.integer({ min: 1, max: 8 }),
      }),
    },
    { weight: 4, arbitrary: fc.constant<Step>({ do: "take" }) },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("give" as const),
        which: fc.nat({ max: 10 }),
        length: mostly(fc.nat({ max: 50 }), ANY_U32),
      }),
    },
    fc.record({
      do: fc.constant("change" as const),
      size: fc.constantFrom(8, 16, 64),
      indirect: fc.boolean(),
      eventIdx: fc.boolean(),
    }),
    fc.constant<Step>({ do: "restore" }),
    {
      weight: 2,
      arbitrary: noise.map((one): Step => ({ do: "noise", ...one })),
    },
  );
}

/** @param ring The ring that the hostile side writes @param most Where else noise goes: up to so many bytes from the rings on */
function inputs(ring: "avail" | "used", most: number): fc.Arbitrary<Input> {
  const noise: fc.Arbitrary<Noise> = fc.oneof(
    fc.record({
      part: fc.constantFrom(ring, ring, "desc" as const),
      at: fc.constantFrom(0, 2, 2, 4, 8, 12, 16, 20),
      bytes: ringNoise,
    }),
    fc.record({
      part: fc.constant("anywhere" as const),
      at: fc.nat({ max: most }),
      bytes: anyBytes(16),
    }),
  );
  return fc.record({
    size: fc.constantFrom(4, 8),
    tables: fc.constantFrom(0, 8),
    eventIdx: fc.boolean(),
    start: fc.constantFrom(0, 1000),
    steps: fc.array(stepsWith(noise), { maxLength: 50, size: "max" }),
  });
}

/** What goes wrong here may only be one side's fault. */
type Side = "driver" | "back-end";

/** A queue and its two sides, one of which is hostile. */
class Run {
  readonly #bench: ShadowBench;
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #writable: { start: number; end: number }[] = [];
  /** By token: what the back-end reads of it, and room for its answer. */
  readonly #offered = new Map<string, { text: string; room: number }>();
  #back: BackEnd;
  #held: { head: number; text: string }[] = [];
  #next = 0;
  refused = false;
  /** The driver's ring was refused: it is not looked at again until a reset. */
  over = false;

  constructor(readonly hostile: Side, { size, tables, eventIdx, start }: Input) {
    this.#bench = new ShadowBench({ size, tables, eventIdx, start, room: ROOM });
    this.#memory = this.#bench.bytes.slice(0, LOOKED_AT);
    this.#back = this.#bench.attach();
  }

  take(step: Step): void {
    if (step.do === "offer") this.#offer(step.readable, step.writable);
    else if (step.do === "turn") this.#turn(step.batch);
    else if (step.do === "take") this.#takeOn();
    else if (step.do === "give") this.#give(step.which, step.length);
    else if (step.do === "noise") this.#scribble(step);
    else this.#takeOver(step);
    this.#check();
  }

  /** Ends with an honest back-end: all that the driver offered comes back, and its memory is what it should be. */
  finish(): void {
    if (this.hostile === "driver") return;
    this.#takeOver({ do: "restore" });
    for (let i = 0; i < 50 && this.#offered.size > 0; i++) {
      this.#bench.turn();
      for (const { head, text } of this.#back.take()) {
        const isKnown = [...this.#offered.values()].some((chain) => chain.text === text);
        assert(isKnown, `a chain arrived as "${text}"`);
        this.#back.give(head, "ok", 2);
      }
      this.#collect();
    }
    assertEquals([...this.#offered.keys()], [], "expected every chain back");
    this.#checkMemory();
  }

  #offer(readable: number, writable: number): void {
    const token = `${this.#next++}`;
    const parts = Array.from({ length: readable }, (_, i) => i === 0 ? token : ".".repeat(i));
    if (this.#bench.driver.freeCount < readable + 1 || this.#next > 1000) return;
    const segments = this.#bench.offer(token, ...parts, writable);
    for (const { address, length, writable } of segments) {
      const start = address - DRIVER;
      if (writable) this.#writable.push({ start, end: start + length });
      else if (start + length <= LOOKED_AT) {
        this.#memory.set(this.#bench.bytes.subarray(start, start + length), start);
      }
    }
    this.#offered.set(token, { text: parts.join(""), room: writable });
  }

  #turn(batch: number): void {
    this.#attempt(() => this.#bench.turn(batch));
    this.#bench.queue.takeKick();
    if (this.hostile === "back-end") this.#collect();
  }

  /** What is refused is the hostile side's fault, and ends the back-end's life. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      expectError(error, RingError);
      assertEquals(this.#bench.queue.blame, this.hostile, (error as Error).message);
      this.refused = true;
      if (this.hostile === "back-end") this.#takeOver({ do: "change", size: 8 });
      else this.over = true;
    }
  }

  #collect(): void {
    for (const [token, length] of this.#bench.taken()) {
      const chain = this.#offered.get(token);
      if (chain === undefined) throw new Error(`Chain ${token} came back twice`);
      assert(length <= chain.room, `${length} bytes came back in ${chain.room}`);
      this.#offered.delete(token);
    }
  }

  #takeOn(): void {
    this.#backEnd(() => this.#held.push(...this.#back.take()));
  }

  #give(which: number, length: number): void {
    const [chain] = this.#held.splice(which % (this.#held.length || 1), 1);
    if (chain !== undefined) this.#backEnd(() => this.#back.give(chain.head, "done", length));
  }

  /** What a back-end does to itself is not viola's affair. */
  #backEnd(action: () => void): void {
    try {
      action();
    } catch (error) {
      expectError(error, RingError);
      assertEquals(this.hostile, "back-end", (error as Error).message);
    }
  }

  #scribble({ part, at, bytes }: Noise): void {
    const { layout } = this.hostile === "driver" ? this.#bench : this.#back;
    const target = this.hostile === "driver" ? this.#bench.bytes : this.#back.bytes;
    const start = part === "anywhere" ? at : layout[part] - layout.desc + at;
    target.set(bytes, start % (target.length - bytes.length));
  }

  #takeOver(step: { do: "restore" } | { do: "change"; size: number }): void {
    const { queue } = this.#bench;
    queue.detach();
    this.#held = [];
    const kind = step.do === "change" ? step : { size: 64 };
    const size = this.#bench.ringOptions.indirect ? kind.size : 64;
    this.#attempt(() => {
      if (step.do === "restore") this.#bench.open();
      this.#back = this.#bench.attach({ ...kind, size });
      this.#bench.queue.resubmit();
    });
  }

  #check(): void {
    const { queueState } = this.#bench;
    const heads = queueState.headsInFlight();
    assert(heads.every((head) => head < queueState.num), `in flight: ${heads}`);
    assertEquals(queueState.progressFault(), null);
  }

  /** The driver's buffers to read, and all between buffers, as the driver wrote them. */
  #checkMemory(): void {
    const mine = (at: number): boolean =>
      this.#writable.some(({ start, end }) => at >= start && at < end);
    const from = DATA - DRIVER;
    const now = this.#bench.bytes.subarray(from, LOOKED_AT);
    const foreign = now.findIndex((byte, i) => byte !== this.#memory[from + i] && !mine(from + i));
    assertEquals(foreign, -1, "the first byte written that is not to be");
  }
}

function judge(hostile: Side): (input: Input) => Verdict {
  return (input) => {
    const run = new Run(hostile, input);
    for (const step of input.steps) if (!run.over) run.take(step);
    run.finish();
    return run.refused ? "refused" : "accepted";
  };
}

/** See the module. */
export const SHADOW_BACK_ENDS = target(
  "shadow queue's back-end",
  inputs("used", 0x1000),
  judge("back-end"),
);
/** See the module. */
export const SHADOW_DRIVERS = target(
  "shadow queue's driver",
  inputs("avail", 0x9000),
  judge("driver"),
);
