// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { linesNotRun, parseLcov, share } from "./coverage.ts";

const REPORT = `SF:/a/lib/bridge/one.ts
FNF:2
DA:1,4
LH:3
LF:4
end_of_record
SF:/a/lib/bridges/two.ts
LH:0
LF:90
end_of_record
`;

Deno.test("parseLcov() reads each file's lines, share() those of a folder", () => {
  const lines = parseLcov(REPORT);
  assertEquals(lines, [
    { file: "/a/lib/bridge/one.ts", found: 4, hit: 3 },
    { file: "/a/lib/bridges/two.ts", found: 90, hit: 0 },
  ]);
  assertEquals(share(lines, "/a/lib/bridge"), 75);
  assertThrows(() => share(lines, "/a/lib/guest"), Error, "no file of it ran");
});

Deno.test("linesNotRun() counts the code of a file that was not loaded, but not types", () => {
  const code = "// what it is\n\nexport function f() {\n  return 1;\n}\n";
  assertEquals(linesNotRun("a.ts", code), { file: "a.ts", found: 3, hit: 0 });
  const types = "/** what it is */\nexport interface A {\n  b: number;\n}\n";
  assertEquals(linesNotRun("b.ts", types).found, 0);
});
