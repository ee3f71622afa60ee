// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertThrows } from "@std/assert";
import { UnixListener, UnixSocket, Watches } from "../../../ffi/mod.ts";
import { busFolder, PATIENCE_NS, SharedBus } from "../../../lib/classes/can/shared_bus.ts";
import type { CanFrame } from "../../../lib/classes/can/wire.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { frame, rtr } from "./frames.ts";

/** A controller on a bus: what it receives, and a loop that runs when a test says so. */
class Controller implements Disposable {
  readonly watches = new Watches();
  readonly received: CanFrame[] = [];
  readonly notices: string[] = [];
  readonly bus: SharedBus;
  now = 0;
  isFull = false;

  constructor(readonly folder: string) {
    const events = {
      received: (one: CanFrame) => void this.received.push(one),
      isFull: () => this.isFull,
      sent: () => {},
      failed: () => {},
      lost: () => {},
      busOff: () => {},
      report: ({ text }: { text: string }) => void this.notices.push(text),
    };
    this.bus = new SharedBus(folder, events, {
      now: () => this.now,
      watch: (number, mask, onEvent) => this.watches.watch(number, mask, onEvent),
    });
  }

  /** Does all there is to do now. */
  run(): this {
    for (let n = this.watches.epoll.wait(0); n > 0; n = this.watches.epoll.wait(0)) {
      this.watches.dispatch(n);
    }
    return this;
  }

  /** What came since the last call. */
  take(): CanFrame[] {
    return this.run().received.splice(0);
  }

  [Symbol.dispose](): void {
    this.bus[Symbol.dispose]();
    this.watches.close();
  }
}

/** Runs a test in a folder of its own. */
function onBus(name: string, test: (folder: string) => void): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      test(folder.file("bus"));
    }));
}

/** Controllers that know each other. */
function controllers(folder: string, count: number): Controller[] {
  const all = Array.from({ length: count }, () => new Controller(folder));
  for (let round = 0; round < 2; round++) for (const one of all) one.run();
  return all;
}

onBus("a frame goes to all other controllers, whoever came first", (folder) => {
  const all = controllers(folder, 3);
  const frames = [frame(1, [1]), frame(2, new Array(64).fill(7), { isFd: true }), rtr(3, 4)];
  for (const [i, one] of all.entries()) {
    for (const sent of frames) assertEquals(one.bus.send(sent), "sent");
    assertEquals(all.map((other) => other.take()), all.map((_, j) => i === j ? [] : frames));
  }
  for (const one of all) one[Symbol.dispose]();
});

onBus("ten thousand frames come in their order, none lost", (folder) => {
  const [a, b] = controllers(folder, 2);
  let next = 0;
  const got: number[] = [];
  for (let rounds = 0; got.length < 10_000 && rounds < 10_000; rounds++) {
    a!.run();
    while (next < 10_000 && a!.bus.send(frame(0, [next & 0xff, next >> 8])) === "sent") next++;
    got.push(...b!.take().map(({ data }) => data[0]! + 256 * data[1]!));
  }
  assertEquals(got, Array.from({ length: 10_000 }, (_, i) => i));
  for (const one of [a!, b!]) one[Symbol.dispose]();
});

onBus("a controller that goes is forgotten, and one that comes again is found", (folder) => {
  const [a, b] = controllers(folder, 2);
  b![Symbol.dispose]();
  assertEquals(a!.run().bus.send(frame(1)), "sent");
  assertEquals(a!.bus.send(frame(2)), "sent");
  const c = new Controller(folder);
  a!.run();
  c.run();
  a!.bus.send(frame(3));
  assertEquals(c.take(), [frame(3)]);
  c.bus.send(frame(4));
  assertEquals(a!.take(), [frame(4)]);
  a![Symbol.dispose]();
  assertEquals([...Deno.readDirSync(folder)].length, 1, "each removes its socket");
  c[Symbol.dispose]();
  assertThrows(() => Deno.statSync(folder), Deno.errors.NotFound);
});

onBus("what a controller that was killed left behind is cleared away", (folder) => {
  Deno.mkdirSync(folder);
  const left = UnixListener.listen(`${folder}/killed`);
  Deno.renameSync(`${folder}/killed`, `${folder}/left`); // so that its end does not remove it
  left.close();
  Deno.writeTextFileSync(`${folder}/file`, "not a socket");
  using one = new Controller(folder);
  assertEquals(one.bus.send(frame(1)), "sent");
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assert(!names.includes("left") && names.includes("file"));
});

onBus(
  "a controller that does not read delays the others for a limited time, then misses frames until it reads",
  (folder) => {
    const [a, b, c] = controllers(folder, 3);
    const sent: CanFrame[] = [];
    const send = () => {
      const one = frame(0, [sent.length & 0xff, sent.length >> 8]);
      const isSent = a!.bus.send(one) === "sent";
      if (isSent) sent.push(one);
      c!.run();
      return isSent;
    };
    while (send()); // until b's connection is full
    a!.now += PATIENCE_NS - 1;
    assertEquals(send(), false);
    a!.now += 1;
    const before = sent.length;
    for (let i = 0; i < 5; i++) assertEquals(send(), true);
    const silent =
      `A controller on ${folder} does not receive: frames to it are dropped until it does`;
    const again = `A controller on ${folder} receives again: 5 frames dropped meanwhile`;
    assertEquals(a!.notices, [silent]);
    assertEquals(c!.take(), sent);
    b!.take();
    a!.run(); // what was left is written
    for (let i = 1; i < 4; i++) {
      assertEquals(a!.bus.send(frame(i)), "sent");
      assertEquals(b!.take().at(-1), frame(i));
    }
    assertEquals(a!.notices, [silent, again], "it is reported once, and that it is over");
    while (send());
    a!.now += PATIENCE_NS;
    assertEquals(send(), true);
    assertEquals(a!.notices, [silent, again, silent], "and so is the next loss");
    assert(before > 100);
    for (const one of [a!, b!, c!]) one[Symbol.dispose]();
  },
);

onBus("a malformed frame ends only the connection that it came by", (folder) => {
  const [a, b] = controllers(folder, 2);
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  for (const name of names) {
    using liar = UnixSocket.connect(`${folder}/${name}`);
    a!.run();
    b!.run();
    assertEquals(liar.send(new Uint8Array(80).fill(0xff), 0, 80), 80);
    a!.run();
    b!.run();
    assertEquals(liar.receive(new Uint8Array(1), 0, 1).length, 0);
  }
  a!.bus.send(frame(1));
  assertEquals(b!.take(), [frame(1)]);
  for (const one of [a!, b!]) one[Symbol.dispose]();
});

onBus("frames are held back while there is no room for them, and none is lost", (folder) => {
  const [a, b] = controllers(folder, 2);
  b!.isFull = true;
  const sent: CanFrame[] = [];
  for (let one = frame(0); a!.bus.send(one) === "sent"; one = frame(sent.length & 0x7ff)) {
    sent.push(one);
    assertEquals(b!.take(), []);
  }
  b!.isFull = false;
  assertEquals(b!.take(), [], "until they are asked for");
  b!.bus.resume();
  const received = b!.take();
  a!.run(); // a piece of the last one was left
  assertEquals([...received, ...b!.take()], sent);
  assertEquals(a!.bus.send(frame(1)), "sent");
  assertEquals(b!.take(), [frame(1)]);
  for (const one of [a!, b!]) one[Symbol.dispose]();
});

Deno.test("the name of a bus is a valid file name", () => {
  assert(busFolder("car").endsWith("/viola/can/car"));
  for (const name of ["", ".", "..", "a/b", "/tmp", "a b", "x".repeat(33)]) {
    assertThrows(() => busFolder(name), SpecError, `Cannot use bus "${name}"`);
  }
});
