// SPDX-License-Identifier: Apache-2.0
/**
 * What each further device costs a `viola attach`: memory and threads, with a driver that has used it.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { rng } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { Process, TempFolder } from "../support/process.ts";
import { median } from "../support/statistics.ts";
import type { Group } from "./figures.ts";

const ROUNDS = 3;
const FEW = 1;
const MANY = 16;
const MEMORY_GOAL_MB = 1;
const THREADS_GOAL = 0;
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;

/** What a process has. */
interface Holdings {
  /** Memory that is its own: MB. */
  memory: number;
  threads: number;
}

/** Attaches few devices and many, in turn. */
export async function measureDevices(): Promise<Group[]> {
  const [memory, threads]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    const [few, many] = [await holdingsOf(FEW), await holdingsOf(MANY)];
    memory.push((many.memory - few.memory) / (MANY - FEW));
    threads.push((many.threads - few.threads) / (MANY - FEW));
  }
  return [{
    title: `viola attach, each of ${MANY - FEW} further devices of entropy, isolated memory`,
    figures: [
      { name: "memory of its own", value: median(memory), unit: "MB", goal: MEMORY_GOAL_MB },
      { name: "threads", value: Math.round(median(threads)), unit: "", goal: THREADS_GOAL },
    ],
  }];
}

/** What the process has that serves so many devices, when each was used. */
async function holdingsOf(count: number): Promise<Holdings> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await TempFolder.create());
  const reactor = stack.use(new Reactor());
  const numbers = Array.from({ length: count }, (_, i) => i);
  const nodes = numbers.map((i) => {
    const node = stack.use(new SoftNode());
    node.listen(folder.file(`node${i}`), reactor);
    return node;
  });
  for (const i of numbers) stack.use(await startDevice(rng, { socket: folder.file(`socket${i}`) }));
  const args = numbers.flatMap((i) => [
    ...["--socket", folder.file(`socket${i}`)],
    ...["--loopback", `soft:${folder.file(`node${i}`)}`],
  ]);
  const command = ["run", "-A", "--no-prompt", "--no-check", MAIN, "attach"];
  const viola = stack.use(
    Process.start(Deno.execPath(), [...command, ...numbers.map(() => "rng"), ...args]),
  );
  for (const node of nodes) {
    const guest = stack.use(await startGuest(rng, node.wires));
    await guest.probe(20_000);
    await guest.exercise();
  }
  return holdings(viola.pid);
}

/** Of its mappings the pages that no other process has, and its threads. */
function holdings(pid: number): Holdings {
  const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  const own = ["Private_Clean", "Private_Dirty"].map((name) =>
    Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(rollup)![1])
  );
  const threads = [...Deno.readDirSync(`/proc/${pid}/task`)].length;
  return { memory: own.reduce((sum, kB) => sum + kB, 0) / 1024, threads };
}
