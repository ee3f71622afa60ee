// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { QUEUE_COUNTERS } from "../../lib/virtio/state.ts";
import { randomNumbers } from "../virtio/ring_fixture.ts";
import { DATA, DRIVER, ShadowBench } from "./shadow_fixture.ts";

for (const eventIdx of [false, true]) {
  const name = eventIdx ? "event indices" : "flags";
  Deno.test(`a chain goes to the back-end and back, byte for byte, ${name}`, () => {
    const bench = new ShadowBench({ eventIdx });
    const back = bench.attach();
    const segments = bench.offer("a", "hello, ", "back-end", 4, 10);
    assertEquals(bench.queue.forward(16), false);
    assert(bench.queue.takeKick());
    assert(!bench.queue.takeKick());
    const [chain] = back.take();
    assertEquals(chain, { head: chain!.head, text: "hello, back-end", writable: 14 });
    back.give(chain!.head, "driver, well");
    assert(back.ring.needsInterrupt());
    bench.queue.collect(16);
    assert(bench.queue.takeInterrupt());
    assert(!bench.queue.takeInterrupt());
    assertEquals(bench.taken(), [["a", 12]]);
    assertEquals(segments.map((segment) => bench.text(segment)), [
      "hello, ",
      "back-end",
      "driv",
      "er, well\0\0",
    ]);
    const { counters } = bench.queueState;
    const of = (counter: keyof typeof QUEUE_COUNTERS) => counters[QUEUE_COUNTERS[counter]];
    assertEquals([of("chains"), of("completions"), of("calls")], [1, 1, 1]);
    assertEquals([of("bytesOut"), of("bytesIn"), of("errors")], [15, 12, 0]);
  });
}

Deno.test("a chain without a table, one of a single segment, and both kinds after one another", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  for (const parts of [["x"], [3], ["long", 2], ["a", "b", "c", "d", 1, 1]]) {
    bench.offer("t", ...parts);
    bench.turn();
    const [chain] = back.take();
    assertEquals(chain!.text, parts.filter((part) => typeof part === "string").join(""));
    back.give(chain!.head, "!".repeat(chain!.writable));
    bench.turn();
    assertEquals(bench.taken(), [["t", chain!.writable]]);
  }
});

Deno.test("segments are placed aligned, and the driver's addresses stay its own", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  bench.offer("t", "a", "bcd", 5, 1);
  bench.turn();
  back.take();
  for (let i = 0; i < back.chain.count; i++) {
    const address = back.chain.address[i]!;
    assertEquals(address % 16, 0);
    assert(address < DRIVER);
  }
});

Deno.test("what a back-end says it wrote counts up to what there was room for", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  bench.offer("t", "r", 4);
  bench.turn();
  const [chain] = back.take();
  back.give(chain!.head, "data", 0xffffffff);
  bench.turn();
  assertEquals(bench.taken(), [["t", 4]]);
  assertEquals(bench.queueState.counters[QUEUE_COUNTERS.errors], 1);
});

Deno.test("all writable bytes are copied back, whatever length the back-end reports", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  const [segment] = bench.offer("t", 6);
  bench.bytes.set(new TextEncoder().encode("before"), segment!.address - DRIVER);
  bench.turn();
  const [chain] = back.take();
  back.give(chain!.head, "now", 0);
  bench.turn();
  assertEquals(bench.taken(), [["t", 0]]);
  assertEquals(bench.text(segment!), "nowore");
});

Deno.test("a batch is no longer than it may be, and says that there is more", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  for (let i = 0; i < 8; i++) bench.offer(`${i}`, `${i}`);
  assertEquals(bench.queue.forward(3), true);
  assertEquals(back.take().map(({ text }) => text).join(""), "012");
  assertEquals(bench.queue.forward(5), true); // all; but it did not look whether there are more
  assertEquals(bench.queue.forward(5), false);
  assertEquals(back.take().map(({ text }) => text).join(""), "34567");
  for (const head of [0, 1, 2, 3, 4, 5, 6, 7]) back.give(head);
  assertEquals(bench.queue.collect(5), true);
  assertEquals(bench.queue.collect(5), false);
  assertEquals(bench.taken().length, 8);
});

Deno.test("chains that find no room wait, in order, until others are returned", () => {
  const bench = new ShadowBench({ room: 256 });
  const back = bench.attach();
  for (let i = 0; i < 8; i++) bench.offer(`${i}`, `${i}`.repeat(60));
  assertEquals(bench.queue.forward(16), false);
  assert(bench.queue.waits);
  const seen = back.take();
  assertEquals(seen.map(({ text }) => text[0]).join(""), "0123");
  const order: string[] = seen.map(({ text }) => text[0]!);
  while (seen.length > 0) {
    back.give(seen.shift()!.head);
    bench.turn();
    const more = back.take();
    order.push(...more.map(({ text }) => text[0]!));
    seen.push(...more);
  }
  assertEquals(order.join(""), "01234567");
  assert(!bench.queue.waits);
  assertEquals(bench.taken().length, 8);
});

Deno.test("a chain that is too large for the memory is reported, once it is alone", () => {
  const bench = new ShadowBench({ room: 1024 });
  const back = bench.attach();
  bench.offer("small", "s");
  bench.offer("large", 4096);
  bench.queue.forward(16);
  assert(bench.queue.waits);
  back.give(back.take()[0]!.head);
  bench.queue.collect(16);
  assertThrows(
    () => bench.queue.forward(16),
    RingError,
    "4096 bytes are more than the memory shared",
  );
  assertEquals(bench.queue.blame, "driver");
});

Deno.test("overlapping segments may be more than all memory, and are reported", () => {
  const bench = new ShadowBench({ room: 1 << 16 });
  bench.attach();
  const segment = { address: DATA, length: 0x40000, writable: true };
  bench.driver.add(Array(16).fill(segment), "t");
  assertThrows(
    () => bench.queue.forward(16),
    RingError,
    "more than the memory shared with a back-end",
  );
});

Deno.test("a chain of more segments than a back-end without tables has descriptors is reported, once it is alone", () => {
  const bench = new ShadowBench();
  const back = bench.attach({ indirect: false });
  bench.offer("small", "s");
  bench.offer("long", ..."123456789");
  bench.queue.forward(16);
  assert(bench.queue.waits);
  back.give(back.take()[0]!.head);
  bench.queue.collect(16);
  assertThrows(
    () => bench.queue.forward(16),
    RingError,
    "9 segments are more than the 8 descriptors of a back-end without indirect tables",
  );
  assertEquals(bench.queue.blame, "driver");
});

Deno.test("a table of the driver's is taken apart for a back-end without tables, and made for one with them", () => {
  for (const tables of [0, 16]) {
    for (const indirect of [false, true]) {
      const bench = new ShadowBench({ tables });
      const back = bench.attach({ indirect, size: 16 });
      const segments = bench.offer("t", "a", "b", "c", 1, 2);
      bench.turn();
      const [chain] = back.take();
      assertEquals([chain!.text, back.chain.count], ["abc", 5]);
      assertEquals(back.chain.directCount, indirect ? 0 : 5);
      back.give(chain!.head, "xyz");
      bench.turn();
      assertEquals(bench.taken(), [["t", 3]]);
      assertEquals([bench.text(segments[3]!), bench.text(segments[4]!)], ["x", "yz"]);
    }
  }
});

Deno.test("a new back-end that has less room for what is in flight gets the first of it, and the rest as it goes", () => {
  const bench = new ShadowBench();
  bench.attach();
  for (const name of ["a", "b", "c", "d"]) bench.offer(name, name, "-", "-", 1);
  bench.queue.forward(16);
  bench.queue.detach();
  const back = bench.attach({ indirect: false });
  assertEquals(bench.queue.resubmit(), 4);
  bench.offer("e", "e", 1);
  const order = [];
  for (let chains = back.take(); chains.length > 0; chains = back.take()) {
    for (const { head, text } of chains) back.give(head, text);
    order.push(chains.map(({ text }) => text));
    bench.turn();
  }
  assertEquals(order, [["a--", "b--"], ["c--", "d--"], ["e"]]);
  assertEquals(bench.taken().map(([token]) => token), ["a", "b", "c", "d", "e"]);
});

Deno.test("a new back-end is offered what is in flight, in order, then what waits", () => {
  const bench = new ShadowBench();
  const first = bench.attach();
  for (const name of ["a", "b", "c", "d"]) bench.offer(name, name, 1);
  bench.queue.forward(3);
  const seen = first.take();
  first.give(seen[1]!.head, "B");
  bench.queue.collect(16);
  bench.queue.detach();
  for (let life = 0; life < 3; life++) {
    const back = bench.attach();
    assertEquals(bench.queue.resubmit(), 2);
    assertEquals(back.take().map(({ text }) => text), ["a", "c"]);
    bench.queue.detach();
  }
  const last = bench.attach();
  bench.queue.resubmit();
  bench.queue.forward(16);
  const all = last.take();
  assertEquals(all.map(({ text }) => text), ["a", "c", "d"]);
  for (const { head, text } of all.reverse()) last.give(head, text.toUpperCase());
  bench.turn();
  assertEquals(bench.taken().map(([token]) => token), ["b", "d", "c", "a"]);
});

Deno.test("a successor takes the ring up where the last process left it, also between two steps", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  for (const name of ["a", "b", "c"]) bench.offer(name, name, 1);
  bench.queue.forward(16);
  for (const { head, text } of back.take().slice(0, 2)) back.give(head, text.toUpperCase());
  const marks = bench.marks.slice();
  bench.queue.collect(16);
  // As if it died after it gave the second back, and before it noted that.
  const second = marks.findIndex((mark, head) =>
    mark !== 0 && bench.marks[head] === 0 && (mark & 0x7fffffff) === 1
  );
  bench.marks[second] = marks[second]!;
  bench.open();
  const successor = bench.attach();
  assertEquals(bench.queue.resubmit(), 1);
  const [chain] = successor.take();
  assertEquals(chain!.text, "c");
  successor.give(chain!.head, "C");
  bench.turn();
  assertEquals(bench.taken().map(([token]) => token), ["a", "b", "c"]);
});

Deno.test("chains in flight that the ring knows nothing of, or too few of them, are refused", () => {
  for (const [taken, expected] of [[3, 1], [0, 1], [2, 0]] as const) {
    const bench = new ShadowBench();
    bench.attach();
    for (const name of ["a", "b", "c"]) bench.offer(name, name, 1);
    bench.queue.forward(expected);
    const mark = 0x80000100; // of no chain that there is
    if (taken === 0) bench.marks.fill(0);
    for (let head = 0, extra = taken - expected; extra > 0; head++) {
      if (bench.marks[head] === 0 && extra-- > 0) bench.marks[head] = mark + head;
    }
    assertThrows(
      () => bench.open(),
      RingError,
      `${taken} chains are in flight, expected ${expected} between available entry ${expected}`,
    );
  }
});

/** What a back-end can do to its ring. */
const LIES: Record<string, { lie: (bench: ShadowBench) => void; text: string }> = {
  "gives back what it has not": {
    lie: (bench) => {
      const back = bench.attach();
      bench.offer("t", "t");
      bench.queue.forward(16);
      const used = back.layout.used - 0x1_0000;
      new DataView(back.bytes.buffer).setUint32(used + 4, 5, true);
      new DataView(back.bytes.buffer).setUint16(used + 2, 1, true);
    },
    text: "has id 5, expected one of the 1 in flight",
  },
  "is ahead": {
    lie: (bench) => {
      const back = bench.attach();
      new DataView(back.bytes.buffer).setUint16(back.layout.used - 0x1_0000 + 2, 7, true);
    },
    text: "the used idx is 7, expected at most 0 ahead of 0",
  },
};

for (const [name, { lie, text }] of Object.entries(LIES)) {
  Deno.test(`a back-end that ${name} is to blame, by name`, () => {
    const bench = new ShadowBench();
    lie(bench);
    const error = assertThrows(() => bench.queue.collect(16), RingError, text);
    assertEquals(bench.queue.blame, "back-end");
    assert(error.message.includes("the back-end of card0"), error.message);
  });
}

Deno.test("a driver that rewrites a chain in flight harms only itself", () => {
  const bench = new ShadowBench();
  const back = bench.attach();
  bench.offer("t", 8);
  bench.offer("u", "beside");
  bench.queue.forward(16);
  const [chain] = back.take();
  const at = bench.layout.desc - DRIVER + 16 * chain!.head;
  new DataView(bench.bytes.buffer).setUint32(at + 8, 0x1000, true); // longer than it was
  back.give(chain!.head, "12345678");
  const error = assertThrows(() => bench.queue.collect(16), RingError);
  assert(error.message.includes("changed in flight"), error.message);
  assertEquals(bench.queue.blame, "driver");
});

Deno.test("a queue that was reset is not current, and its successor begins anew", () => {
  const bench = new ShadowBench();
  bench.attach();
  bench.offer("t", "t");
  bench.queue.forward(16);
  assert(bench.queue.current);
  bench.setUp.reset();
  assert(!bench.queue.current);
  bench.setUp.setWord(1, 8);
  bench.setUp.makeReady();
  assert(!bench.queue.current);
  bench.bytes.fill(0, 0, 0x1000);
  bench.open();
  assertEquals(bench.queueState.headsInFlight(), []);
});

Deno.test("thousands of chains of all shapes, through back-ends that come and go, each once and whole", () => {
  for (const eventIdx of [false, true]) {
    const bench = new ShadowBench({ size: 16, room: 4096, eventIdx });
    const random = randomNumbers(0x1e5);
    let back = bench.attach();
    let held: { head: number; text: string; writable: number }[] = [];
    const out = new Map<string, string>();
    const offered: string[] = [];
    const returned: string[] = [];
    for (let i = 0; returned.length < 3000; i++) {
      if (offered.length < 3000 && random(3) > 0 && offered.length - returned.length < 5) {
        const name = `${offered.length}`.padStart(5, "0");
        const parts = [
          name,
          ...Array.from({ length: random(3) }, () => "x".repeat(1 + random(99))),
        ];
        bench.offer(name, ...parts, 5);
        out.set(name, parts.join(""));
        offered.push(name);
        if (offered.length % 50 === 0) bench.rewind();
      }
      held.push(...back.take());
      if (held.length > 0 && random(2) === 0) {
        const [chain] = held.splice(random(held.length), 1);
        const name = chain!.text.slice(0, 5);
        assertEquals(chain!.text, out.get(name));
        back.give(chain!.head, name);
      }
      bench.turn(1 + random(4));
      for (const [token, length] of bench.taken()) {
        assertEquals(length, 5);
        returned.push(token);
      }
      if (random(100) === 0) {
        bench.queue.collect(16);
        bench.queue.detach();
        back = bench.attach();
        held = [];
        bench.queue.resubmit();
      }
    }
    assertEquals(returned.toSorted(), offered);
    assertEquals(bench.queueState.headsInFlight(), []);
  }
});
