// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import * as i2c from "../../../lib/classes/i2c/wire.ts";
import { runC } from "./run_c.ts";

Deno.test("sizes, offsets and codes are those of <linux/virtio_i2c.h>", async () => {
  const names = Object.entries(i2c).filter(([name]) => /^(F|FLAGS|MSG)_/.test(name));
  assertEquals(names.length, 5);
  const offsets = [
    ["addr", i2c.encodeOutHeader({ addr: 1, flags: 0 }).indexOf(1)],
    ["flags", i2c.encodeOutHeader({ addr: 0, flags: 1 }).indexOf(1)],
  ] as const;
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_i2c.h>
    int main(void) {
      printf("%zu ", sizeof(struct virtio_i2c_out_hdr));
      printf("%zu ", sizeof(struct virtio_i2c_in_hdr));
      ${
    offsets.map(([f]) => `printf("%zu ", offsetof(struct virtio_i2c_out_hdr, ${f}));`).join("\n")
  }
      ${names.map(([name]) => `printf("%d ", (int)VIRTIO_I2C_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    i2c.OUT_HDR_SIZE,
    i2c.IN_HDR_SIZE,
    ...offsets.map(([, offset]) => offset),
    ...names.map(([, value]) => value as number),
  ]);
});
