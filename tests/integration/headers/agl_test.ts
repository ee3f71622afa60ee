// SPDX-License-Identifier: Apache-2.0
// The structures that the AGL driver shares, as a C compiler lays them out.
import { assertEquals } from "@std/assert";
import { AGL_RELEASES, PAGE_BYTES, PAGE_LAYOUT } from "../../../lib/loopback/mod.ts";
import { runC } from "./run_c.ts";

const SOURCE = `
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
struct page { uint64_t notification, data, size; bool read; int32_t done; };
struct efd_init { int32_t efd[2]; int32_t pid; };
struct identity { uint64_t magic, version, device_id, vendor; };
int main(void) {
  printf("{\\"notification\\":%zu,\\"data\\":%zu,\\"size\\":%zu,\\"read\\":%zu,\\"done\\":%zu,\\"bytes\\":%zu,",
    offsetof(struct page, notification), offsetof(struct page, data), offsetof(struct page, size),
    offsetof(struct page, read), offsetof(struct page, done), sizeof(struct page));
  printf("\\"EFD_INIT\\":%lu,\\"WAKEUP\\":%lu,\\"START_LOOPBACK\\":%lu,\\"IRQ\\":%lu,",
    (unsigned long)_IOW('k', 1, struct efd_init), (unsigned long)_IOC(_IOC_WRITE, 'k', 2, 0),
    (unsigned long)_IOW('k', 3, struct identity), (unsigned long)_IOW('k', 4, int32_t));
  printf("\\"SHARE_VQS\\":%lu,\\"SHARE_BUF\\":%lu,\\"SHARE_COM_STRUCT\\":%lu}",
    (unsigned long)_IOW('k', 5, uint32_t), (unsigned long)_IOW('k', 6, uint64_t),
    (unsigned long)_IOC(_IOC_WRITE, 'k', 7, 0));
}
`;

Deno.test("the AGL driver's page and ioctl numbers are the compiler's", async () => {
  const { bytes, ...c } = JSON.parse(await runC(SOURCE)) as Record<string, number>;
  const { notification, data, size, read, done } = PAGE_LAYOUT;
  assertEquals(bytes, PAGE_BYTES);
  for (const { requests } of Object.values(AGL_RELEASES)) {
    assertEquals({ notification, data, size, read, done, ...requests }, c);
  }
});
