// SPDX-License-Identifier: Apache-2.0
// A console's process dies again and again while its driver writes: nothing that it took is lost.
import { assert, assertEquals } from "@std/assert";
import { console } from "../../../../lib/classes/mod.ts";
import { startGuest } from "../../../../lib/guest/mod.ts";
import { WholeChain } from "../../chain/chain.ts";
import { DeviceProcess } from "../../chain/device_process.ts";
import { until } from "../../../support/process.ts";

const KILLS = 3;
/** Chains that must be taken between two kills: the console was there and worked. */
const CHAINS = 20;
const PROBE_MS = 60_000;

/** What the driver writes in one chain: it tells which, and no two are alike. */
function chainOf(number: number): string {
  return `${`${number} `.repeat(1 + 37 * number % 300)}\n`;
}

/**
 * Reads what a console has written.
 *
 * @returns how many chains there are, and how many were begun again
 * @throws {Error} where one is missing, or anything else is there
 */
function checked(text: string): { chains: number; again: number } {
  let [chains, again] = [0, 0];
  for (let at = 0; at < text.length;) {
    const [last, next] = [chainOf(Math.max(chains - 1, 0)), chainOf(chains)];
    let length = 0;
    while (length < next.length && text[at + length] === next[length]) length++;
    if (length === next.length) chains++;
    else if (chains > 0 && text.startsWith(last, at)) [length, again] = [last.length, again + 1];
    else if (text.startsWith(next, at + length)) again++; // it was written in part
    else throw new Error(`after chain ${chains - 1}: ${text.slice(at, at + 60)}`);
    at += length;
  }
  return { chains, again };
}

Deno.test("what a console has written is checked chain by chain", () => {
  const chain = chainOf;
  assertEquals(checked(chain(0) + chain(1)), { chains: 2, again: 0 });
  assertEquals(checked(chain(0) + chain(0) + chain(1)), { chains: 2, again: 1 });
  assertEquals(checked(chain(0) + chain(1).slice(0, 9) + chain(1)), { chains: 2, again: 1 });
  for (const text of [chain(0) + chain(2), chain(1), `${chain(0)}x`]) {
    const failed = ((): boolean => {
      try {
        return checked(text) === null;
      } catch {
        return true;
      }
    })();
    assert(failed, text.slice(0, 60));
  }
});

for (const memory of ["isolated", "direct"] as const) {
  Deno.test(`a console killed ${KILLS} times under load loses nothing, ${memory} memory`, async () => {
    await using chain = await WholeChain.create();
    const output = chain.file("output");
    const args = ["console", "--socket", chain.file("socket"), "--console", "stdio"];
    const device = chain.use(DeviceProcess.start(args, output));
    const node = chain.node("node");
    chain.add({ class: "console", memory, mmioVersion: 2 });
    const patience = { controlTimeoutMs: 60_000, stallTimeoutMs: 60_000 };
    const guest = chain.useGuest(await startGuest(console, node.wires, patience));
    await guest.probe(PROBE_MS);
    let [written, isOver] = [0, false];
    const writing = (async () => {
      for (; !isOver; written++) {
        await guest.call("write", 0, new TextEncoder().encode(chainOf(written)));
      }
    })();
    writing.catch(() => {}); // it is awaited below
    for (let kill = 0; kill <= KILLS; kill++) {
      const before = written;
      await until(() => written >= before + CHAINS, `${CHAINS} chains after ${kill} kills`);
      if (kill < KILLS) await device.killAndRestart();
    }
    isOver = true;
    await writing;
    const { chains, again } = checked(await Deno.readTextFile(output));
    assertEquals(chains, written);
    assert(again <= KILLS, `${again} chains were written again after ${KILLS} kills`);
    await guest.unbind();
  });
}
