// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertThrows } from "@std/assert";
import { RingError } from "../../lib/virtio/error.ts";
import { GuestMemory } from "../../lib/virtio/memory.ts";
import {
  AVAIL_RING,
  eventPassed,
  FLAGS,
  IDX,
  RingParts,
  USED_RING,
} from "../../lib/virtio/ring_layout.ts";
import * as ring from "../../lib/virtio/split_ring.ts";
import { GUEST, randomNumbers, RawRing } from "./ring_fixture.ts";
import { runC } from "./run_c.ts";

const SIZES = [1, 2, 4, 64, 256, 1024, 32768];
const ALIGNS = [4, 64, 4096, 65536];

Deno.test("the layout is that of <linux/virtio_ring.h>", async () => {
  const printed = await runC(`
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
    }`);
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

Deno.test("splitRingLayout() places a version 1 queue of 64 as Linux does", () => {
  assertEquals(ring.splitRingLayout(0x4000_0000, 64, 4096), {
    desc: 0x4000_0000,
    avail: 0x4000_0400,
    used: 0x4000_1000,
    bytes: 0x1206,
  });
});

Deno.test("a queue is set up only where one can be", () => {
  const { memory, layout } = new RawRing(8);
  const refused: [wrong: Partial<typeof layout>, why: string][] = [
    [{ size: 0 }, "its size is 0, expected a power of 2 of at most 32768"],
    [{ size: 3 }, "its size is 3"],
    [{ size: 65536 }, "its size is 65536"],
    [{ size: -8 }, "its size is -8"],
    [{ size: NaN }, "its size is NaN"],
    [{ size: 1.5 }, "its size is 1.5"],
    [{ desc: GUEST + 8 }, "desc is at 0x140000008, expected a multiple of 16"],
    [{ avail: GUEST + 0x1001 }, "avail is at 0x140001001, expected a multiple of 2"],
    [{ used: GUEST + 0x2002 }, "used is at 0x140002002, expected a multiple of 4"],
    [{ desc: 0 }, "desc is at 0x0, expected 128 bytes inside memory"],
    [{ desc: GUEST + 0xff90 }, "desc is at 0x14000ff90, expected 128 bytes inside memory"],
    [{ avail: GUEST + 0xffec }, "avail is at 0x14000ffec, expected 22 bytes inside memory"],
    [{ used: GUEST + 0xffbc }, "used is at 0x14000ffbc, expected 70 bytes inside memory"],
    [{ used: 2 ** 53 }, "used is at 0x20000000000000, expected 70 bytes inside memory"],
  ];
  for (const [wrong, why] of refused) {
    const text = `Cannot set up queue 3 of card0: ${why}`;
    assertThrows(() => new RingParts(memory, { ...layout, ...wrong }, "card0"), RingError, text);
  }
  const last = { desc: GUEST + 0xff80, avail: GUEST + 0xffea, used: GUEST + 0xffb8 };
  new RingParts(memory, { ...layout, ...last }, "card0"); // Ends with memory: no harm.
});

Deno.test("the parts of a queue may lie in different regions", () => {
  const parts = [0x1000, 0x2000, 0x3000].map((guest) => ({ guest, buffer: new ArrayBuffer(4096) }));
  const memory = new GuestMemory(parts);
  const layout = { index: 0, size: 256, desc: 0x1000, avail: 0x2000, used: 0x3000 };
  const driver = new ring.DriverRing(memory, layout, new RawRing(1).options(), 0x0102);
  driver.writeDescriptor(255, 0x3000, 1, 0, 0);
  const bytes = parts.map(({ buffer }) => new Uint8Array(buffer));
  assertEquals(bytes.map((b) => b.subarray(0, 4).toHex()), ["00000000", "00000201", "00000201"]);
  assertEquals(bytes[0]!.subarray(4080).toHex(), "00300000000000000100000000000000");
});
