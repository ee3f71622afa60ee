// SPDX-License-Identifier: Apache-2.0
/**
 * Whether a process sleeps: how often each of its threads was woken up, as the kernel counts it.
 *
 * @module
 */
import { turn } from "./fake_time.ts";
import type { Process } from "./process.ts";

/** By thread id: how often the thread has given up a CPU, which it does once for each time it was woken up. */
export function switchesOf(pid: number): Map<string, number> {
  const switches = new Map<string, number>();
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    try {
      const status = Deno.readTextFileSync(`/proc/${pid}/task/${name}/status`);
      const counts = [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)$/gm)];
      switches.set(name, counts.reduce((sum, [, count]) => sum + Number(count), 0));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // it ended just now
    }
  }
  return switches;
}

/**
 * Waits until no thread of a process ran for a while. V8 collects garbage a few times in the half minute after the last
 * work, and its threads end when they have long had none: a process that is woken up periodically is never found asleep.
 *
 * @param ms How long none may run; more than the period of whatever may wake it up
 * @throws {Error} when that is not so within a minute, with the threads that ran last
 */
export async function untilAsleep(process: Process, ms: number): Promise<void> {
  let woken: string[] = [];
  const sleeps = async (): Promise<boolean> => {
    const before = switchesOf(process.pid);
    await turn(ms);
    const now = switchesOf(process.pid);
    woken = [...now].filter(([thread, count]) => count !== before.get(thread)).map(([thread]) =>
      `${thread} (${now.get(thread)! - (before.get(thread) ?? 0)} times)`
    );
    return woken.length === 0;
  };
  await process.until(sleeps, `${process.name} to sleep for ${ms} ms`, 60_000).catch((error) => {
    throw new Error(`${error.message}\nwoken up last: ${woken.join(", ")}`);
  });
}
