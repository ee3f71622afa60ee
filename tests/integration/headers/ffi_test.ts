// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  BLOCK_REQUESTS,
  DIRENT_LAYOUT,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  RWF_DSYNC,
  RWF_NOWAIT,
} from "../../../ffi/mod.ts";
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

Deno.test("flags of files as disks are the kernel's", async () => {
  const flags = {
    RWF_NOWAIT,
    RWF_DSYNC,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    ...BLOCK_REQUESTS,
  };
  const printed = await runC(`
    #include <linux/falloc.h>
    #include <linux/fs.h>
    #include <stdio.h>
    int main(void) {
      ${Object.keys(flags).map((name) => `printf("%d ", (int)${name});`).join("\n")}
    }`);
  assertEquals(printed.trim().split(" ").map(Number), Object.values(flags));
});
