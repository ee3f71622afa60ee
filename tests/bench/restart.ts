// SPDX-License-Identifier: Apache-2.0
/**
 * What a playback hears of a restart: a device, then viola itself, is killed and started again, and the time runs from the
 * kill until the driver has the next buffer back.
 *
 * @module
 */
import { Reactor } from "../../ffi/mod.ts";
import { sound } from "../../lib/classes/mod.ts";
import { type Guest, startGuest } from "../../lib/guest/mod.ts";
import { SoftNode } from "../../lib/loopback/mod.ts";
import { RATE, writeNumbered } from "../integration/real/numbered.ts";
import { OwnStore } from "../support/store.ts";
import { Process, TempFolder, until } from "../support/process.ts";
import { median } from "../support/statistics.ts";
import type { Figure, Group } from "./figures.ts";

const ROUNDS = 10;
/** Between two kills: the playback is in its stride again. */
const SETTLE_MS = 500;
const SECONDS = 120;
/** The period that is under way adds up to 5 ms to what is measured. */
const PERIOD = { periodFrames: RATE / 200, periods: 16 };
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;
const FROM_SOURCE = [Deno.execPath(), "run", "-A", "--no-prompt", "--no-check", MAIN];

/** A process that is killed and started again. */
class Restarted implements AsyncDisposable {
  #process: Process;

  constructor(readonly command: readonly string[], readonly env: Record<string, string>) {
    this.#process = this.#start();
  }

  #start(): Process {
    const [program, ...args] = this.command;
    return Process.start(program!, args, { env: this.env });
  }

  async restart(): Promise<void> {
    this.#process.signal("SIGKILL");
    await this.#process.ended;
    this.#process = this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Kills both processes of a playback in turn. @param executable viola's; from source without one */
export async function measureRestarts(executable?: string): Promise<Group[]> {
  const viola = executable === undefined ? FROM_SOURCE : [executable];
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await TempFolder.create());
  const reactor = stack.use(new Reactor());
  const node = stack.use(new SoftNode());
  node.listen(folder.file("node"), reactor);
  const { env } = stack.use(new OwnStore(folder.file("store")));
  const start = (...args: string[]): Restarted =>
    stack.use(new Restarted([...viola, ...args, "--socket", folder.file("card")], env));
  const device = start("device", "sound", "--sink", "null");
  const loopback = `soft:${folder.file("node")}`;
  const adapter = start("attach", "sound", "--keep", "--loopback", loopback);
  const guest = stack.use(await startGuest(sound, node.wires));
  await guest.probe();
  const file = folder.file("in.wav");
  writeNumbered(file, SECONDS * RATE);
  const playing = guest.call("play", { file, ...PERIOD });
  const figures = [
    await timeRestarts("viola device killed → next buffer back", guest, device),
    await timeRestarts("viola attach killed → next buffer back", guest, adapter),
  ];
  await guest.stop();
  await playing;
  const title = `a restart in mid-play, ${executable === undefined ? "from source" : "executable"}`;
  return [{ title, figures }];
}

async function timeRestarts(
  name: string,
  guest: Guest<typeof sound>,
  process: Restarted,
): Promise<Figure> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await timeRestart(guest, process));
  const [least, most] = [Math.min(...times), Math.max(...times)].map(Math.round);
  return { name, value: median(times), unit: "ms", reference: `${least}–${most} ms` };
}

async function timeRestart(guest: Guest<typeof sound>, process: Restarted): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const start = performance.now();
  await process.restart();
  const { periods } = guest.progress;
  await until(() => guest.progress.periods > periods, "the playback to go on");
  return performance.now() - start;
}
