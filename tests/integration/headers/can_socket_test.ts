// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import {
  CAN_FRAME_SIZE,
  CAN_OPTIONS,
  CANFD_FRAME_SIZE,
  IFREQ_LAYOUT,
  INTERFACE_REQUESTS,
  MSG_CONFIRM,
} from "../../../ffi/mod.ts";
import { runC } from "./run_c.ts";

Deno.test("CAN sockets and interfaces are asked by the compiler's numbers", async () => {
  const printed = await runC(`
    #define _GNU_SOURCE
    #include <linux/can.h>
    #include <linux/can/raw.h>
    #include <net/if.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    int main(void) {
      printf("%zu %zu %d ", sizeof(struct can_frame), sizeof(struct canfd_frame), MSG_CONFIRM);
      printf("%d %zu %zu ", IFNAMSIZ, offsetof(struct ifreq, ifr_ifindex), sizeof(struct ifreq));
      ${Object.keys(INTERFACE_REQUESTS).map((name) => `printf("%d ", ${name});`).join("\n")}
      ${
    Object.keys(CAN_OPTIONS).map((name) =>
      `printf("%d %d ", ${name.startsWith("SO_") ? "SOL_SOCKET" : "SOL_CAN_RAW"}, ${name});`
    ).join("\n")
  }
    }`);
  assertEquals(printed.trim().split(" ").map(Number), [
    ...[CAN_FRAME_SIZE, CANFD_FRAME_SIZE, MSG_CONFIRM],
    ...Object.values(IFREQ_LAYOUT),
    ...Object.values(INTERFACE_REQUESTS),
    ...Object.values(CAN_OPTIONS).flat(),
  ]);
});
