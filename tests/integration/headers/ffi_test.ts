// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { DIRENT_LAYOUT } from "../../../ffi/mod.ts";
import { runC } from "./run_c.ts";

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
