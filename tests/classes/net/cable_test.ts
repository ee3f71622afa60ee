// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { UnixListener, UnixSocket, Watches } from "../../../ffi/mod.ts";
import { Cable, cablePath, RETRY_NS } from "../../../lib/classes/net/cable.ts";
import { SpecError } from "../../../lib/device/role.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { frame } from "./bench.ts";

/** A card's end of a cable, and a loop that runs when a test says so. */
class End implements Disposable {
  readonly watches = new Watches();
  readonly reports: string[] = [];
  readonly cable: Cable;
  now = 5e9;

  constructor(path: string) {
    this.cable = new Cable(path, {
      now: () => this.now,
      watch: (number, mask, onEvent) => this.watches.watch(number, mask, onEvent),
      report: ({ text }) => void this.reports.push(text),
    });
  }

  /** Does all there is to do now. */
  run(): this {
    for (let n = this.watches.epoll.wait(0); n > 0; n = this.watches.epoll.wait(0)) {
      this.watches.dispatch(n);
    }
    this.cable.tick(this.now);
    return this;
  }

  /** Lets the time pass after which it tries again. */
  retry(): this {
    this.now += RETRY_NS;
    return this.run();
  }

  send(bytes: Uint8Array<ArrayBuffer>): string {
    return this.cable.send(bytes, 0, bytes.length);
  }

  /** The frames that came since the last call. */
  take(): Uint8Array[] {
    this.run();
    const bytes = new Uint8Array(70000);
    const all: Uint8Array[] = [];
    for (let n = this.cable.receive(bytes, 3); n > 0; n = this.cable.receive(bytes, 3)) {
      all.push(bytes.slice(3, 3 + n));
    }
    return all;
  }

  [Symbol.dispose](): void {
    this.cable[Symbol.dispose]();
    this.watches.close();
  }
}

/** Runs a test with a path of its own. */
function onCable(name: string, test: (path: string) => void): void {
  Deno.test(name, () =>
    withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      test(folder.file("cable"));
    }));
}

/** Whether each end has another. */
const areUp = (...ends: End[]): boolean[] => ends.map((end) => end.run().cable.isUp);

onCable("frames go both ways, whole and in order", (path) => {
  using a = new End(path);
  assertEquals([a.run().cable.isUp, a.send(frame())], [false, "lost"]);
  using b = new End(path);
  assertEquals(areUp(a, b), [true, true]);
  const frames = [frame(14), frame(60, 1), frame(1514, 2), frame(65553, 3), frame(60, 4)];
  for (const [from, to] of [[a, b], [b, a]] as const) {
    for (const one of frames) assertEquals(from.send(one), "sent");
    assertEquals([to.take(), from.take()], [frames, []]);
  }
});

onCable("an end that does not read makes the cable full, and nothing is lost", (path) => {
  using a = new End(path);
  using b = new End(path);
  areUp(a, b);
  let count = 0;
  while (a.send(frame(1514, count & 0xff)) === "sent") count++;
  const taken = b.take();
  a.run(); // there is room again
  assertEquals(a.send(frame(60, 0xfe)), "sent");
  taken.push(...b.take());
  const numbers = taken.map((bytes) => bytes[14]!);
  assertEquals(numbers, [...Array.from({ length: count }, (_, i) => i & 0xff), 0xfe]);
});

onCable("when either end leaves, the link is down until another comes", (path) => {
  for (const first of [true, false]) {
    using a = new End(path);
    const b = new End(path);
    areUp(a, b);
    const [leaves, stays] = first ? [a, b] : [b, a];
    leaves[Symbol.dispose]();
    stays.take();
    assertEquals(stays.cable.isUp, false);
    stays.retry();
    using c = new End(path);
    assertEquals(areUp(stays, c), [true, true]);
    assertEquals(c.send(frame(60, 7)), "sent");
    assertEquals(stays.take(), [frame(60, 7)]);
    stays[Symbol.dispose]();
  }
});

onCable("a third card waits until one of the two leaves", (path) => {
  using a = new End(path);
  const b = new End(path);
  areUp(a, b);
  using c = new End(path);
  assertEquals(areUp(a, b, c), [true, true, false]);
  b[Symbol.dispose]();
  a.take();
  a.retry();
  assertEquals(areUp(a, c), [true, true]);
});

onCable("an end that sends what is no frame is left", (path) => {
  for (const bytes of [[0, 0, 0, 13], [0, 1, 0, 18], [0xff, 0xff, 0xff, 0xff]]) {
    using a = new End(path);
    using other = UnixSocket.connect(path);
    a.run();
    other.send(Uint8Array.from(bytes), 0, 4);
    assertEquals([a.take(), a.cable.isUp], [[], false]);
  }
});

onCable("a frame that comes in pieces is received when it is whole", (path) => {
  using a = new End(path);
  using other = UnixSocket.connect(path);
  const bytes = Uint8Array.of(0, 0, 0, 60, ...frame(60, 9), 0, 0);
  for (let i = 0; i < bytes.length; i++) {
    other.send(bytes, i, 1);
    assertEquals(a.take(), i === 63 ? [frame(60, 9)] : []);
  }
});

onCable("an end that is refused tries again after a second, not sooner", (path) => {
  using stranger = UnixListener.listen(path);
  using a = new End(path);
  stranger.accept()!.close();
  assertEquals([a.take(), a.cable.isUp], [[], false]);
  assertEquals(a.cable.deadline(), a.now + RETRY_NS);
  a.run();
  assertEquals(stranger.accept(), null);
  a.retry();
  stranger.accept()!.close();
});

Deno.test("a cable has a name that is a file's", () => {
  for (const name of ["", "a/b", "..", "a".repeat(33)]) {
    assertThrows(() => cablePath(name), SpecError);
  }
  assertEquals(cablePath("body").endsWith("/viola/net/body"), true);
});
