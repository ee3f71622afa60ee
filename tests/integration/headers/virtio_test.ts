// SPDX-License-Identifier: Apache-2.0
// What the standard's own rooms say, beside what the kernel's headers say.
import { assertEquals } from "@std/assert";
import * as features from "../../../lib/virtio/features.ts";
import { CONFIG_OFFSET, REGISTERS } from "../../../lib/virtio/registers.ts";
import { AVAIL_RING, eventPassed, FLAGS, IDX, USED_RING } from "../../../lib/virtio/ring_layout.ts";
import * as ring from "../../../lib/virtio/split_ring.ts";
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
} from "../../../lib/virtio/state.ts";
import { ACCESS, QUEUE_RESET } from "../../virtio/register_fixture.ts";
import { randomNumbers } from "../../virtio/ring_fixture.ts";
import { runC } from "./run_c.ts";

const SIZES = [1, 2, 4, 64, 256, 1024, 32768];
const ALIGNS = [4, 64, 4096, 65536];

Deno.test("every feature bit is the one in the kernel's headers", async () => {
  const names = {
    VIRTIO_F_NOTIFY_ON_EMPTY: "VIRTIO_F_NOTIFY_ON_EMPTY",
    VIRTIO_F_ANY_LAYOUT: "VIRTIO_F_ANY_LAYOUT",
    VIRTIO_F_RING_INDIRECT_DESC: "VIRTIO_RING_F_INDIRECT_DESC",
    VIRTIO_F_RING_EVENT_IDX: "VIRTIO_RING_F_EVENT_IDX",
    VIRTIO_F_VERSION_1: "VIRTIO_F_VERSION_1",
    VIRTIO_F_ACCESS_PLATFORM: "VIRTIO_F_ACCESS_PLATFORM",
    VIRTIO_F_RING_PACKED: "VIRTIO_F_RING_PACKED",
    VIRTIO_F_IN_ORDER: "VIRTIO_F_IN_ORDER",
    VIRTIO_F_ORDER_PLATFORM: "VIRTIO_F_ORDER_PLATFORM",
    VIRTIO_F_SR_IOV: "VIRTIO_F_SR_IOV",
    VIRTIO_F_RING_RESET: "VIRTIO_F_RING_RESET",
    VHOST_F_LOG_ALL: "VHOST_F_LOG_ALL",
  } as const;
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_config.h>
    #include <linux/virtio_ring.h>
    #include <linux/vhost.h>
    int main(void) { ${
    Object.entries(names).map(([ours, theirs]) => `printf("${ours} %d\\n", ${theirs});`).join("\n")
  } return 0; }`);
  const expected = Object.keys(names).map((name) =>
    `${name} ${features[name as keyof typeof names]}\n`
  );
  assertEquals(printed, expected.join(""));
});

Deno.test("register offsets are those of <linux/virtio_mmio.h>", async () => {
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_mmio.h>
    int main(void) {
      ${
    ACCESS.map(([kernel, name]) => `printf("${name} %d\\n", VIRTIO_MMIO_${kernel});`).join("\n")
  }
      printf("config %d\\n", VIRTIO_MMIO_CONFIG);
      printf("interrupts %d %d\\n", VIRTIO_MMIO_INT_VRING, VIRTIO_MMIO_INT_CONFIG);
      return 0;
    }`);
  const offsets = new Map(REGISTERS.map(({ name, offset }) => [name, offset]));
  const expected = ACCESS.map(([, name]) => `${name} ${offsets.get(name)}\n`).join("");
  const interrupts = `interrupts ${INTERRUPT_USED_BUFFER} ${INTERRUPT_CONFIG_CHANGE}\n`;
  assertEquals(printed, `${expected}config ${CONFIG_OFFSET}\n${interrupts}`);
  assertEquals(offsets.get(QUEUE_RESET.name), QUEUE_RESET.offset);
  assertEquals(REGISTERS.length, ACCESS.length + 1);
});

Deno.test("status bits are those of <linux/virtio_config.h>", async () => {
  const bits = ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK", "FEATURES_OK", "NEEDS_RESET", "FAILED"];
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_config.h>
    int main(void) { ${
    bits.map((name) => `printf("%d ", VIRTIO_CONFIG_S_${name});`).join("\n")
  } return 0; }`);
  const ours = [
    STATUS_ACKNOWLEDGE,
    STATUS_DRIVER,
    STATUS_DRIVER_OK,
    STATUS_FEATURES_OK,
    STATUS_DEVICE_NEEDS_RESET,
    STATUS_FAILED,
  ];
  assertEquals(printed, ours.map((n) => `${n} `).join(""));
});

/** Prints the layout of rings of all sizes and alignments. */
const LAYOUTS = `
    #include <stddef.h>
    #include <stdio.h>
    #include <string.h>
    #include <linux/virtio_ring.h>
    #define AT(s, f) (int) offsetof(struct s, f)
    int main(void) {
      int sizes[] = { ${SIZES} }, aligns[] = { ${ALIGNS} };
      printf("%d %d %d\\n", VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_DESC_F_INDIRECT);
      printf("%d %d\\n", VRING_AVAIL_F_NO_INTERRUPT, VRING_USED_F_NO_NOTIFY);
      printf("%d %d %d %d %d\\n", (int) sizeof(struct vring_desc), AT(vring_desc, addr),
             AT(vring_desc, len), AT(vring_desc, flags), AT(vring_desc, next));
      printf("%d %d %d\\n", AT(vring_avail, flags), AT(vring_avail, idx), AT(vring_avail, ring));
      printf("%d %d %d %d %d\\n", AT(vring_used, flags), AT(vring_used, idx), AT(vring_used, ring),
             AT(vring_used_elem, len), (int) sizeof(struct vring_used_elem));
      for (int i = 0; i < ${SIZES.length}; i++)
        for (int j = 0; j < ${ALIGNS.length}; j++) {
          struct vring r;
          char *base = (char *) 0x10000;
          vring_init(&r, sizes[i], base, aligns[j]);
          printf("%ld %ld %ld %ld %ld\\n", (long) ((char *) r.avail - base),
                 (long) ((char *) r.used - base),
                 (long) ((char *) r.avail + 4 + 2 * (long) sizes[i] - base), // used_event
                 (long) ((char *) r.used + 4 + 8 * (long) sizes[i] - base),  // avail_event
                 (long) vring_size(sizes[i], aligns[j]));
        }
      return 0;
    }`;

Deno.test("the layout is that of <linux/virtio_ring.h>", async () => {
  const printed = await runC(LAYOUTS);
  const layouts = SIZES.flatMap((size) =>
    ALIGNS.map((align) => {
      const { avail, used, bytes } = ring.splitRingLayout(0x10000, size, align);
      const usedEvent = avail + ring.availBytes(size) - 2;
      const availEvent = used + ring.usedBytes(size) - 2;
      return [avail, used, usedEvent, availEvent, 0x10000 + bytes].map((n) => n - 0x10000);
    })
  );
  const expected = [
    [ring.VIRTQ_DESC_F_NEXT, ring.VIRTQ_DESC_F_WRITE, ring.VIRTQ_DESC_F_INDIRECT],
    [ring.VIRTQ_AVAIL_F_NO_INTERRUPT, ring.VIRTQ_USED_F_NO_NOTIFY],
    [ring.DESC_SIZE, 0, 8, 12, 14],
    [2 * FLAGS, 2 * IDX, 2 * AVAIL_RING],
    [2 * FLAGS, 2 * IDX, 4 * USED_RING, 4, 8],
    ...layouts,
  ];
  assertEquals(printed.trim().split("\n"), expected.map((row) => row.join(" ")));
});

Deno.test("eventPassed() agrees with vring_need_event of <linux/virtio_ring.h>", async () => {
  const random = randomNumbers(29);
  const edges = [0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff];
  const cases = edges.flatMap((event) => edges.flatMap((now) => edges.map((n) => [event, now, n])));
  for (let i = 0; i < 3000; i++) cases.push([random(0x10000), random(0x10000), random(0x10000)]);
  const printed = await runC(`
    #include <stdio.h>
    #include <linux/virtio_ring.h>
    static unsigned short cases[][3] = { ${cases.map((c) => `{${c}}`)} };
    int main(void) {
      for (int i = 0; i < ${cases.length}; i++)
        putchar('0' + vring_need_event(cases[i][0], cases[i][1], cases[i][1] - cases[i][2]));
      return 0;
    }`);
  const ours = cases.map(([event, now, count]) => eventPassed(event!, now!, count!) ? "1" : "0");
  assertEquals(ours.join(""), printed);
});
