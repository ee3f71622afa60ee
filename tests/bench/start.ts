// SPDX-License-Identifier: Apache-2.0
/**
 * `viola attach` as a process: how soon it plays, and what it takes.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { sound } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { RATE, writeNumbered } from "../integration/real/numbered.ts";
import { Process, TempFolder } from "../support/process.ts";
import { median } from "../support/statistics.ts";
import type { Group } from "./figures.ts";

const ROUNDS = 9;
const START_GOAL_MS = 250;
const MEMORY_GOAL_MB = 150;
const CARDS = 2;
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;

/** Milliseconds since its runtime was up (some 20 ms after the start), since the start, and resident MB while it plays. */
interface Run {
  open: number;
  joined: number;
  firstSample: number;
  resident: number;
}

/** Starts the adapter from source, a few times. */
export async function measureStart(): Promise<Group[]> {
  await using folder = await TempFolder.create();
  const file = folder.file("sound.wav");
  writeNumbered(file, RATE / 2);
  const runs: Run[] = [];
  for (let round = 0; round < ROUNDS; round++) runs.push(await runOnce(file));
  const of = (key: keyof Run) => median(runs.map((run) => run[key]));
  return [{
    title: `viola attach, ${CARDS} sound cards, from source`,
    figures: [
      { name: "Deno is up → loopback devices open", value: of("open"), unit: "ms" },
      { name: "Deno is up → drivers and devices joined", value: of("joined"), unit: "ms" },
      {
        name: "process start → first sample at each",
        value: of("firstSample"),
        unit: "ms",
        goal: START_GOAL_MS,
      },
      {
        name: "resident memory while playing",
        value: of("resident"),
        unit: "MB",
        goal: MEMORY_GOAL_MB,
      },
    ],
  }];
}

/** Devices and drivers are there and wait; then the adapter starts. */
async function runOnce(file: string): Promise<Run> {
  await using stack = new AsyncDisposableStack();
  const reactor = stack.use(new Reactor());
  const folder = stack.use(await TempFolder.create());
  const cards = Array.from({ length: CARDS }, (_, i) => ({
    socket: folder.file(`device${i}`),
    node: folder.file(`node${i}`),
    heard: Promise.withResolvers<number>(),
  }));
  const guests = await Promise.all(cards.map(async ({ socket, node: path, heard }) => {
    // Samples are handed on as they come, and not held for as long as they last.
    stack.use(
      await startDevice(sound, { socket, sinks: ["null"], pace: "free" }, {
        onEvent: ({ kind }) => kind === "position" && heard.resolve(performance.now()),
      }),
    );
    const node = stack.use(new SoftNode());
    node.listen(path, reactor);
    return stack.use(await startGuest(sound, node.wires));
  }));
  const playing = guests.map(async (guest) => {
    await guest.probe();
    return guest.call("play", { file });
  });
  const options = cards.flatMap(({ socket, node }) => [
    ...["--socket", socket],
    ...["--loopback", `soft:${node}`],
  ]);
  const args = ["run", "-A", "--no-prompt", MAIN, "attach", ...cards.map(() => "sound")];
  const start = performance.now();
  const adapter = stack.use(Process.start(Deno.execPath(), [...args, ...options, "--json"]));
  const firstSample = Math.max(...await Promise.all(cards.map(({ heard }) => heard.promise)));
  const resident = residentMegabytes(adapter.pid);
  await Promise.all(playing);
  return {
    open: lastOf(adapter, "started"),
    joined: lastOf(adapter, "running"),
    firstSample: firstSample - start,
    resident,
  };
}

/** When the last card reported an event, in milliseconds of the adapter's life. */
function lastOf(adapter: Process, event: string): number {
  const facts = adapter.stdout.split("\n").filter((line) => line !== "").map((l) => JSON.parse(l));
  return Math.max(...facts.filter((fact) => fact.event === event).map((fact) => fact.ms));
}

function residentMegabytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(status.match(/^VmRSS:\s*(\d+) kB/m)![1]) * 1024 / 1e6;
}
