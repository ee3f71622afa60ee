// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { console as consoleClass } from "../../../lib/classes/console/class.ts";
import * as console from "../../../lib/classes/console/wire.ts";
import {
  TCP_OPTIONS,
  TERMINAL_FLAGS,
  TERMINAL_REQUESTS,
  TERMIOS_LAYOUT,
} from "../../../ffi/mod.ts";
import { runC } from "./run_c.ts";

Deno.test("sizes, offsets and codes are those of <linux/virtio_console.h>", async () => {
  const events = Object.entries(console).filter(([name]) =>
    /^(DEVICE_READY|PORT_(ADD|REMOVE|READY|OPEN|NAME)|CONSOLE_PORT|RESIZE|F_\w+)$/.test(name)
  );
  assertEquals(events.length, 11);
  const expected = [
    console.CONSOLE_CONFIG_SIZE,
    console.CONTROL_SIZE,
    console.MAX_PORTS_AT,
    console.EMERG_WR_AT,
    4, // of event and of value in a control message, as wire_test.ts has them
    6,
    consoleClass.id,
    ...events.map(([, value]) => value),
  ];
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <linux/virtio_console.h>
    int main(void) {
      printf("%zu %zu ", sizeof(struct virtio_console_config), sizeof(struct virtio_console_control));
      printf("%zu ", offsetof(struct virtio_console_config, max_nr_ports));
      printf("%zu ", offsetof(struct virtio_console_config, emerg_wr));
      printf("%zu ", offsetof(struct virtio_console_control, event));
      printf("%zu ", offsetof(struct virtio_console_control, value));
      printf("%d ", VIRTIO_ID_CONSOLE);
      ${events.map(([name]) => `printf("%d ", VIRTIO_CONSOLE_${name});`).join("\n")}
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), expected as number[]);
});

Deno.test("requests and settings of terminals are the kernel's", async () => {
  const requests = Object.entries(TERMINAL_REQUESTS);
  const { size, ...offsets } = TERMIOS_LAYOUT;
  const printed = await runC(`
    #include <stddef.h>
    #include <stdio.h>
    #include <asm/ioctls.h>
    #include <asm/termbits.h>
    int main(void) {
      ${requests.map(([name]) => `printf("%u ", (unsigned)${name});`).join("\n")}
      ${
    Object.keys(offsets).map((name) => `printf("%zu ", offsetof(struct termios, ${name}));`).join(
      "\n",
    )
  }
      printf("%zu ", sizeof(struct termios));
      printf("%u ", IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
      printf("%u %u %u", OPOST, ICANON | ECHO | ECHONL | IEXTEN, ISIG);
      return 0;
    }
  `);
  const { input, output, local, signals } = TERMINAL_FLAGS;
  assertEquals(printed.trim().split(" ").map(Number), [
    ...requests.map(([, value]) => value),
    ...Object.values(offsets),
    size,
    input,
    output,
    local,
    signals,
  ]);
});

Deno.test("options of TCP sockets are the kernel's", async () => {
  const names = Object.keys(TCP_OPTIONS);
  const printed = await runC(`
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <stdio.h>
    #include <sys/socket.h>
    int main(void) {
      ${
    names.map((name) =>
      `printf("%d %d ", ${name.startsWith("SO_") ? "SOL_SOCKET" : "IPPROTO_TCP"}, ${name});`
    ).join("\n")
  }
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), Object.values(TCP_OPTIONS).flat());
});
