// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's processes: two sound devices and the adapter, each in a process, two software loopback devices, and a
 * driver for each card in a Worker of this process.
 *
 * @module
 */
import { Reactor } from "../ffi/mod.ts";
import { sound } from "../lib/classes/mod.ts";
import type { TransferResult } from "../lib/classes/sound/transfer.ts";
import { type Guest, startGuest } from "../lib/guest/mod.ts";
import { SoftNode } from "../lib/loopback/mod.ts";
import { ViolaChild } from "./child.ts";
import { FAILED, Failure, messageOf, step, UNREACHABLE } from "./exit.ts";
import { makeFolder } from "./sockets_folder.ts";
import { type Report, tenths } from "./report.ts";
import { liveLine, type Part } from "./verdict.ts";

/** How long a card may take to appear, in milliseconds, which includes the start of three processes. */
const APPEAR_MS = 20_000;

/** Options of playing. */
export interface StageOptions {
  pace: "real" | "free";
  memory: "isolated" | "direct";
}

/** Measures steps: each lasts from the end of the one before. */
export class StepClock {
  readonly #start = performance.now();
  #last = this.#start;
  /** Milliseconds by step, in order: devices listen, cards found, first sound, all played, all processes ended. */
  readonly steps: Record<string, number> = {};

  /** Notes the end of a step. */
  mark(step: string): void {
    const now = performance.now();
    this.steps[step] = tenths(now - this.#last);
    this.#last = now;
  }

  /** Milliseconds since the beginning. */
  get ms(): number {
    return tenths(performance.now() - this.#start);
  }
}

/** Result of playing a part. */
export interface Played extends TransferResult {
  /** Errors that its device reported: the first few. */
  deviceErrors: string[];
}

/**
 * Plays all parts at once, each on its own card. When this returns or throws, everything that it started has ended,
 * and the output files are valid.
 *
 * @param signal Ends it early
 * @throws {Failure} when a process ends, or `signal` is aborted
 * @throws {Error} what the drivers throw, with the errors of the devices
 */
export async function playParts(
  parts: readonly Part[],
  options: StageOptions,
  clock: StepClock,
  report: Report,
  signal: AbortSignal,
): Promise<Played[]> {
  await using stack = new AsyncDisposableStack();
  const folder = await makeFolder(stack);
  const nodes = await makeNodes(stack, folder, parts);
  const devices = parts.map((part) => stack.use(startDeviceChild(folder, part, options)));
  const adapter = stack.use(startAdapter(folder, parts, options));
  const trouble = firstTrouble([...devices, adapter], signal);
  const unlessTrouble: Unless = (work) => Promise.race([Promise.all(work), trouble]);
  try {
    const starting = startGuests(stack, parts, nodes);
    const results = await perform(parts, devices, starting, unlessTrouble, clock, report);
    await stack.disposeAsync();
    clock.mark("ended");
    return results.map((result, i) => ({ ...result, deviceErrors: devices[i]!.errors }));
  } catch (error) {
    await stack.disposeAsync(); // so that all their output has been read
    throw withErrors(error, devices);
  }
}

/** Waits for all of some work, unless the demo fails. */
type Unless = <T>(work: Promise<T>[]) => Promise<T[]>;

/** From the start of the devices to the last sample. */
async function perform(
  parts: readonly Part[],
  devices: readonly ViolaChild[],
  starting: Promise<Guest<typeof sound>>[],
  unlessTrouble: Unless,
  clock: StepClock,
  report: Report,
): Promise<TransferResult[]> {
  const listening = devices.map((device) => device.fact(({ event }) => event === "listening"));
  const heard = devices.map((device) => device.fact(({ state }) => state === "running"));
  const guests = await unlessTrouble(starting);
  await unlessTrouble(listening);
  clock.mark("devices");
  await unlessTrouble(guests.map((guest) => guest.probe(APPEAR_MS)));
  clock.mark("cards");
  using _live = showLive(parts, guests, report);
  const played = guests.map((guest, i) => {
    const { input: file, frames } = parts[i]!;
    return guest.call("play", { file, frames });
  });
  const all = Promise.all(played); // the sound of a card that fails to start never begins
  await unlessTrouble([Promise.race([Promise.all(heard), all])]);
  clock.mark("sound");
  const [results] = await unlessTrouble([all]);
  clock.mark("played");
  return results!;
}

/** Adds the devices' own errors to a driver's error, which only says that the device failed. */
function withErrors(error: unknown, devices: readonly ViolaChild[]): unknown {
  const said = devices.flatMap(({ name, errors }) => errors.map((text) => `; ${name}: ${text}`));
  if (Failure.is(error) || said.length === 0) return error;
  return new Failure(FAILED, messageOf(error) + said.join(""));
}

/** A software loopback device for each part, which listens in the folder. */
async function makeNodes(
  stack: AsyncDisposableStack,
  folder: string,
  parts: readonly Part[],
): Promise<SoftNode[]> {
  const reactor = stack.use(new Reactor());
  const nodes = parts.map(() => stack.use(new SoftNode()));
  const listen = () =>
    nodes.forEach((node, i) => node.listen(nodePath(folder, parts[i]!.card), reactor));
  await step(UNREACHABLE, "listen in the temporary folder", listen);
  return nodes;
}

/** A driver at each node. */
function startGuests(
  stack: AsyncDisposableStack,
  parts: readonly Part[],
  nodes: readonly SoftNode[],
): Promise<Guest<typeof sound>>[] {
  const starting = parts.map(({ card }, i) =>
    startGuest(sound, nodes[i]!.wires, { name: `card ${card}` })
  );
  stack.defer(async () => {
    await Promise.allSettled(starting.map(async (guest) => (await guest).close()));
  });
  return starting;
}

function nodePath(folder: string, card: number): string {
  return `${folder}/node${card}`;
}

function socketPath(folder: string, card: number): string {
  return `${folder}/device${card}`;
}

function startDeviceChild(folder: string, part: Part, { pace }: StageOptions): ViolaChild {
  return new ViolaChild(`the device of card ${part.card}`, [
    ...["device", "sound", "--socket", socketPath(folder, part.card)],
    ...["--sink", `wav:${part.output}`, "--pace", pace],
  ]);
}

function startAdapter(
  folder: string,
  parts: readonly Part[],
  { memory }: StageOptions,
): ViolaChild {
  const args = parts.flatMap(({ card, priority }) => [
    ...["--socket", socketPath(folder, card)],
    ...["--loopback", `soft:${nodePath(folder, card)}`],
    ...["--priority", `${priority}`],
  ]);
  const classes = parts.map(() => "sound");
  return new ViolaChild("the adapter", ["attach", ...classes, ...args, "--memory", memory]);
}

/** Rejects as soon as the demo has failed or was ended. */
function firstTrouble(children: readonly ViolaChild[], signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () =>
    reject(new Failure(FAILED, `Cannot finish the demo: ${signal.reason} ended it`));
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  const trouble = Promise.race([promise, ...children.map(({ failed }) => failed)]);
  trouble.catch(() => {}); // Not awaited between two steps; the next step rejects then.
  return trouble;
}

/** Shows the guests' progress until it is disposed of. */
function showLive(
  parts: readonly Part[],
  guests: readonly Guest<typeof sound>[],
  report: Report,
): Disposable {
  const show = () => report.live(parts.map((part, i) => liveLine(part, guests[i]!.progress)));
  const timer = setInterval(show, 100);
  return {
    [Symbol.dispose]() {
      clearInterval(timer);
      report.endLive();
    },
  };
}
