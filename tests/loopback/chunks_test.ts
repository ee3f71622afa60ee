// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { pageSize } from "../../ffi/mod.ts";
import { pieceAround } from "../../lib/loopback/chunks.ts";

const PAGE = pageSize();
const PIECE = 100 * PAGE;
const FIRST = 0x4000_0000;
const SECOND = 0x8000_0000;
const RAM = [
  { start: FIRST, end: FIRST + 250 * PAGE },
  { start: SECOND, end: SECOND + PIECE },
];

const CASES = [
  { name: "the first byte", at: FIRST, length: 1, piece: [FIRST, FIRST + PIECE] },
  { name: "all of a piece", at: FIRST, length: PIECE, piece: [FIRST, FIRST + PIECE] },
  {
    name: "the next piece",
    at: FIRST + PIECE,
    length: 1,
    piece: [FIRST + PIECE, FIRST + 2 * PIECE],
  },
  {
    name: "its last byte",
    at: FIRST + 2 * PIECE - 1,
    length: 1,
    piece: [FIRST + PIECE, FIRST + 2 * PIECE],
  },
  {
    name: "bytes across a border",
    at: FIRST + PIECE - 5,
    length: 6,
    piece: [FIRST + PIECE - PAGE, FIRST + 2 * PIECE - PAGE],
  },
  {
    name: "the rest of the memory",
    at: FIRST + 249 * PAGE,
    length: PAGE,
    piece: [FIRST + 2 * PIECE, FIRST + 250 * PAGE],
  },
  { name: "other memory", at: SECOND + 1, length: 1, piece: [SECOND, SECOND + PIECE] },
  { name: "more than a piece", at: FIRST, length: PIECE + 1, piece: null },
  { name: "more than there is", at: FIRST + 249 * PAGE, length: PAGE + 1, piece: null },
  { name: "no memory before", at: FIRST - 1, length: 1, piece: null },
  { name: "no memory behind", at: FIRST + 250 * PAGE, length: 1, piece: null },
];

for (const { name, at, length, piece } of CASES) {
  Deno.test(`a piece of memory holds ${name}`, () => {
    const found = pieceAround(RAM, at, length);
    assertEquals(found === null ? null : [found.start, found.end], piece);
  });
}

Deno.test("pages are in one piece each, in whatever order they are asked for", () => {
  const pages = Array.from({ length: 200 }, (_, i) => FIRST + (199 - i) * PAGE);
  const starts = new Set(pages.map((page) => pieceAround(RAM, page, PAGE)?.start));
  assertEquals([...starts], [FIRST + PIECE, FIRST]);
});
