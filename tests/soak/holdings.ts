// SPDX-License-Identifier: Apache-2.0
/**
 * What a process holds, and whether that grows.
 *
 * @module
 */

/**
 * How many descriptors and mappings of memory files a process has, and MiB of memory of its own. What it has touched of
 * memory that is shared does not count: a driver's memory grows as the driver uses it.
 */
export interface Holdings {
  readonly descriptors: number;
  readonly mappings: number;
  readonly memory: number;
}

/** What a device takes while it has a back-end: at each moment others of the peers have one. */
const DESCRIPTOR_SLACK = 12;
const MAPPING_SLACK = 3;
/** MiB by which memory may differ between two moments of a process: garbage, and compiled code. */
const MEMORY_SLACK = 16;

/** @throws {Deno.errors.NotFound} when there is no such process */
export function holdingsOf(pid: number): Holdings {
  const descriptors = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  const mappings = Deno.readTextFileSync(`/proc/${pid}/maps`).split("/memfd:").length - 1;
  const [, kib] = /^Pss_Anon:\s+(\d+) kB/m.exec(
    Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`),
  )!;
  return { descriptors, mappings, memory: Number(kib) / 1024 };
}

/** What is more than it was, in words; empty when nothing is. */
export function growthOf(before: Holdings, now: Holdings): string {
  const more: string[] = [];
  if (now.descriptors > before.descriptors + DESCRIPTOR_SLACK) {
    more.push(`${now.descriptors} descriptors, ${before.descriptors} before`);
  }
  if (now.mappings > before.mappings + MAPPING_SLACK) {
    more.push(`${now.mappings} mappings of memory files, ${before.mappings} before`);
  }
  if (now.memory > before.memory + MEMORY_SLACK) {
    more.push(`${now.memory.toFixed(1)} MiB of memory, ${before.memory.toFixed(1)} before`);
  }
  return more.join("; ");
}
