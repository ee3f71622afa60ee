// SPDX-License-Identifier: Apache-2.0
/**
 * One run of the emulated machine: boots what it is given, hears its report line by line, takes back its files.
 *
 * @module
 */
import type { Machine } from "./machine.ts";

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
  /** Where `console.log` and `files.tar` go, and sockets meanwhile. */
  folder: string;
  /** Called with each line that the machine reports. */
  onLine: (line: string) => void;
  /** The machine is stopped when it reports nothing for so long. */
  silenceMs: number;
  clock: Clock;
}

/**
 * Boots the machine and waits for its end.
 *
 * @returns whether it ended by itself
 * @throws {Error} when the emulator fails
 */
export async function runMachine(options: RunOptions): Promise<boolean> {
  const { folder, silenceMs } = options;
  const path = `${folder}/report.socket`;
  using listener = Deno.listen({ transport: "unix", path });
  await joinFiles([options.machine.userLand, options.archive], `${folder}/initrd`);
  const emulator = new Deno.Command("nice", {
    args: ["-n", "10", options.machine.emulator, ...emulatorArguments(options)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const stderr = new Response(emulator.stderr).text();
  let silent = false;
  const stop = (): void => {
    silent = true;
    emulator.kill("SIGKILL");
  };
  let watchdog = setTimeout(stop, silenceMs);
  const report = hear(listener, (line) => {
    clearTimeout(watchdog);
    watchdog = setTimeout(stop, silenceMs);
    options.onLine(line);
  });
  const { code } = await emulator.status;
  clearTimeout(watchdog);
  listener.close();
  await report;
  await Deno.remove(`${folder}/initrd`);
  if (code !== 0 && !silent) throw new Error(`Cannot run the emulator: ${await stderr}`);
  return !silent;
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

/** Calls back with each line of the first connection. */
async function hear(listener: Deno.Listener, onLine: (line: string) => void): Promise<void> {
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
    lines.forEach(onLine);
  }
}
