// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { errorPriority } from "../../cli/journal.ts";

Deno.test("lines have a priority where standard error is the journal, and nowhere else", () => {
  const is = (dev: bigint, ino: bigint) => () => ({ dev, ino });
  assertEquals(errorPriority("8:4043301", is(8n, 4043301n)), "<3>");
  assertEquals(errorPriority("8:4043301", is(9n, 4043301n)), "");
  assertEquals(errorPriority("8:4043301", is(8n, 404330n)), "");
  assertEquals(errorPriority("8:18446744073709551615", is(8n, 18446744073709551615n)), "<3>");
  assertEquals(errorPriority("", is(8n, 1n)), "");
  assertEquals(errorPriority(undefined, is(8n, 1n)), "");
});

Deno.test("a closed standard error is no journal", () => {
  const closed = () => {
    throw new Error("EBADF");
  };
  assertEquals(errorPriority("8:1", closed), "");
});
