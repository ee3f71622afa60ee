// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { EventFd, type Fd, OsError, type Received, UnixSocket } from "../../ffi/mod.ts";
import { VhostUserError } from "../../lib/vhost_user/errors.ts";
import { type ByteSource, type Direction, MessageReader } from "../../lib/vhost_user/framing.ts";
import { encodeMessage } from "../../lib/vhost_user/messages.ts";

const NOTHING_NOW = -11;

/** What one `receive` finds: bytes with descriptors, an end, or an error. */
type Piece = { bytes: Uint8Array; fds?: Fd[] } | "end" | OsError;

/** Gives pieces as they are asked for; as a socket does, never two in one go. */
class Script implements ByteSource {
  readonly asked: number[] = [];

  constructor(readonly pieces: Piece[]) {}

  receive(buffer: Uint8Array<ArrayBuffer>, offset: number, length: number): Received {
    this.asked.push(length);
    const piece = this.pieces[0];
    if (piece === undefined) return { length: NOTHING_NOW, fds: [] };
    if (piece === "end") return { length: 0, fds: [] };
    if (piece instanceof OsError) throw piece;
    const part = piece.bytes.subarray(0, length);
    buffer.set(part, offset);
    const { fds = [] } = piece;
    const rest = piece.bytes.subarray(part.length);
    if (rest.length > 0) this.pieces[0] = { bytes: rest };
    else this.pieces.shift();
    return { length: part.length, fds };
  }
}

function reader(pieces: Piece[], direction: Direction = "requests"): MessageReader {
  return new MessageReader(new Script(pieces), direction, "the peer");
}

const BODY = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
const MESSAGE = encodeMessage(8, 0x9, BODY);

Deno.test("messages come out whole, wherever their bytes are cut", () => {
  const two = new Uint8Array([...MESSAGE, ...encodeMessage(3, 0x1, new Uint8Array())]);
  for (let cut = 0; cut <= two.length; cut++) {
    const pieces = [{ bytes: two.slice(0, cut) }, { bytes: two.slice(cut) }]
      .filter(({ bytes }) => bytes.length > 0);
    const it = reader(pieces);
    assertEquals(it.next(), { request: 8, flags: 9, body: BODY, fds: [] }, `cut at ${cut}`);
    assertEquals(it.next(), { request: 3, flags: 1, body: new Uint8Array(), fds: [] });
    assertEquals([it.next(), it.idle], [null, true]);
  }
});

Deno.test("messages come out whole, byte by byte, and null until then", () => {
  const script = new Script([]);
  const it = new MessageReader(script, "requests", "the peer");
  for (const [i, byte] of MESSAGE.entries()) {
    script.pieces.push({ bytes: Uint8Array.of(byte) });
    const message = it.next();
    assertEquals(message?.body, i === MESSAGE.length - 1 ? BODY : undefined);
  }
});

Deno.test("nothing is read past the end of a message, where the next one's descriptors come", () => {
  const script = new Script([{ bytes: MESSAGE }, { bytes: MESSAGE }]);
  const it = new MessageReader(script, "requests", "the peer");
  it.next();
  it.next();
  assertEquals(script.asked, [12, 8, 12, 8]);
});

Deno.test("descriptors come with the message whose first byte they came with", () => {
  const [a, b] = UnixSocket.pair();
  using _a = a;
  using _b = b;
  using event = EventFd.create();
  const it = new MessageReader(b, "requests", "the peer");
  a.send(MESSAGE, 0, MESSAGE.length);
  a.send(MESSAGE, 0, 5, [event.number]);
  assertEquals(it.next()?.fds, []);
  assertEquals(it.next(), null);
  a.send(MESSAGE, 5, MESSAGE.length - 5);
  const fds = it.next()!.fds;
  assertEquals(fds.length, 1);
  fds[0]!.close();
});

/** Descriptors that only have to be closed. */
function events(count: number): EventFd[] {
  return Array.from({ length: count }, () => EventFd.create());
}

Deno.test("descriptors inside a message are an error, and closed", () => {
  const [first, inside] = events(2);
  const it = reader([
    { bytes: MESSAGE.slice(0, 12), fds: [first!] },
    { bytes: MESSAGE.slice(12), fds: [inside!] },
  ]);
  assertThrows(() => it.next(), VhostUserError, "1 descriptors came inside a message");
  it.discard();
  assertEquals([first!.closed, inside!.closed], [true, true]);
});

Deno.test("more descriptors than any message has are an error, and closed", () => {
  const [a, b] = UnixSocket.pair();
  using _a = a;
  using _b = b;
  const many = events(9);
  a.send(MESSAGE, 0, MESSAGE.length, many.map(({ number }) => number));
  for (const event of many) event.close();
  const it = new MessageReader(b, "requests", "the peer");
  const error = assertThrows(() => it.next(), VhostUserError, "more than 8 descriptors came");
  assertEquals((error as VhostUserError).fault, "protocol");
});

Deno.test("descriptors of a message that never ends are closed by discard()", () => {
  const [event] = events(1);
  const it = reader([{ bytes: MESSAGE.slice(0, 15), fds: [event!] }]);
  assertEquals(it.next(), null);
  it.discard();
  assertEquals(event!.closed, true);
});

const header = (request: number, flags: number, size: number): Uint8Array =>
  new Uint8Array(new Uint32Array([request, flags, size]).buffer);

Deno.test("invalid headers are refused before the payload is waited for", async (t) => {
  const cases: [name: string, direction: Direction, header: Uint8Array, text: string][] = [
    ["request with the reply bit", "requests", header(1, 0x5, 0), "0x5, expected 0x1 or 0x9"],
    ["request of version 0", "requests", header(1, 0x0, 0), "0x0, expected 0x1"],
    ["request of version 2", "requests", header(1, 0x2, 0), "0x2, expected 0x1"],
    ["request with bit 4", "requests", header(1, 0x11, 0), "0x11, expected 0x1"],
    ["request with bit 31", "requests", header(1, 0x80000001, 0), "flags are 0x80000001"],
    ["reply without the reply bit", "replies", header(1, 0x1, 8), "0x1, expected 0x5"],
    ["reply that needs a reply", "replies", header(1, 0xd, 8), "0xd, expected 0x5"],
    ["reply of version 3", "replies", header(1, 0x7, 8), "0x7, expected 0x5"],
    ["4097 bytes", "replies", header(1, 0x5, 4097), "4097, expected at most 4096"],
    ["2^32 - 1 bytes", "requests", header(5, 0x1, 0xffffffff), "4294967295, expected at most 4096"],
  ];
  for (const [name, direction, bytes, text] of cases) {
    await t.step(name, () => {
      const error = assertThrows(() => reader([{ bytes }], direction).next(), VhostUserError, text);
      assertEquals((error as VhostUserError).fault, "protocol");
    });
  }
});

Deno.test("the longest payload passes", () => {
  const bytes = encodeMessage(26, 0x1, new Uint8Array(4096).fill(7));
  assertEquals(reader([{ bytes }]).next()!.body, new Uint8Array(4096).fill(7));
});

Deno.test("the error at the end of a connection says whether it was inside a message", () => {
  const between = assertThrows(() => reader(["end"]).next(), VhostUserError);
  assertEquals([between.fault, between.message], ["lost", "the peer closed the connection"]);
  for (let cut = 1; cut < MESSAGE.length; cut++) {
    const it = reader([{ bytes: MESSAGE.slice(0, cut) }, "end"]);
    const expected = cut < 12 ? 12 : 20;
    const text = `closed the connection after ${cut} bytes of a message, expected ${expected}`;
    assertThrows(() => it.next(), VhostUserError, text);
    assertEquals(it.idle, false);
  }
});

Deno.test("an error of the socket is a loss that names it", () => {
  const it = reader([new OsError("receive on a Unix socket", 104)]);
  const error = assertThrows(() => it.next(), VhostUserError, "ECONNRESET");
  assertEquals(error.fault, "lost");
});
