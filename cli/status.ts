// SPDX-License-Identifier: Apache-2.0
/**
 * `viola status` and `viola metrics`: how the devices of a running `viola up` are, from its control socket.
 *
 * @module
 */
import type { Command } from "commander";
import { controlPath } from "../lib/bridge/store/path.ts";
import { type DeviceStatus, driverText } from "../lib/scene/status.ts";
import { load, step, StopSignal, UNREACHABLE } from "./exit.ts";
import { counted, duration, Report, said } from "./report.ts";

/** How long viola may take to answer, in milliseconds. */
const ANSWER_MS = 3000;
/** Time between two looks of --watch, in milliseconds. */
const WATCH_MS = 1000;
/** Bytes received at a time. */
const CHUNK = 65_536;

/** The options as given. */
export interface StatusOptions {
  control?: string;
  json?: boolean;
  watch?: boolean;
}

/** Adds the subcommand. */
export function addStatus(program: Command): void {
  program.command("status")
    .description("Tell how the devices of a running viola up are.")
    .option("--control <path>", "viola's control socket (as viola up has it)")
    .option("--json", "report as one JSON object")
    .option("--watch", "look again every second, until a signal")
    .action(runStatus);
}

/** Adds the subcommand. */
export function addMetrics(program: Command): void {
  program.command("metrics")
    .description("Print the counters of a running viola up, as Prometheus reads them.")
    .option("--control <path>", "viola's control socket (as viola up has it)")
    .action(async ({ control }: StatusOptions) => said.owe(await ask(control, "metrics")));
}

async function runStatus({ control, json, watch }: StatusOptions): Promise<void> {
  const report = new Report(json === true);
  const look = async (): Promise<DeviceStatus[]> =>
    JSON.parse(await ask(control, "status")).devices;
  if (!watch) {
    const devices = await look();
    return report.result({ event: "status", devices }, statusLines(devices));
  }
  using stop = await StopSignal.listen();
  const stopped = stop.stopped().then(() => true);
  do {
    const devices = await look();
    report.object({ event: "status", devices });
    report.live(statusLines(devices));
  } while (!await Promise.race([stopped, pause(WATCH_MS)]));
  report.endLive();
}

function pause(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms));
}

/** Asks a running viola. @returns its answer @throws {Failure} with status 2 when there is none */
async function ask(path: string = controlPath(), word: string): Promise<string> {
  const { Reactor, UnixSocket, WOULD_BLOCK } = await load(() => import("../ffi/mod.ts"));
  return await step(UNREACHABLE, `ask viola at ${path}`, async () => {
    await using reactor = new Reactor();
    using socket = UnixSocket.connect(path);
    const question = new TextEncoder().encode(`${word}\n`);
    socket.send(question, 0, question.length);
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(CHUNK);
    const deadline = performance.now() + ANSWER_MS;
    for (let text = "";;) {
      const { length, fds } = socket.receive(buffer, 0, CHUNK);
      for (const fd of fds) fd.close();
      if (length === 0) return text + decoder.decode();
      if (length !== WOULD_BLOCK) {
        text += decoder.decode(buffer.subarray(0, length), { stream: true });
      } else if (performance.now() < deadline) {
        await reactor.readable(socket, deadline - performance.now());
      } else throw new Error(`Cannot ask viola at ${path}: no answer within ${ANSWER_MS / 1000} s`);
    }
  });
}

/** A line per device, and one for its last error. */
export function statusLines(devices: readonly DeviceStatus[]): string[] {
  if (devices.length === 0) return ["no devices yet"];
  const width = (column: (device: DeviceStatus) => string): number =>
    Math.max(...devices.map((device) => column(device).length));
  const [names, states] = [width(({ name }) => name), width(({ state }) => state)];
  return devices.flatMap((device) => {
    const { name, state, forMs, outages, lastError, driverStatus, queues } = device;
    const inFlight = queues.reduce((sum, queue) => sum + queue.inFlight, 0);
    const facts = [
      `${name.padEnd(names)}  ${state.padEnd(states)}  for ${duration(forMs)}`,
      driverText(driverStatus),
      `${inFlight} in flight`,
      counted(outages, "outage"),
    ];
    return [facts.join(", "), ...(lastError === null ? [] : [`  last error: ${lastError}`])];
  });
}
