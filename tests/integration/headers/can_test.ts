// SPDX-License-Identifier: Apache-2.0
import { assertEquals } from "@std/assert";
import { can as canClass } from "../../../lib/classes/can/class.ts";
import * as can from "../../../lib/classes/can/wire.ts";
import { runC } from "./run_c.ts";

/**
 * What the standard says, for machines whose kernel headers are older than 7.2 and do not have the class.
 */
const STANDARD = `
  #define VIRTIO_ID_CAN 36
  enum { ${
  Object.entries({
    F_CAN_CLASSIC: 0,
    F_CAN_FD: 1,
    F_RTR_FRAMES: 2,
    F_LATE_TX_ACK: 3,
    RESULT_OK: 0,
    RESULT_NOT_OK: 1,
    FLAGS_EXTENDED: 1 << 15,
    FLAGS_FD: 1 << 14,
    FLAGS_RTR: 1 << 13,
    MAX_DLEN: 64,
    S_CTRL_BUSOFF: 1,
    TX: 0x0001,
    RX: 0x0101,
    SET_CTRL_MODE_START: 0x0201,
    SET_CTRL_MODE_STOP: 0x0202,
  }).map(([name, value]) => `VIRTIO_CAN_${name} = ${value}`).join(", ")
} };
  struct virtio_can_config { uint16_t status; };
  struct virtio_can_control_out { uint16_t msg_type; };
  struct virtio_can_control_in { uint8_t result; };
  struct virtio_can_tx_in { uint8_t result; };
  struct virtio_can_tx_out {
    uint16_t msg_type, length; uint8_t reserved_dlc, padding; uint16_t reserved_priority;
    uint32_t flags, can_id; uint8_t sdu[];
  };
  struct virtio_can_rx {
    uint16_t msg_type, length; uint8_t reserved_dlc, padding; uint16_t reserved_priority;
    uint32_t flags, can_id; uint8_t sdu[];
  };
`;

/** Where a field of a frame's header is found to lie, by writing it alone. */
function offsetOf(field: keyof can.FrameHeader): number {
  const view = new DataView(new ArrayBuffer(can.FRAME_HEADER_SIZE));
  can.encodeFrameHeader(view, 0, { type: 0, length: 0, flags: 0, id: 0, [field]: 1 });
  return new Uint8Array(view.buffer).indexOf(1);
}

const STRUCTURES = [
  ["virtio_can_config", can.CAN_CONFIG_SIZE],
  ["virtio_can_control_out", can.CONTROL_SIZE],
  ["virtio_can_control_in", can.RESULT_SIZE],
  ["virtio_can_tx_in", can.RESULT_SIZE],
  ["virtio_can_tx_out", can.FRAME_HEADER_SIZE],
  ["virtio_can_rx", can.FRAME_HEADER_SIZE],
] as const;

Deno.test("sizes, offsets and codes are those of <linux/virtio_can.h>", async () => {
  const offsets = ["virtio_can_tx_out", "virtio_can_rx"].flatMap((structure) =>
    [
      [structure, "msg_type", offsetOf("type")],
      [structure, "length", offsetOf("length")],
      [structure, "flags", offsetOf("flags")],
      [structure, "can_id", offsetOf("id")],
      [structure, "sdu", can.FRAME_HEADER_SIZE],
    ] as const
  );
  // Each export that has the kernel's name without its prefix.
  const names = Object.entries(can).filter(([name, value]) =>
    typeof value === "number" &&
    /^(F|S|RESULT|FLAGS|SET_CTRL)_(?!SIZE)|^TX$|^RX$|^MAX_DLEN$/.test(name)
  );
  assertEquals(names.length, 15);
  const expected = [
    ...STRUCTURES.map(([, size]) => size),
    ...offsets.map(([, , offset]) => offset),
    ...names.map(([, value]) => value),
    canClass.id,
  ];
  const printed = await runC(`
    #include <stddef.h>
    #include <stdint.h>
    #include <stdio.h>
    #if __has_include(<linux/virtio_can.h>)
    #include <linux/virtio_can.h>
    #else
    ${STANDARD}
    #endif
    int main(void) {
      ${STRUCTURES.map(([name]) => `printf("%zu ", sizeof(struct ${name}));`).join("\n")}
      ${offsets.map(([s, f]) => `printf("%zu ", offsetof(struct ${s}, ${f}));`).join("\n")}
      ${names.map(([name]) => `printf("%d ", (int)VIRTIO_CAN_${name});`).join("\n")}
      printf("%d ", VIRTIO_ID_CAN);
      return 0;
    }
  `);
  assertEquals(printed.trim().split(" ").map(Number), expected);
});
