// SPDX-License-Identifier: Apache-2.0
/**
 * One run of the emulated machine: boots what it is given, hears its report line by line and tells it what to run, takes back its files.
 *
 * @module
 */
import type { Machine } from "./machine.ts";
import { Patience, usageOf } from "./patience.ts";
import { parseLine, type Result } from "./report.ts";

/** How often it is looked at whether it still makes progress, in milliseconds. */
const LOOK_MS = 5000;

/**
 * What the machine's time is. "instructions": a nanosecond each, and an idle machine's time passes at once; nothing that
 * happens on the host is seen inside, so time limits there mean something. One processor works at a time. "host": the
 * host's time, with the processors side by side, for figures.
 */
const CLOCKS = {
  instructions: ["-icount", "shift=0,sleep=off"],
  host: ["-accel", "tcg,thread=multi"],
};

/** What the machine's time is. */
export type Clock = keyof typeof CLOCKS;

/** A run. */
export interface RunOptions {
  machine: Machine;
  /** An archive for the initial RAM file system, on top of the user land. */
  archive: string;
  /** Where `console.log`, `live.log` and `files.tar` go, and sockets meanwhile. */
  folder: string;
  /** A scenario's limit, in the emulated machine's seconds. */
  limitOf: (scenario: string) => number;
  /** The scenario that the machine shall run now; null turns it off. */
  next: () => string | null;
  onEnd: (result: Result) => void;
  clock: Clock;
}

/**
 * Boots the machine and waits for its end. One that gives no sign of life, or cannot end a scenario, is stopped.
 *
 * @returns why it was stopped, null when it ended by itself
 * @throws {Error} when the emulator fails, or the report is malformed
 */
export async function runMachine(options: RunOptions): Promise<string | null> {
  const { folder } = options;
  using listener = Deno.listen({ transport: "unix", path: `${folder}/report.socket` });
  await joinFiles([options.machine.userLand, options.archive], `${folder}/initrd`);
  const emulator = new Deno.Command(options.machine.emulator, {
    args: emulatorArguments(options),
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(emulator.stderr).text();
  const usage = () => usageOf(emulator.pid) ?? { wall: 0, processor: 0 };
  const patience = new Patience(usage());
  let stopped: string | null = null;
  const timer = setInterval(() => {
    stopped ??= patience.judge(usage());
    if (stopped !== null) kill(emulator);
  }, LOOK_MS);
  let failure: unknown = null;
  const report = hear(listener, (line) => {
    const read = parseLine(line);
    if (read.kind === "alive") return patience.alive(read.uptime, usage());
    if (read.kind === "end") {
      return options.onEnd({ ...read.result, processor: patience.begin(Infinity, usage()) });
    }
    const scenario = options.next();
    patience.begin(scenario === null ? Infinity : options.limitOf(scenario), usage());
    return scenario ?? "";
  }).catch((error) => {
    failure = error;
    kill(emulator);
  });
  const { code } = await emulator.status;
  clearInterval(timer);
  listener.close();
  await report;
  await Deno.remove(`${folder}/initrd`);
  if (failure !== null) throw failure;
  if (code !== 0 && stopped === null) throw new Error(`Cannot run the emulator: ${await stderr}`);
  return stopped;
}

function kill(emulator: Deno.ChildProcess): void {
  try {
    emulator.kill("SIGKILL");
  } catch { /* it ended just now */ }
}

function emulatorArguments({ machine, folder, clock }: RunOptions): string[] {
  return [
    ...["-M", "virt", "-cpu", "cortex-a57", "-smp", "2", ...CLOCKS[clock]],
    ...["-m", "2048", "-nodefaults", "-display", "none", "-no-reboot"],
    ...["-kernel", machine.kernel.image, "-initrd", `${folder}/initrd`],
    ...["-append", "console=ttyAMA0 rdinit=/init panic=-1 oops=panic quiet loglevel=5"],
    ...["-serial", `file:${folder}/console.log`],
    ...["-device", "virtio-serial-pci"],
    ...["-chardev", `socket,id=report,path=${folder}/report.socket`],
    ...["-device", "virtserialport,chardev=report,name=report"],
    ...["-chardev", `file,id=log,path=${folder}/live.log`],
    ...["-device", "virtserialport,chardev=log,name=log"],
    ...["-chardev", `file,id=files,path=${folder}/files.tar`],
    ...["-device", "virtserialport,chardev=files,name=files"],
  ];
}

async function joinFiles(parts: readonly string[], path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for (const part of parts) {
    using source = await Deno.open(part);
    await source.readable.pipeTo(file.writable, { preventClose: true });
  }
}

/** Calls back with each line of the first connection, and sends the line that is answered, if any. */
async function hear(
  listener: Deno.Listener,
  onLine: (line: string) => string | void,
): Promise<void> {
  let connection: Deno.Conn;
  try {
    connection = await listener.accept();
  } catch (error) {
    if (error instanceof Deno.errors.BadResource) return; // the emulator never came so far
    throw error;
  }
  let rest = "";
  for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const answer = onLine(line);
      if (answer !== undefined) await connection.write(new TextEncoder().encode(`${answer}\n`));
    }
  }
}
