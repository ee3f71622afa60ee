// SPDX-License-Identifier: Apache-2.0
/**
 * viola as one executable:
 *
 *     deno task compile [--target aarch64-unknown-linux-gnu | x86_64-unknown-linux-gnu]
 *
 * writes dist/viola-<arch>, with the shim and the Workers' scripts in it. Compiles a copy of the tree, so that the tree
 * stays as it is; the copy's version says which commit it is of.
 *
 * @module
 */
import { run } from "./command.ts";
import { type Architecture, findToolchain } from "./denort.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What the executable is made of. */
const PARTS = ["cli", "lib", "ffi", "deno.json", "deno.lock"];

/** Scripts that run in Workers of their own: nothing imports them, so they are named. */
const WORKERS = [
  "lib/bridge/access_worker.ts",
  "lib/bridge/ring_worker.ts",
  "lib/device/worker.ts",
  "lib/guest/worker.ts",
];

/** What it may do. Deno asks for all permissions from who reads /proc/iomem, as one must who maps physical memory. */
const PERMISSIONS = ["--allow-all"];

/**
 * How the engine collects garbage: each isolate in its own thread, or a lane with real-time priority would spin, at times
 * for seconds, until helper threads of ordinary priority have done their part; and never just because it is idle, for the
 * lane's turn comes meanwhile. Code is compiled in helper threads, as ever: nobody waits for that.
 */
const ENGINE = ["--v8-flags=--single-threaded-gc,--no-memory-reducer"];

/** The architecture of a target triple. @throws {Error} for a triple that is not served */
export function architectureOf(target: string): Architecture {
  const match = /^(aarch64|x86_64)-unknown-linux-gnu$/.exec(target);
  if (match !== null) return match[1] as Architecture;
  throw new Error(
    `Cannot compile for "${target}", expected aarch64-unknown-linux-gnu or x86_64-unknown-linux-gnu`,
  );
}

/** Compiles viola. @returns the executable's path */
export async function compile(architecture: Architecture): Promise<string> {
  const { deno, image } = await findToolchain(architecture);
  const stage = await Deno.makeTempDir({ prefix: "viola-compile-" });
  try {
    await run(["cp", "-r", ...PARTS.map((part) => ROOT + part), stage]);
    await describe(stage);
    await buildShim(architecture, `${stage}/ffi`);
    const output = `${ROOT}dist/viola-${architecture}`;
    const included = ["ffi/shim.so", ...WORKERS].flatMap((path) => ["--include", path]);
    const options = [...PERMISSIONS, ...ENGINE, "--no-prompt", ...included, "--output", output];
    const target = ["--target", `${architecture}-unknown-linux-gnu`];
    await run([deno, "compile", "--quiet", "--check", ...target, ...options, "cli/main.ts"], {
      cwd: stage,
      env: { DENORT_BIN: image, DENO_TLS_CA_STORE: "system,mozilla" },
    });
    return output;
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Puts the commit behind the copy's version, and leaves out what only tests import. */
async function describe(stage: string): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(`${stage}/deno.json`));
  const commit = await run(["git", "-C", ROOT, "describe", "--always", "--dirty=.dirty"])
    .catch(() => ""); // a tree without its history
  if (commit !== "") config.version += `+${commit.trim()}`;
  delete config.imports["@std/assert"];
  await Deno.writeTextFile(`${stage}/deno.json`, JSON.stringify(config));
}

/** Compiles the shim as ffi/shim.so, where an executable looks for it; with $CC, or the compiler for the target. */
async function buildShim(architecture: Architecture, folder: string): Promise<void> {
  const cross = architecture === Deno.build.arch ? "cc" : `${architecture}-linux-gnu-gcc`;
  const compiler = (Deno.env.get("CC") ?? cross).split(/\s+/);
  const options = ["-O2", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden", "-s"];
  await run([...compiler, ...options, "-o", `${folder}/shim.so`, `${folder}/shim.c`]);
  for await (const { name } of Deno.readDir(folder)) {
    if (/^shim-.*\.so/.test(name)) await Deno.remove(`${folder}/${name}`);
  }
}

// ---- what it costs ----

/** Milliseconds from start to end of `--version`, the median of some. */
async function startTime(executable: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 11; i++) {
    const since = performance.now();
    await run([executable, "--version"]);
    times.push(performance.now() - since);
  }
  return times.sort((a, b) => a - b)[5]!;
}

/** Resident MiB of a device that nobody uses. */
async function idleMemory(executable: string): Promise<number> {
  const folder = await Deno.makeTempDir();
  const device = new Deno.Command(executable, {
    args: ["device", "sound", "--socket", `${folder}/socket`],
    stdout: "piped",
  }).spawn();
  try {
    const reader = device.stdout.getReader();
    await reader.read(); // it says that it listens
    await reader.cancel();
    const status = await Deno.readTextFile(`/proc/${device.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024;
  } finally {
    device.kill();
    await device.status;
    await Deno.remove(folder, { recursive: true });
  }
}

async function main(args: readonly string[]): Promise<void> {
  const target = args.length === 0 ? `${Deno.build.arch}-unknown-linux-gnu` : args[1];
  if (target === undefined || args.length > 2 || (args.length > 0 && args[0] !== "--target")) {
    throw new Error(`Cannot understand "${args.join(" ")}", expected --target TRIPLE or nothing`);
  }
  const architecture = architectureOf(target);
  const executable = await compile(architecture);
  const say = (text: string): number =>
    Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  say(`${executable}: ${((await Deno.stat(executable)).size / 2 ** 20).toFixed(1)} MiB`);
  if (architecture !== Deno.build.arch) {
    say("start and memory: deno task target executable");
    return;
  }
  say((await run([executable, "--version"])).trim());
  say(`start (--version): ${(await startTime(executable)).toFixed(0)} ms`);
  say(`resident, as an idle sound device: ${(await idleMemory(executable)).toFixed(0)} MiB`);
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    Deno.stderr.writeSync(new TextEncoder().encode(`${(error as Error).message}\n`));
    Deno.exit(1);
  }
}
