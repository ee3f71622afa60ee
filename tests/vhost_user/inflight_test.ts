// SPDX-License-Identifier: Apache-2.0
// The memory in which a back-end notes its chains in flight: literal bytes, a crash after each step, a ring over many lives.
import { assertEquals, assertThrows } from "@std/assert";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { inflightBlockBytes, inflightBytes, InflightQueue } from "../../lib/vhost_user/inflight.ts";
import { Chain, type DeviceRing } from "../../lib/virtio/split_ring.ts";
import { seeded } from "../support/random.ts";
import { DATA, RawRing } from "../virtio/ring_fixture.ts";

const SIZE = 4;

function block(hex = ""): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(inflightBlockBytes(SIZE));
  bytes.set(Uint8Array.fromHex(hex.replaceAll(/[^0-9a-f]/g, "")));
  return bytes;
}

function open(bytes: Uint8Array<ArrayBuffer>, usedIdx: number, ringSize = SIZE): InflightQueue {
  return new InflightQueue(bytes, SIZE, ringSize, usedIdx, "queue 1 of card");
}

const EMPTY = "00000000000000000000000000000000";

Deno.test("a block is a header of 16 bytes and 16 for each entry, in multiples of 64", () => {
  assertEquals([1, 2, 3, 4, 64, 1024].map(inflightBlockBytes), [64, 64, 64, 128, 1088, 16448]);
  assertEquals(inflightBytes({ queues: 4, queueSize: 64 }), 4352);
});

Deno.test("a block of zeros is initialised; chains are noted as they are taken and returned", () => {
  const bytes = block();
  const queue = open(bytes, 0x1234);
  assertEquals(queue.heads, []);
  // u64 features, u16 version, u16 entries, u16 last head, u16 used index
  const header = "0000000000000000" + "0100" + "0400" + "0000" + "3412";
  assertEquals(bytes.toHex(), header + EMPTY.repeat(7));
  queue.taken(2);
  queue.taken(0);
  // u8 flag, 5 bytes, u16 next, u64 counter
  assertEquals(bytes.slice(16, 32).toHex(), "0100000000000000" + "0100000000000000");
  assertEquals(bytes.slice(48, 64).toHex(), "0100000000000000" + "0000000000000000");
  queue.completing(0);
  queue.completed(0, 0x1235);
  queue.completing(2);
  assertEquals(bytes.slice(0, 16).toHex(), "0000000000000000" + "0100" + "0400" + "0200" + "3512");
  assertEquals(bytes.slice(16, 32).toHex(), "0000000000000000" + "0100000000000000");
  queue.completed(2, 0x1236);
  assertEquals(bytes.slice(0, 16).toHex(), "0000000000000000" + "0100" + "0400" + "0200" + "3612");
  assertEquals(bytes.slice(48, 64).toHex(), "0000000000000000" + "0000000000000000");
});

Deno.test("chains in flight are found in the order in which they were taken, and counted on", () => {
  const bytes = block(
    "0000000000000000 0100 0400 0000 0500" +
      "0100000000000000 0900000000000000" +
      "0000000000000000 ffffffffffffffff" + // was given back: its counter means nothing
      "0100000000000000 ffffffff01000000" +
      "0100000000000000 0200000000000000",
  );
  const queue = open(bytes, 5);
  assertEquals(queue.heads, [3, 0, 2]);
  queue.taken(1);
  assertEquals(bytes.slice(32, 48).toHex(), "0100000000000000" + "0000000002000000");
});

Deno.test("a batch that was published but not noted is found by its links", () => {
  // Heads 1, 3 and 0 were given back in this order, from used index 65534 on; 2 is in flight still.
  const bytes = block(
    "0000000000000000 0100 0400 0000 feff" +
      "0100000000000300 0000000000000000" +
      "0100000000000200 0100000000000000" +
      "0100000000000000 0200000000000000" +
      "0100000000000100 0300000000000000",
  );
  assertEquals(open(bytes, 1).heads, [2]);
  assertEquals(bytes.slice(14, 16).toHex(), "0100");
});

Deno.test("in-flight memory that is malformed is refused with a reason", () => {
  const entries = `${EMPTY}${EMPTY}${EMPTY}${EMPTY}`;
  const header = "0000000000000000";
  const cases: [text: string, hex: string, ringSize?: number][] = [
    ["its version is 2, expected 1", header + "0200 0400 0000 0000" + entries],
    ["it has 5 entries, expected 4", header + "0100 0500 0000 0000" + entries],
    ["its used index is 5, the ring's 0", header + "0100 0400 0000 0500" + entries],
    ["head 4 was given back, expected one below 4", header + "0100 0400 0400 ffff" + entries],
    ["head 0 has flag 2", header + "0100 0400 0000 0000" + "02" + entries.slice(2)],
    [
      "head 3 is in flight, expected below 2",
      header + "0100 0400 0000 0000" + EMPTY + EMPTY + EMPTY + "01" + EMPTY.slice(2),
      2,
    ],
    [
      "a counter is 18446744073709551615",
      header + "0100 0400 0000 0000" + "0100000000000000ffffffffffffffff",
    ],
  ];
  for (const [text, hex, ringSize] of cases) {
    const error = assertThrows(() => open(block(hex), 0, ringSize), VhostUserError, text);
    assertEquals(
      error.message.startsWith("Cannot use the in-flight memory of queue 1 of card: "),
      true,
    );
  }
});

// ---- a ring over the lives of many back-ends ----

/** A device's side of a ring that notes what it does. */
function serve(raw: RawRing, bytes: Uint8Array<ArrayBuffer>): DeviceRing {
  return raw.device({ openLog: (usedIdx) => open(bytes, usedIdx) });
}

function popAll(ring: DeviceRing): number[] {
  const chain = new Chain();
  const heads: number[] = [];
  while (ring.pop(chain)) heads.push(chain.head);
  return heads;
}

/** A ring whose descriptors are chains of one. */
function rawRing(): RawRing {
  const raw = new RawRing(SIZE);
  for (let i = 0; i < SIZE; i++) raw.desc(i, DATA + i, 1, 0, 0);
  return raw;
}

Deno.test("B4: returned out of order, then a crash: chains in flight are served again, once", () => {
  const [raw, bytes] = [rawRing(), block()];
  raw.offer(0, 0, 1, 2);
  const first = serve(raw, bytes);
  assertEquals(popAll(first), [0, 1, 2]);
  first.complete(1, 1);
  raw.offer(3, 3);
  const second = serve(raw, bytes);
  assertEquals([second.nextAvail, second.usedIdx, second.pending], [3, 1, 2]);
  assertEquals(popAll(second), [0, 2, 3]);
  for (const head of [3, 0, 2]) second.complete(head, 1);
  assertEquals([second.usedIdx, second.pending], [4, 0]);
  assertEquals(popAll(serve(raw, bytes)), []);
});

Deno.test("whenever back-ends crash, each chain is returned once, the older ones first", () => {
  const draws = seeded();
  for (let run = 0; run < 50; run++) {
    const [raw, bytes] = [rawRing(), block()];
    const free = [0, 1, 2, 3];
    const driven: number[] = []; // as the driver sees it: offered and not given back, the oldest first
    let [offered, seen] = [0, 0];
    let ring = serve(raw, bytes);
    let held: number[] = [];
    for (let i = 0; i < 200; i++) {
      const draw = draws.integer(5);
      if (draw <= 1 && free.length > 0) {
        const head = free.splice(draws.integer(free.length), 1)[0]!;
        raw.offer(offered++, head);
        driven.push(head);
      } else if (draw === 2) held.push(...popAll(ring));
      else if (draw === 3 && held.length > 0) {
        ring.complete(held.splice(draws.integer(held.length), 1)[0]!, 1);
        const head = raw.usedRing(seen++ % SIZE)[0];
        assertEquals(driven.includes(head), true, `head ${head} was given back twice`);
        driven.splice(driven.indexOf(head), 1);
        free.push(head);
      } else if (draw === 4) {
        const order = held.toSorted((a, b) => driven.indexOf(a) - driven.indexOf(b));
        ring = serve(raw, bytes);
        held = popAll(ring);
        assertEquals(held.slice(0, order.length), order);
        assertEquals(held, driven);
      }
    }
  }
});

/** A block whose process dies at its n-th step. */
class Dying extends InflightQueue {
  left = Infinity;
  override taken(head: number): void {
    this.#step();
    super.taken(head);
  }
  override completing(head: number): void {
    this.#step();
    super.completing(head);
  }
  override completed(head: number, usedIdx: number): void {
    this.#step();
    super.completed(head, usedIdx);
  }
  #step(): void {
    if (this.left-- <= 0) throw new Error("it died");
  }
}

Deno.test("a crash between any two steps loses no chain and repeats none that was returned", () => {
  for (let steps = 0; steps < 10; steps++) {
    const [raw, bytes] = [rawRing(), block()];
    let log: Dying | undefined;
    const ring = raw.device({
      openLog: (usedIdx) => log = new Dying(bytes, SIZE, SIZE, usedIdx, "it"),
    });
    log!.left = steps;
    raw.offer(0, 0, 1, 2);
    try {
      const heads = popAll(ring);
      for (const head of [heads[1]!, heads[0]!]) ring.complete(head, 1);
    } catch (error) {
      assertEquals((error as Error).message, "it died");
    }
    const next = serve(raw, bytes);
    const given = Array.from({ length: next.usedIdx }, (_, i) => raw.usedRing(i)[0]);
    assertEquals([...given, ...popAll(next)].toSorted(), [0, 1, 2], `after ${steps} steps`);
  }
});
