// SPDX-License-Identifier: Apache-2.0
/**
 * What an executable of viola costs: how long it takes to start, and how much memory it then takes.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { sound } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { Process } from "../support/process.ts";
import { median } from "../support/statistics.ts";
import { isInstalled } from "./command.ts";
import type { Architecture } from "./denort.ts";

/** How often each is started: more often where a start takes milliseconds. */
const ROUNDS = { native: 15, emulated: 3 };
/** The longest a start may take, in milliseconds. */
const START_MS = 60_000;
/** How long an adapter is left alone before its memory is looked at, in milliseconds. */
const SETTLE_MS = 200;

/** Medians of one way to run viola. */
export interface Cost {
  name: string;
  /** `--version`, from start to end, in milliseconds. */
  version: number;
  /** The drop-in adapter with a back-end that is there, from start until it has opened its node, in milliseconds. */
  node: number;
  /** What that adapter then takes, in MiB; null under an emulator, whose own memory it would be. */
  resident: number | null;
}

/** What runs a program of another architecture: nothing for one of this machine's. */
export type Runner = readonly string[];

/** How programs of an architecture can be run here; null when they cannot. */
export async function runnerOf(architecture: Architecture): Promise<Runner | null> {
  if (architecture === Deno.build.arch) return [];
  const emulator = `qemu-${architecture}-static`;
  if (!await isInstalled(emulator)) return null;
  return [emulator, "-L", `/usr/${architecture}-linux-gnu`];
}

/**
 * Measures several ways to run viola, each in turn, so that what else the machine does meets them all alike.
 *
 * @param commands What starts viola, by name
 */
export async function measureCost(
  commands: Record<string, readonly string[]>,
  runner: Runner,
): Promise<Cost[]> {
  const isNative = runner.length === 0;
  const rows = Object.entries(commands).map(([name, command]) => ({
    name,
    command: [...runner, ...command],
    version: [] as number[],
    node: [] as number[],
    resident: [] as number[],
  }));
  for (let round = 0; round < (isNative ? ROUNDS.native : ROUNDS.emulated); round++) {
    for (const row of rows) {
      row.version.push(await timeVersion(row.command));
      const { ms, resident } = await timeAdapter(row.command);
      row.node.push(ms);
      row.resident.push(resident);
    }
  }
  return rows.map(({ name, version, node, resident }) => ({
    name,
    version: median(version),
    node: median(node),
    resident: isNative ? median(resident) : null,
  }));
}

async function timeVersion(command: readonly string[]): Promise<number> {
  const [program, ...args] = command as [string, ...string[]];
  const since = performance.now();
  const version = new Deno.Command(program, { args: [...args, "--version"], stderr: "piped" });
  const { success, stderr } = await version.output();
  if (success) return performance.now() - since;
  throw new Error(`Cannot measure ${command.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

async function timeAdapter(
  command: readonly string[],
): Promise<{ ms: number; resident: number }> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const reactor = stack.use(new Reactor());
  const node = stack.use(new SoftNode());
  node.listen(`${folder}/node`, reactor);
  const socket = `${folder}/socket`;
  stack.use(await startDevice(sound, { socket, sinks: ["null"] }));
  const since = performance.now();
  const options = ["-d", "vhusnd", "-s", socket, "-l", `soft:${folder}/node`];
  const [program, ...args] = command as [string, ...string[]];
  const adapter = stack.use(Process.start(program, [...args, ...options]));
  while (!node.isOpen && adapter.status === null && performance.now() - since < START_MS) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const ms = performance.now() - since;
  if (!node.isOpen) throw new Error(`Cannot measure: no node is opened, ${adapter.report()}`);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const status = Deno.readTextFileSync(`/proc/${adapter.pid}/status`);
  return { ms, resident: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024 };
}

/** What is printed: the executable's size, and a line for each way to run viola. */
export function costText(
  executable: string,
  size: number,
  costs: readonly Cost[],
  runner: Runner | null,
): string {
  const head = `${executable}: ${(size / 2 ** 20).toFixed(1)} MiB`;
  if (runner === null) return `${head}\nstart and memory: deno task target --bench`;
  const rows = costs.map(({ name, version, node, resident }) => [
    name,
    `${version.toFixed(0)} ms`,
    `${node.toFixed(0)} ms`,
    resident === null ? "-" : `${resident.toFixed(0)} MiB`,
  ]);
  const under = runner.length === 0 ? "start (median)" : `under ${runner[0]}`;
  const table = [[under, "--version", "node open", "resident"], ...rows];
  const line = ([name, ...cells]: string[]) =>
    name!.padEnd(24) + cells.map((cell) => cell.padStart(12)).join("");
  return [head, ...table.map(line)].join("\n");
}
