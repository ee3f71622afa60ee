// SPDX-License-Identifier: Apache-2.0
// A tap interface as a link, with a descriptor that a test plays: a real one takes CAP_NET_ADMIN.
import { assertEquals } from "@std/assert";
import { WOULD_BLOCK } from "../../../ffi/mod.ts";
import { type RawTap, TapLink } from "../../../lib/classes/net/tap_link.ts";
import { frame } from "./bench.ts";

const [EIO, EBADFD] = [-5, -77];

class FakeTap implements RawTap {
  readonly number = 3;
  readonly sent: Uint8Array[] = [];
  readonly incoming: (Uint8Array | number)[] = [];
  /** What comes of sending; 0: it is taken. */
  result = 0;
  isClosed = false;

  send(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number {
    if (this.result < 0) return this.result;
    this.sent.push(bytes.slice(at, at + length));
    return length;
  }

  receive(bytes: Uint8Array<ArrayBuffer>, at: number): number {
    const next = this.incoming.shift() ?? WOULD_BLOCK;
    if (typeof next === "number") return next;
    bytes.set(next, at);
    return next.length;
  }

  close(): void {
    this.isClosed = true;
  }
}

Deno.test("a tap interface sends and receives, and is down when it fails", () => {
  const tap = new FakeTap();
  const reports: string[] = [];
  let watches = 0;
  const link = new TapLink("tap0", tap, {
    now: () => 0,
    watch: () => (watches++, { close: () => void watches-- }) as never,
    report: ({ text }) => void reports.push(text),
  });
  const bytes = new Uint8Array(2000);
  tap.incoming.push(frame(60, 1));
  assertEquals([link.receive(bytes, 12), bytes.slice(12, 72)], [60, frame(60, 1)]);
  assertEquals(link.receive(bytes, 12), 0);
  assertEquals(link.send(frame(60, 2), 0, 60), "sent");
  tap.result = WOULD_BLOCK;
  assertEquals(link.send(frame(60, 3), 0, 60), "full");
  tap.result = EIO; // set down by the host
  assertEquals([link.send(frame(60, 4), 0, 60), link.isUp], ["lost", true]);
  tap.incoming.push(EBADFD, EBADFD);
  assertEquals([link.receive(bytes, 0), link.receive(bytes, 0), link.isUp], [0, 0, false]);
  assertEquals(reports.length, 1);
  assertEquals(reports[0]!.includes("tap interface tap0"), true);
  assertEquals(tap.sent, [frame(60, 2)]);
  link[Symbol.dispose]();
  assertEquals([watches, tap.isClosed], [0, true]);
});
