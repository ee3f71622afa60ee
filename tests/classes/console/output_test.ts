// SPDX-License-Identifier: Apache-2.0
// A console's output, whose driver cannot wait for long.
import { assertEquals } from "@std/assert";
import { HOLD_NS, KEPT_BYTES } from "../../../lib/classes/console/transmitter.ts";
import { ready } from "./bench.ts";

/** Milliseconds that a console holds its driver. */
const HOLD_MS = HOLD_NS / 1e6;

/** A console whose program does not read. */
function unread(): ReturnType<typeof ready> {
  const bench = ready();
  bench.end("c").isWaiting = true;
  bench.turn();
  bench.end("c").room = 0;
  return bench;
}

Deno.test("a console's chain comes back when it was written, not before", () => {
  using bench = unread();
  const tokens = [bench.send(0, [1, 2, 3]), bench.send(0, [4])];
  bench.end("c").room = 2;
  bench.turn();
  bench.bench.clock.pass(HOLD_MS - 1);
  assertEquals([bench.sent(0), bench.end("c").shown], [[], [1, 2]]);
  bench.end("c").room = Infinity;
  bench.turn();
  assertEquals([bench.sent(0), bench.end("c").shown], [tokens, [1, 2, 3, 4]]);
  assertEquals(bench.reported("dropped"), []);
});

Deno.test("a console's output is dropped when nobody reads it for a while, and told: its driver cannot wait", () => {
  using bench = unread();
  const [end, { clock }] = [bench.end("c"), bench.bench];
  const first = bench.send(0, [1, 2, 3]);
  clock.pass(HOLD_MS - 1);
  assertEquals(bench.sent(0), []);
  clock.pass(1);
  assertEquals(bench.sent(0), [first]);
  const tokens = [bench.send(0, [4, 5]), bench.send(0, [6])];
  assertEquals(bench.sent(0), tokens, "it is not held again before there was room");
  assertEquals(bench.reported("dropped"), [
    "Port 0 drops output: the program at the other end does not read",
  ]);
  end.room = Infinity;
  bench.send(0, [7]);
  assertEquals(end.shown, [7]);
  assertEquals(bench.reported("dropped").at(-1), "Port 0: 6 bytes of output dropped until now");
  end.room = 0;
  bench.sent(0);
  bench.send(0, [8]);
  clock.pass(HOLD_MS - 1);
  assertEquals(bench.sent(0), [], "the next time it is held again");
});

Deno.test("a large chain of a console has the time that it takes to read it, but not to read it byte by byte", () => {
  for (const [bytesEach, isDropped] of [[4096, false], [1, true]] as const) {
    using bench = unread();
    const [end, { clock }] = [bench.end("c"), bench.bench];
    bench.send(0, new Array(8 * bytesEach).fill(1));
    for (let i = 0; i < 8; i++) {
      clock.pass(HOLD_MS / 4);
      end.room = bytesEach;
      bench.turn();
    }
    assertEquals(bench.reported("dropped").length > 0, isDropped);
    assertEquals(bench.sent(0).length, 1);
  }
});

Deno.test("a console that another device serves next keeps nothing that it has acknowledged", () => {
  using bench = unread();
  bench.send(0, [1, 2, 3]);
  bench.end("c").room = 1;
  bench.turn();
  bench.bench.device.stopRing(1, true);
  assertEquals([bench.sent(0), bench.end("c").shown], [[], [1]]);
  assertEquals(bench.reported("dropped"), []);
});

Deno.test("emergency writes are kept for a program that does not read, up to a bound, and come first", () => {
  using bench = unread();
  const { device, clock } = bench.bench;
  for (let i = 0; i < KEPT_BYTES + 2; i++) device.writeConfig(8, Uint8Array.of(i & 0x7f));
  const token = bench.send(0, [0xff]);
  clock.pass(HOLD_MS);
  assertEquals(bench.sent(0), [token]);
  bench.end("c").room = Infinity;
  bench.turn();
  assertEquals(bench.end("c").shown.length, KEPT_BYTES);
  assertEquals(bench.reported("dropped").at(-1), "Port 0: 3 bytes of output dropped until now");
});

Deno.test("a chain that was written in part is written on when it is offered again, and no other is", () => {
  const rows: [again: number[], isLeft: boolean, shown: number[]][] = [
    [[1, 2, 3], false, [1, 2, 3]],
    [[1, 2, 4], false, [1, 1, 2, 4]],
    [[1, 2, 3, 4], false, [1, 1, 2, 3, 4]],
    [[1, 2, 3], true, [1, 1, 2, 3]], // another program gets all of it
  ];
  for (const [again, isLeft, shown] of rows) {
    using bench = ready();
    const end = bench.end("a");
    end.isWaiting = true;
    bench.turn();
    end.room = 1;
    bench.send(1, [1, 2, 3]);
    for (let i = 0; i < 2; i++) bench.bench.device.stopRing(5, true); // also without having begun it again
    end.room = Infinity;
    if (isLeft) {
      end.leave();
      bench.turn();
      end.isWaiting = true;
      bench.turn();
    }
    bench.wiring.start();
    const tokens = [bench.send(1, again), bench.send(1, [1, 2, 3])];
    assertEquals([bench.sent(1), end.shown], [tokens, [...shown, 1, 2, 3]]);
  }
});

Deno.test("the next program gets no end of a chain that was begun for the last, on a port that the driver has closed", () => {
  using bench = ready();
  const end = bench.end("a");
  end.isWaiting = true;
  bench.turn();
  end.room = 1;
  const token = bench.send(1, [1, 2, 3]);
  end.typed = [9]; // it is not read: the port is not open to the driver
  end.leave();
  end.isWaiting = true;
  bench.turn();
  end.room = Infinity;
  bench.turn();
  assertEquals([bench.sent(1), end.shown, end.isOpen], [[token], [1], true]);
});
