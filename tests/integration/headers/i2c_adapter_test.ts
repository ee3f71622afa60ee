// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { I2C_CODES, SMBUS_DATA_SIZE } from "../../../ffi/mod.ts";
import { runC } from "./run_c.ts";

Deno.test("I2C adapters are asked by the compiler's numbers", async () => {
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/i2c.h>
    #include <linux/i2c-dev.h>
    int main(void) {
      printf("%zu ", sizeof(union i2c_smbus_data));
      ${Object.keys(I2C_CODES).map((name) => `printf("%u ", (unsigned)${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), [
    SMBUS_DATA_SIZE,
    ...Object.values(I2C_CODES),
  ]);
});
