// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { DEVICE_CLASSES, rng } from "../../../lib/classes/mod.ts";
import { runC } from "./run_c.ts";

Deno.test("class ids are the kernel's", async () => {
  const ids = {
    vrng: "VIRTIO_ID_RNG",
    vhurng: "VIRTIO_ID_RNG",
    vhublk: "VIRTIO_ID_BLOCK",
    vhuconsole: "VIRTIO_ID_CONSOLE",
    vhuinput: "VIRTIO_ID_INPUT",
    vhucan: "VIRTIO_ID_CAN",
    vhugpio: "VIRTIO_ID_GPIO",
    vhusnd: "VIRTIO_ID_SOUND",
  };
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_ids.h>
    int main(void) { ${
    Object.entries(ids).map(([name, id]) => `printf("${name} %d\\n", ${id});`).join("\n")
  } return 0; }`);
  const known = new Map([
    ["vrng", rng.id] as const,
    ...DEVICE_CLASSES.flatMap((row) => row.dropInNames.map((name) => [name, row.id] as const)),
  ]);
  assertEquals(printed, Object.keys(ids).map((name) => `${name} ${known.get(name)}\n`).join(""));
});
