// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { shortage, softLimit } from "../../cli/limits.ts";
import { TempFolder } from "../support/process.ts";
import { assertFails, violaBy } from "../integration/cli/viola.ts";

const TEXT = `Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             1048576              unlimited            bytes     
Max open files            64                   524288               files     
`;

Deno.test("softLimit() reads what the kernel says of a process", () => {
  assertEquals(softLimit(TEXT, "Max file size"), 1048576);
  assertEquals(softLimit(TEXT, "Max open files"), 64);
  assertEquals(softLimit(TEXT, "Max cpu time"), Infinity);
  assertEquals(softLimit(TEXT, "Max love"), Infinity);
});

Deno.test("shortage() names the limit that is too low, and what is needed", () => {
  assertEquals(shortage(TEXT, { openFiles: 64, fileBytes: 1048576 }), "");
  assertEquals(
    shortage(TEXT, { openFiles: 65, fileBytes: 1e9 }),
    "64 open files are allowed (RLIMIT_NOFILE, ulimit -n), expected 65",
  );
  assertEquals(
    shortage(TEXT, { openFiles: 1, fileBytes: 1048577 }),
    "1048576 bytes in a file are allowed (RLIMIT_FSIZE, ulimit -f), expected 1048577",
  );
});

for (const [limit, name] of [["-n 64", "RLIMIT_NOFILE"], ["-f 60000", "RLIMIT_FSIZE"]] as const) {
  Deno.test(`a demo under ulimit ${limit} names the limit in one line, and leaves no folder`, async () => {
    await using folder = await TempFolder.create();
    const out = folder.file("some/where/out");
    await using demo = violaBy(`ulimit ${limit}; exec "$@"`, ["demo", "--fast", "--out", out]);
    await assertFails(
      demo,
      2,
      new RegExp(`^viola: Cannot play: \\d+ .*${name}.*, expected \\d+\n$`),
    );
    assertEquals(demo.stdout, "");
    assertEquals([...Deno.readDirSync(folder.path)], []);
  });
}
