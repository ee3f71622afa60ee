// SPDX-License-Identifier: Apache-2.0
/**
 * What a network card reads of others: frames of its driver, and what comes by a cable. Whatever comes, only frames that a link
 * may carry go on, and they go on as they are.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { UnixSocket } from "../../../ffi/mod.ts";
import { Connection } from "../../../lib/classes/net/cable.ts";
import { formatMac, isFrame, parseMac } from "../../../lib/classes/net/wire.ts";
import { frame, NetBench } from "../../classes/net/bench.ts";
import { ANY_U32, anyBytes, mostly, target } from "../target.ts";

/** Bytes of frames: usual ones, and those at the edges of what an MTU of 100 allows. */
const lengths = mostly(fc.constantFrom(14, 60, 114, 118), fc.nat({ max: 200 }));

const sending = fc.record({
  header: mostly(fc.constant(new Uint8Array(12)), anyBytes(12)),
  length: lengths,
  isTagged: fc.boolean(),
  cut: mostly(fc.constant(0), fc.nat({ max: 20 })),
  room: mostly(fc.constant(0), fc.nat({ max: 9 })),
});

/** Frames of a driver. */
export const NET_FRAMES = target(
  "frames of a network card's driver",
  fc.array(sending, { minLength: 1, maxLength: 20 }),
  (all) => {
    using bench = new NetBench({ mtu: 100 });
    const expected: number[][] = [];
    for (const { header, length, isTagged, cut, room } of all) {
      const bytes = frame(length);
      if (isTagged && length > 13) bytes.set([0x81, 0], 12);
      const head = new Uint8Array(12);
      head.set(header);
      const pieces = [head, bytes.subarray(0, Math.max(length - cut, 0))];
      bench.sendPieces(pieces.filter((piece) => piece.length > 0), room === 0 ? [] : [room]);
      const isPlain = (head[0]! & 1) === 0 && head[1] === 0;
      const [, sent] = pieces as [Uint8Array, Uint8Array];
      if (isPlain && isFrame(sent, 0, sent.length, 100)) expected.push([...sent]);
    }
    assertEquals(bench.returned().map(([, written]) => written), all.map(() => 0));
    assertEquals(bench.link.sent.map((bytes) => [...bytes]), expected);
    assertEquals(bench.wiring.rings.map(({ failure }) => failure), [null, null]);
    return expected.length > 0 ? "accepted" : "refused";
  },
);

const coming = fc.record({
  /** What its length says. */
  said: mostly(fc.constant(-1), ANY_U32, 20),
  length: lengths,
});

/** What comes by a cable, in pieces of any size. */
export const NET_CABLE = target(
  "frames of a cable",
  fc.record({ frames: fc.array(coming, { maxLength: 8 }), cuts: fc.array(fc.nat({ max: 300 })) }),
  ({ frames, cuts }) => {
    const [ours, theirs] = UnixSocket.pair();
    using connection = new Connection(ours, { close: () => {}, [Symbol.dispose]: () => {} });
    using _theirs = theirs;
    const bytes = frames.flatMap(({ said, length }) => {
      const head = new DataView(new ArrayBuffer(4));
      head.setUint32(0, said < 0 ? length : said);
      return [...new Uint8Array(head.buffer), ...frame(length)];
    });
    const isWhole = frames.every(({ said, length }) =>
      (said < 0 || said === length) && length >= 14
    );
    const got: number[] = [];
    const buffer = new Uint8Array(70_000);
    const take = (): void => {
      for (let n; (n = connection.receive(buffer, 0)) > 0;) got.push(n);
    };
    try {
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const end = Math.min(at + 1 + (cuts[i] ?? 300), bytes.length);
        theirs.send(Uint8Array.from(bytes.slice(at, end)), 0, end - at);
        at = end;
        take();
      }
    } catch (error) {
      assert(
        /^The other end sent a frame of \d+ bytes$/.test((error as Error).message),
        `${error}`,
      );
      assert(!isWhole, "a frame that is one was refused");
      return "refused";
    }
    if (isWhole) assertEquals(got, frames.map(({ length }) => length));
    return got.length > 0 ? "accepted" : "refused";
  },
);

/** MAC addresses: what is read as one is written the same, in small letters. */
export const NET_MACS = target(
  "MAC addresses",
  mostly(anyBytes(6).map((bytes) => formatMac(bytes)), fc.string(), 3),
  (text) => {
    const mac = parseMac(text);
    if (mac === null) return "refused";
    assertEquals([mac.length, formatMac(mac)], [6, text.toLowerCase()]);
    return "accepted";
  },
);
