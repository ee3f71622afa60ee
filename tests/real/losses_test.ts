// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { unexcused } from "./losses.ts";

/** Three periods of four frames: 0 … 11. */
const check = (heard: number[]) => unexcused(heard, 12, 4);

Deno.test("unexcused() excuses the last frame of a period and a tail of one period", () => {
  assertEquals(check([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), []);
  assertEquals(check([0, 1, 2, 4, 5, 6, 8, 9, 10]), []);
  assertEquals(check([0, 1, 2, 4, 5, 6]), []);
  assertEquals(unexcused([5, 6, 8], 12, 4, 5), []);
});

Deno.test("unexcused() names every other fault", () => {
  assertEquals(check([1, 2, 4, 5, 6, 8]), ["frames 0 to 0 are missing"]);
  assertEquals(check([0, 4, 5, 6, 8]), ["frames 1 to 2 are missing"]);
  assertEquals(check([0, 1, 2, 2, 4, 5, 6, 8]), ["frame 2 came, 3 was expected"]);
  assertEquals(check([0, 1, 2, 5, 4, 6, 8]), [
    "frames 4 to 4 are missing",
    "frame 4 came, 6 was expected",
  ]);
  assertEquals(check([0, 1, 2, 4, 5, 6, 8, 99]), ["frame 99 came, 9 was expected"]);
  assertEquals(check([0, 1, 2, 4, 5]), ["frames 6 to 6 are missing"]);
  assertEquals(check([]), ["frames 0 to 2 are missing", "frames 4 to 6 are missing"]);
});
