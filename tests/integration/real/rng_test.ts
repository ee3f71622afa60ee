// SPDX-License-Identifier: Apache-2.0
// rust-vmm's vhost-device-rng, attached: entropy comes through the whole chain.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { attach } from "../../support/attachment.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { Process, TempFolder } from "../../support/process.ts";
import { daemonPath } from "../../support/needs.ts";

/** Starts the daemon. It appends a number to the path that it is given. @returns with it, where it will listen */
function startDaemon(folder: TempFolder, source: string): [Process, string] {
  const path = folder.file("rng");
  const args = ["--socket-path", path, "--rng-source", source];
  return [Process.start(daemonPath("vhost-device-rng"), args), `${path}0`];
}

for (const memory of ["isolated", "direct"] as const) {
  for (const mmioVersion of [1, 2] as const) {
    Deno.test(`vhost-device-rng gives entropy, ${memory}, virtio-mmio ${mmioVersion}`, async () => {
      await withoutLeaks(async () => {
        await using folder = await TempFolder.create();
        const [daemon, socket] = startDaemon(folder, "/dev/urandom");
        await using _daemon = daemon;
        await using attachment = await attach({ kind: "rng", socket, memory, mmioVersion });
        const first = await attachment.guest.call("readEntropy", 4096);
        const second = await attachment.guest.call("readEntropy", 4096);
        assertNotEquals(first, second);
        for (const bytes of [first, second]) {
          // 4096 random bytes hold all but a handful of the 256 values; less than 200 is impossible in practice.
          assert(new Set(bytes).size > 200, `${new Set(bytes).size} different bytes`);
        }
      });
    });
  }

  Deno.test(`vhost-device-rng's bytes arrive as they are, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      const source = folder.file("source");
      const bytes = Uint8Array.from({ length: 1 << 16 }, (_, i) => (i >> 8) ^ i);
      await Deno.writeFile(source, bytes);
      const [daemon, socket] = startDaemon(folder, source);
      await using _daemon = daemon;
      await using attachment = await attach({ kind: "rng", socket, memory });
      const read = await attachment.guest.call("readEntropy", 10_000);
      assertEquals(read, bytes.subarray(0, read.length));
    });
  });

  Deno.test(`vhost-device-rng serves the driver after its reset, ${memory}`, async () => {
    await withoutLeaks(async () => {
      await using folder = await TempFolder.create();
      const [daemon, socket] = startDaemon(folder, "/dev/urandom");
      await using _daemon = daemon;
      await using attachment = await attach({ kind: "rng", socket, memory });
      for (let life = 0; life < 3; life++) {
        assert(new Set(await attachment.guest.call("readEntropy", 1000)).size > 100);
        await attachment.guest.reset();
        await attachment.guest.probe();
      }
      assert(new Set(await attachment.guest.call("readEntropy", 1000)).size > 100);
      assertEquals(attachment.events.filter(({ kind }) => kind === "lost"), []);
    });
  });
}

// In isolated memory only: made with vhost-user-backend 0.10, it takes the available index from SET_VRING_BASE and
// begins its used index at 0, which is true of a ring of viola's own but not of the driver's.
Deno.test("vhost-device-rng killed and started again serves the driver", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const [first, socket] = startDaemon(folder, "/dev/zero");
    await using _first = first;
    await using attachment = await attach({ kind: "rng", socket });
    assertEquals(await attachment.guest.call("readEntropy", 1000), new Uint8Array(1000));
    await first.stop("SIGKILL");
    const reading = attachment.guest.call("readEntropy", 1000);
    const [second] = startDaemon(folder, "/dev/urandom");
    await using _second = second;
    // One buffer at most came from the first.
    assert(new Set((await reading).subarray(64)).size > 100);
    assertEquals(attachment.events.filter(({ kind }) => kind === "resumed").length, 1);
  });
});
