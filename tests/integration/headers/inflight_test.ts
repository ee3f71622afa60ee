// SPDX-License-Identifier: Apache-2.0
// The in-flight memory of vhost-user, as the specification's C structures lay it out.
import { assertEquals } from "@std/assert";
import { inflightBlockBytes, InflightQueue } from "../../../lib/vhost_user/inflight.ts";
import { runC } from "./run_c.ts";

/** The specification's structures for a split ring ("Inflight I/O tracking"), field by field. */
const STRUCTURES = `
  #include <stdint.h>
  #include <stdio.h>
  struct state { uint8_t inflight; uint8_t padding[5]; uint16_t next; uint64_t counter; };
  struct region {
    uint64_t features;
    uint16_t version, desc_num, last_batch_head, used_idx;
    struct state desc[];
  };`;

Deno.test("a block has the size of the specification's structures, in multiples of 64", async () => {
  const sizes = [1, 2, 16, 64, 256, 1024];
  const printed = await runC(`${STRUCTURES}
    int main(void) {
      int sizes[] = { ${sizes.join(", ")} };
      for (int i = 0; i < ${sizes.length}; i++)
        printf("%zu ", (sizeof(struct region) + sizes[i] * sizeof(struct state) + 63) / 64 * 64);
      return 0;
    }`);
  assertEquals(printed.trim().split(" ").map(Number), sizes.map(inflightBlockBytes));
});

Deno.test("what a back-end in C has noted is read, and what is noted C reads the same", async () => {
  const printed = await runC(`${STRUCTURES}
    #include <stdlib.h>
    static void print(struct region *r, size_t size) {
      for (size_t i = 0; i < size; i++) printf("%02x", ((uint8_t *)r)[i]);
      printf("\\n");
    }
    int main(void) {
      size_t size = ${inflightBlockBytes(4)};
      struct region *r = calloc(1, size);
      r->version = 1; r->desc_num = 4; r->last_batch_head = 1; r->used_idx = 0x1233;
      r->desc[1].inflight = 1; r->desc[1].next = 7; r->desc[1].counter = 1;
      r->desc[0].inflight = 1; r->desc[0].counter = 0x100000002;
      r->desc[3].inflight = 1; r->desc[3].counter = 5;
      print(r, size);
      /* Head 1 was given back; then head 2 is taken, and head 3 is given back. */
      r->desc[1].inflight = 0;
      r->desc[2].inflight = 1; r->desc[2].counter = 0x100000003;
      r->desc[3].next = 1; r->last_batch_head = 3; r->desc[3].inflight = 0; r->used_idx = 0x1235;
      print(r, size);
      return 0;
    }`);
  const [before, after] = printed.trim().split("\n");
  const block = Uint8Array.fromHex(before!);
  const queue = new InflightQueue(block, 4, 4, 0x1234, "a queue");
  assertEquals(queue.heads, [3, 0]);
  queue.taken(2);
  queue.completing(3);
  queue.completed(3, 0x1235);
  assertEquals(block.toHex(), after);
});
