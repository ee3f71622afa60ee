// SPDX-License-Identifier: Apache-2.0
/**
 * How long reads of a disk take, beside QEMU's where that is installed. The file is in the host's cache: what is measured is the
 * device and the way to it, not the medium.
 *
 * @module
 */
import type { MeasureOptions } from "../../lib/classes/block/measure.ts";
import { block } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { attach, type Attachment } from "../support/attachment.ts";
import { TempFolder } from "../support/process.ts";
import { interleaved, median } from "../support/statistics.ts";
import { startStorageDaemon, storageDaemonVersion } from "../support/storage_daemon.ts";
import type { Figure, Group } from "./figures.ts";

const ROUNDS = 5;
const FILE_BYTES = 64 * 2 ** 20;
/** Half of the peer's speed. */
const GOAL = 2;
/** Isolated memory, against direct. */
const ISOLATED_GOAL = 1.3;

const WORKLOADS: Record<string, Omit<MeasureOptions, "sectors">> = {
  "4 KiB random, depth 1": { bytes: 4096, depth: 1, requests: 500, sequential: false },
  "4 KiB random, depth 32": { bytes: 4096, depth: 32, requests: 2500, sequential: false },
  "128 KiB sequential, depth 8": { bytes: 131072, depth: 8, requests: 500, sequential: true },
};

const MEMORIES = ["isolated", "direct"] as const;
type Peer = "viola" | "qemu";
type Case = `${Peer}, ${typeof MEMORIES[number]}`;

async function attachDisk(
  stack: AsyncDisposableStack,
  peer: Peer,
  memory: typeof MEMORIES[number],
): Promise<Attachment<"block">> {
  const folder = stack.use(await TempFolder.create());
  const file = folder.file("disk");
  Deno.writeFileSync(file, crypto.getRandomValues(new Uint8Array(65536)));
  Deno.truncateSync(file, FILE_BYTES);
  const socket = folder.file("qsd");
  if (peer === "viola") stack.use(await startDevice(block, { socket, file }));
  else stack.use(await startStorageDaemon(folder.path, file));
  return stack.use(await attach({ kind: "block", socket, memory, mmioVersion: 2 }));
}

/** Reads, in µs of each; all cases in turn. */
export async function measureDisks(): Promise<Group[]> {
  await using stack = new AsyncDisposableStack();
  const peers: Peer[] = storageDaemonVersion() === "" ? ["viola"] : ["viola", "qemu"];
  const disks = new Map<Case, Attachment<"block">>();
  for (const peer of peers) {
    for (const memory of MEMORIES) {
      disks.set(`${peer}, ${memory}`, await attachDisk(stack, peer, memory));
    }
  }
  const groups: Group[] = [];
  for (const [title, workload] of Object.entries(WORKLOADS)) {
    const options = { ...workload, sectors: FILE_BYTES / 512 };
    const cases = [...disks].map(([name, { guest }]) => [name, async () => {
      const ns = await guest.call("measureReads", options);
      return [ns / 1000 / options.requests];
    }]);
    for (const { guest } of disks.values()) await guest.call("measureReads", options); // warms up
    const taken = await interleaved<Case>(ROUNDS, Object.fromEntries(cases));
    groups.push({ title: `disk read, ${title}`, figures: figuresOf(taken) });
  }
  return groups;
}

function figuresOf(taken: Record<Case, ArrayLike<number>[]>): Figure[] {
  const of = (name: Case): number[] => taken[name].map((round) => round[0]!);
  const ratio = (a: Case, b: Case): number => median(of(a).map((us, i) => us / of(b)[i]!));
  const names = Object.keys(taken) as Case[];
  const figures: Figure[] = names.map((name) => ({ name, value: median(of(name)), unit: "µs" }));
  figures.push({
    name: "viola, isolated ÷ direct",
    value: ratio("viola, isolated", "viola, direct"),
    unit: "×",
    goal: ISOLATED_GOAL,
  });
  if (!names.includes("qemu, isolated")) {
    const reference = "qemu-storage-daemon is not installed (qemu-system-common)";
    return figures.map((figure) => ({ ...figure, reference }));
  }
  for (const memory of MEMORIES) {
    figures.push({
      name: `viola ÷ qemu-storage-daemon, ${memory}`,
      value: ratio(`viola, ${memory}`, `qemu, ${memory}`),
      unit: "×",
      goal: GOAL,
    });
  }
  return figures;
}
