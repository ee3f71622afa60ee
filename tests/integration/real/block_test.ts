// SPDX-License-Identifier: Apache-2.0
// The software driver and a disk of QEMU's.
import { assert, assertEquals } from "@std/assert";
import { faultOf, HAMMER_BLOCK } from "../../../lib/classes/block/hammer.ts";
import { attach } from "../../support/attachment.ts";
import { TempFolder } from "../../support/process.ts";
import { seeded } from "../../support/random.ts";
import { startStorageDaemon } from "../../support/storage_daemon.ts";

const BLOCKS = 256;

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(
    `a disk of qemu-storage-daemon with two queues is written, read and verified, ${memory}`,
    async () => {
      await using folder = await TempFolder.create();
      const file = folder.file("disk");
      Deno.writeFileSync(file, new Uint8Array(BLOCKS * HAMMER_BLOCK));
      await using _daemon = await startStorageDaemon(folder.path, file, 2);
      await using attachment = await attach({
        kind: "block",
        socket: folder.file("qsd"),
        memory,
        mmioVersion: 2,
      });
      const { guest } = attachment;
      const options = { blocks: BLOCKS, depth: 16, requests: 3000, seed: seeded().word() };
      const { generations } = await guest.call("hammer", options);
      assert(generations.some((generation) => generation > 1));
      await guest.call("flush");
      await guest.call("discard", [{ sector: 0, sectors: 8, flags: 0 }]);
      await guest.call("writeZeroes", [{ sector: 8, sectors: 8, flags: 0 }]);
      assertEquals(await guest.call("readSectors", 8, 4096), new Uint8Array(4096));
      const bytes = Deno.readFileSync(file);
      for (let block = 2; block < BLOCKS; block++) {
        const data = bytes.subarray(block * HAMMER_BLOCK, (block + 1) * HAMMER_BLOCK);
        assertEquals(faultOf(data, block, generations[block]!), null);
      }
      await guest.unbind();
    },
  );
}
