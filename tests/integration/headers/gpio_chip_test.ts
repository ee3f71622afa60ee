// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  GPIO_CODES,
  GPIO_LAYOUT,
  GPIO_LINE_FLAGS,
  GPIO_REQUESTS,
  GPIO_SIZES,
} from "../../../ffi/mod.ts";
import { runC } from "./run_c.ts";

Deno.test("GPIO chips are asked by the compiler's numbers and layouts", async () => {
  const fields = Object.keys(GPIO_LAYOUT).map((name) => name.split(/\.(.*)/));
  const codes = { ...GPIO_REQUESTS, ...GPIO_LINE_FLAGS, ...GPIO_CODES };
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    #include <linux/gpio.h>
    int main(void) {
      ${Object.keys(codes).map((name) => `printf("%u ", (unsigned)${name});`).join("\n")}
      ${Object.keys(GPIO_SIZES).map((s) => `printf("%zu ", sizeof(struct ${s}));`).join("\n")}
      ${fields.map(([s, f]) => `printf("%zu ", offsetof(struct ${s}, ${f}));`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    ...Object.values(codes),
    ...Object.values(GPIO_SIZES),
    ...Object.values(GPIO_LAYOUT),
  ]);
});
