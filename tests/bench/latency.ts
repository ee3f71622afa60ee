// SPDX-License-Identifier: Apache-2.0
/**
 * How long the driver waits: for a register, and for a request.
 *
 * @module
 */
import { rng } from "../../lib/classes/mod.ts";
import { startDevice } from "../../lib/device/mod.ts";
import { daemonPath } from "../support/needs.ts";
import { attach, type Attachment } from "../support/attachment.ts";
import { socketsIn } from "../support/leaks.ts";
import { Process, TempFolder } from "../support/process.ts";
import { interleaved, median, summarise } from "../support/statistics.ts";
import type { Figure, Group } from "./figures.ts";
import { Asker } from "./floor.ts";

const ROUNDS = 9;
const ACCESSES = 5000;
const REQUESTS = 1000;
/** Requests before it is measured, for the compiler. */
const WARM_UP = 5000;
const ACCESS_GOAL = 1.5;

/** An entropy device of viola's own, attached. */
async function attachEmbedded(
  stack: AsyncDisposableStack,
  memory: "isolated" | "direct",
  cpus?: number[],
): Promise<Attachment<"rng">> {
  const folder = stack.use(await TempFolder.create());
  const socket = folder.file("rng");
  stack.use(await startDevice(rng, { socket }));
  const options = { kind: "rng", socket, memory } as const;
  return stack.use(await attach(cpus === undefined ? options : { ...options, cpus }));
}

/** rust-vmm's, attached. */
async function attachDaemon(
  stack: AsyncDisposableStack,
  memory: "isolated" | "direct",
): Promise<Attachment<"rng">> {
  const folder = stack.use(await TempFolder.create());
  const args = ["--socket-path", folder.file("rng")];
  const daemon = stack.use(Process.start(daemonPath("vhost-device-rng"), args));
  await daemon.until(() => socketsIn(folder.path).includes("rng0"), "its socket");
  return stack.use(await attach({ kind: "rng", socket: folder.file("rng0"), memory }));
}

/**
 * A register access, from doorbell to answer, against the same answered by C. Where the two threads run decides: on one
 * CPU it is the work that shows, on two the hardware's wake-up.
 */
export async function measureAccesses(): Promise<Group[]> {
  await using asker = await Asker.compile();
  const groups = [];
  for (const cpu of navigator.hardwareConcurrency > 1 ? [0, 1] : [0]) {
    await using stack = new AsyncDisposableStack();
    const { guest, node } = await attachEmbedded(stack, "isolated", [cpu]);
    await guest.measureAccess(WARM_UP);
    const taken = await interleaved(ROUNDS, {
      floor: () => asker.floor(ACCESSES, 0, cpu),
      viola: () => asker.ask(ACCESSES, 0, node.wires),
    });
    const ratios = taken.floor.map((floor, i) => median(taken.viola[i]!) / median(floor));
    const title = `register access, ${cpu === 0 ? "one CPU" : "two CPUs"}`;
    groups.push({
      title,
      figures: [
        microseconds("floor: C answers", taken.floor),
        microseconds("viola answers", taken.viola),
        { name: "viola ÷ floor", value: median(ratios), unit: "×", goal: ACCESS_GOAL } as const,
      ],
    });
  }
  return groups;
}

function microseconds(name: string, rounds: ArrayLike<number>[]): Figure {
  const { median, p99 } = summarise(rounds);
  return { name, value: median / 1000, p99: p99 / 1000, unit: "µs" };
}

/** Requests for 64 bytes of entropy: from the notification to the interrupt handled, four register accesses included. */
export async function measureRequests(): Promise<Group[]> {
  await using stack = new AsyncDisposableStack();
  const attachments = {
    "embedded rng, isolated": await attachEmbedded(stack, "isolated"),
    "embedded rng, direct": await attachEmbedded(stack, "direct"),
    "vhost-device-rng, isolated": await attachDaemon(stack, "isolated"),
    "vhost-device-rng, direct": await attachDaemon(stack, "direct"),
  };
  for (const { guest } of Object.values(attachments)) await guest.call("measureRequests", WARM_UP);
  const wakeUps: number[] = [];
  const cases = Object.entries(attachments).map(([name, { guest }]) => [name, async () => {
    const before = mainThreadWakeUps();
    const times = await guest.call("measureRequests", REQUESTS);
    wakeUps.push(mainThreadWakeUps() - before);
    return times;
  }]);
  const taken = await interleaved<string>(ROUNDS, Object.fromEntries(cases));
  const figures = Object.entries(taken).map(([name, rounds]) => microseconds(name, rounds));
  const idle = `main thread woken in ${REQUESTS} requests`;
  return [{
    title: "request: notify → device → interrupt",
    figures: [...figures, { name: idle, value: median(wakeUps), unit: "" }],
  }];
}

/** How often this process's main thread has gone to sleep, and so been woken. */
function mainThreadWakeUps(): number {
  const status = Deno.readTextFileSync(`/proc/self/task/${Deno.pid}/status`);
  return Number(status.match(/^voluntary_ctxt_switches:\s*(\d+)/m)![1]);
}
