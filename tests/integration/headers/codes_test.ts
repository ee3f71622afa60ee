// SPDX-License-Identifier: Apache-2.0
// Ids, feature bits and sizes of config spaces, by the kernel's headers.
import { assertEquals } from "@std/assert";
import * as classes from "../../../lib/classes/mod.ts";
import { INPUT_CONFIG_SIZE } from "../../../lib/classes/input/wire.ts";
import * as console from "../../../lib/classes/console/wire.ts";
import * as fs from "../../../lib/classes/fs/wire.ts";
import { GPIO_CONFIG_SIZE } from "../../../lib/classes/gpio/wire.ts";
import * as net from "../../../lib/classes/net/wire.ts";
import { VSOCK_CONFIG_SIZE } from "../../../lib/classes/vsock/wire.ts";
import { runC } from "./run_c.ts";

/** Bits that the headers of a machine may be too old for. */
const NEW = [
  "VIRTIO_FS_F_NOTIFICATION",
  "VIRTIO_VSOCK_F_STREAM",
  "VIRTIO_VSOCK_F_NO_IMPLIED_STREAM",
];

/** The id of each class by the kernel's name for it, and the header of the class. */
const CLASSES = [
  [classes.net, "NET", "net"],
  [classes.console, "CONSOLE", "console"],
  [classes.input, "INPUT", "input"],
  [classes.vsock, "VSOCK", "vsock"],
  [classes.fs, "FS", "fs"],
  [classes.scmi, "SCMI", "scmi"],
  [classes.i2c, "I2C_ADAPTER", "i2c"],
  [classes.gpio, "GPIO", "gpio"],
] as const;

const SIZES: [what: string, number][] = [
  ["sizeof(struct virtio_input_config)", INPUT_CONFIG_SIZE],
  ["sizeof(struct virtio_gpio_config)", GPIO_CONFIG_SIZE],
  ["sizeof(struct virtio_vsock_config)", VSOCK_CONFIG_SIZE],
  ["sizeof(struct virtio_console_config)", console.CONSOLE_CONFIG_SIZE],
  ["offsetof(struct virtio_console_config, max_nr_ports)", console.MAX_PORTS_AT],
  ["sizeof(struct virtio_fs_config)", fs.FS_CONFIG_SIZE],
  ["offsetof(struct virtio_fs_config, num_request_queues)", fs.REQUEST_QUEUES_AT],
  ["offsetof(struct virtio_net_config, max_virtqueue_pairs)", net.MAX_PAIRS_AT],
  ["offsetof(struct virtio_net_config, speed)", net.NET_CONFIG_SIZE],
];

Deno.test("ids, feature bits and sizes are those of the kernel's headers", async () => {
  const rows: [what: string, number][] = [
    ...CLASSES.map(([{ id }, name]): [string, number] => [`VIRTIO_ID_${name}`, id]),
    ...CLASSES.flatMap(([{ featureNames }]) =>
      Object.entries(featureNames)
        .filter(([, name]) => !NEW.includes(name))
        .map(([n, name]): [string, number] => [name, Number(n)])
    ),
    ...SIZES,
  ];
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/types.h>
    #include <linux/virtio_ids.h>
    ${CLASSES.map(([, , header]) => `#include <linux/virtio_${header}.h>`).join("\n")}
    int main(void) { ${
    rows.map(([what]) => `printf("%d\\n", (int)(${what}));`).join("\n")
  } return 0; }`);
  const values = printed.trimEnd().split("\n").map(Number);
  assertEquals(rows.map(([what], i) => [what, values[i]]), rows);
});
