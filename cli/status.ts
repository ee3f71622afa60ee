// SPDX-License-Identifier: Apache-2.0
/**
 * `viola status` and `viola metrics`: how the devices of a running `viola up` are, from its control socket.
 *
 * @module
 */
import type { Command } from "commander";
import { sceneControlPath } from "../lib/bridge/store/path.ts";
import { type DeviceStatus, driverText } from "../lib/scene/status.ts";
import { load, step, StopSignal, UNREACHABLE } from "./exit.ts";
import { counted, duration, Report, said } from "./report.ts";

/** How long viola may take to answer, in milliseconds. */
const ANSWER_MS = 3000;
/** Time between two looks of --watch, in milliseconds. */
const WATCH_MS = 1000;

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
    .action(async ({ control }: StatusOptions) =>
      said.owe((await ask<{ metrics: string }>(control, "metrics")).metrics)
    );
}

async function runStatus({ control, json, watch }: StatusOptions): Promise<void> {
  const report = new Report(json === true);
  const look = async () => (await ask<{ devices: DeviceStatus[] }>(control, "status")).devices;
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
async function ask<Answer>(path: string = sceneControlPath(), what: string): Promise<Answer> {
  const { Reactor } = await load(() => import("../ffi/mod.ts"));
  const { ControlClient } = await load(() => import("../lib/device/control_client.ts"));
  return await step(UNREACHABLE, `ask viola at ${path}`, async () => {
    await using reactor = new Reactor();
    using client = new ControlClient(path, reactor);
    client.send({ ask: what });
    return await client.next(ANSWER_MS) as Answer;
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
