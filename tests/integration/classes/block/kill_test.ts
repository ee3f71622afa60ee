// SPDX-License-Identifier: Apache-2.0
// The device's process dies again and again while a driver writes and reads: nothing that was answered is lost.
import { assert, assertEquals } from "@std/assert";
import { faultOf, HAMMER_BLOCK } from "../../../../lib/classes/block/hammer.ts";
import { until } from "../../../support/process.ts";
import { seeded } from "../../../support/random.ts";
import { DiskChain } from "./disk_chain.ts";

const KILLS = 10;
const BLOCKS = 512;
const PROBE_MS = 60_000;
/** Writes that must be answered between two kills: the device was there and worked. */
const WRITES = 50;

const delay = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

for (const memory of ["isolated", "direct"] as const) {
  for (const cache of ["writeback", "writethrough"] as const) {
    Deno.test(`a disk killed ${KILLS} times under load loses nothing, ${memory}, ${cache}`, async () => {
      const args = ["--queues", "2", "--cache", cache];
      await using chain = await DiskChain.create(memory, BLOCKS * HAMMER_BLOCK, args);
      const { guest, device, file } = chain;
      const { queues } = await guest.probe(PROBE_MS);
      assertEquals(queues, 2);
      const draws = seeded();
      const options = { blocks: BLOCKS, depth: 16, requests: Infinity, seed: draws.word() };
      let failure: Error | null = null;
      const running = guest.call("hammer", options);
      running.catch((error: Error) => failure = error);
      for (let kill = 0; kill < KILLS; kill++) {
        const { writes } = guest.progress;
        await until(
          () => failure !== null || guest.progress.writes >= writes + WRITES,
          `${WRITES} writes after ${kill} kills`,
        ).catch((error) => Promise.reject(new Error(`${error.message}\n${chain.report()}`)));
        if (failure !== null) break;
        await delay(draws.number(20));
        await device.killAndRestart();
      }
      const { writes } = guest.progress;
      await until(() => failure !== null || guest.progress.writes >= writes + WRITES, "the end");
      await guest.stop();
      const { generations } = await running.catch((error) =>
        Promise.reject(new Error(`${error.message}\n${chain.report()}`))
      );
      assert(generations.some((generation) => generation > 1));
      await guest.call("flush");
      const bytes = await Deno.readFile(file);
      generations.forEach((generation, block) => {
        const data = bytes.subarray(block * HAMMER_BLOCK, (block + 1) * HAMMER_BLOCK);
        assertEquals(faultOf(data, block, generation), null);
      });
      const [counters] = chain.bridge.counters() as { losses: number }[];
      assert(counters!.losses >= KILLS, `${counters!.losses} losses`);
      await guest.unbind();
    });
  }
}
