// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import {
  DIRENT_LAYOUT,
  listSystemFolder,
  OsError,
  readSystemFile,
  readSystemLink,
} from "../../ffi/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { runC } from "../virtio/run_c.ts";

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

Deno.test("what the kernel tells of this process", () => {
  assertEquals(listSystemFolder("/proc").includes(`${Deno.pid}`), true);
  assertEquals(readSystemFile("/proc/self/stat").startsWith(`${Deno.pid} `), true);
  assertEquals(readSystemLink("/proc/self"), `${Deno.pid}`);
});

Deno.test("directory entries are laid out as the C compiler lays them out", async () => {
  const { reclen, name } = DIRENT_LAYOUT;
  const printed = await runC(`
    #define _GNU_SOURCE
    #include <dirent.h>
    #include <stddef.h>
    #include <stdio.h>
    int main(void) {
      printf("%zu %zu", offsetof(struct dirent64, d_reclen), offsetof(struct dirent64, d_name));
    }`);
  assertEquals(printed, `${reclen} ${name}`);
});
