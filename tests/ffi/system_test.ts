// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { listSystemFolder, OsError, readSystemFile, readSystemLink } from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

Deno.test("a folder's names are listed, however many there are", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assertEquals(listSystemFolder(folder), []);
    const names = Array.from({ length: 500 }, (_, i) => `${"ä".repeat(i % 100)}-${i}`);
    for (const name of names) await Deno.writeTextFile(`${folder}/${name}`, "");
    await withoutLeaks(() => {
      assertEquals(listSystemFolder(folder).sort(), [...names].sort());
    });
    const file = `${folder}/${names[1]}`;
    assertEquals(assertThrows(() => listSystemFolder(file), OsError, "list").code, "ENOTDIR");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  assertEquals(assertThrows(() => listSystemFolder(folder), OsError).code, "ENOENT");
});

Deno.test("readSystemFile() and readSystemLink() read /proc of this process", () => {
  assertEquals(listSystemFolder("/proc").includes(`${Deno.pid}`), true);
  assertEquals(readSystemFile("/proc/self/stat").startsWith(`${Deno.pid} `), true);
  assertEquals(readSystemLink("/proc/self"), `${Deno.pid}`);
});
