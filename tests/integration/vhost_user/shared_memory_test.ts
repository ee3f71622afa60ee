// SPDX-License-Identifier: Apache-2.0
// A front-end's memory on huge pages, as QEMU has it with -mem-path /dev/hugepages.
import { assertEquals } from "@std/assert";
import { Fd } from "../../../ffi/mod.ts";
import { SharedMemory } from "../../../lib/vhost_user/shared_memory.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process } from "../../support/process.ts";

const O_RDWR = 2;
const HUGE = 2 ** 21;
const POOL = "/proc/sys/vm/nr_hugepages";

/** How many huge pages are in use. */
function taken(): number {
  const text = Deno.readTextFileSync("/proc/meminfo");
  const [total, free, reserved] = ["Total", "Free", "Rsvd"]
    .map((name) => Number(new RegExp(`^HugePages_${name}: +(\\d+)$`, "m").exec(text)?.[1] ?? 0));
  return total! - free! + reserved!;
}

/** Has the kernel keep more huge pages, if it may and can. @returns what gives them back, null if there are none */
function morePages(count: number): Disposable | null {
  const before = Number(Deno.readTextFileSync(POOL));
  const give = () => Deno.writeTextFileSync(POOL, `${before}`);
  try {
    Deno.writeTextFileSync(POOL, `${before + count}`);
  } catch {
    return null;
  }
  if (Number(Deno.readTextFileSync(POOL)) >= before + count) return { [Symbol.dispose]: give };
  give();
  return null;
}

Deno.test("regions anywhere in a file of huge pages are mapped, and unmapped wholly", async () => {
  using pages = morePages(3);
  if (pages === null) return; // an ordinary user, or no memory in one piece: pagesAround() has a test of its own
  const script = "import os; fd = os.memfd_create('huge', os.MFD_HUGETLB); " +
    `os.ftruncate(fd, ${3 * HUGE}); print(fd, flush=True); import time; time.sleep(600)`;
  await using owner = Process.start("python3", ["-c", script]);
  await owner.until(() => owner.stdout.includes("\n"), "the memory");
  const before = taken();
  for (let life = 0; life < 3; life++) {
    await withoutLeaks(() => {
      const fds = [0, 1].map(() => Fd.open(`/proc/${owner.pid}/fd/${owner.stdout.trim()}`, O_RDWR));
      const regions = [
        { guest: 0n, size: BigInt(HUGE / 2), user: 0n, offset: 0n },
        {
          guest: BigInt(HUGE),
          size: BigInt(HUGE + 4096),
          user: BigInt(HUGE),
          offset: BigInt(HUGE / 2),
        },
      ];
      {
        using shared = SharedMemory.map(regions, fds);
        const [first, second] = shared.memory.regions;
        assertEquals([first!.u8.length, second!.u8.length], [HUGE / 2, HUGE + 4096]);
        if (life > 0) assertEquals([first!.u8[7], second!.u8[9]], [life, life]);
        first!.u8[7] = second!.u8[9] = life + 1;
        second!.u8[HUGE + 4095] = 1;
      }
      for (const fd of fds) fd.close();
    });
  }
  const maps = Deno.readTextFileSync("/proc/self/maps");
  assertEquals(maps.includes("/memfd:huge"), false, maps);
  await owner.stop();
  assertEquals(taken(), before);
});
