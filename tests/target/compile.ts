// SPDX-License-Identifier: Apache-2.0
/**
 * viola as one executable:
 *
 *     deno task compile [--target aarch64-unknown-linux-gnu | x86_64-unknown-linux-gnu] [--plain] [--steps] [--json]
 *
 * writes dist/viola-<arch>, with the shim and the Workers' scripts in it, and says what it costs; with --steps also what
 * each step of making it gave. Compiles a copy of the tree, so that the tree stays as it is; the copy's version says which
 * commit it is of.
 *
 * What is compiled is a bundle of the tree: `deno bundle` takes esbuild from npm, as `deno compile` takes commander. Where
 * that one package cannot be had, --plain compiles the tree itself.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { bundledName } from "../../ffi/assets.ts";
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import type { Roles } from "../../lib/virtio/device_class.ts";
import { isInstalled, run } from "./command.ts";
import { type Cost, costText, measureCost, runnerOf } from "./cost.ts";
import { type Architecture, findToolchain, type Toolchain } from "./denort.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What the executable is made of. */
const PARTS = ["cli", "lib", "ffi", "deno.json", "deno.lock"];

const MAIN = "cli/main.ts";
const SHIM = "ffi/shim.so";

/** Where the modules of one role lie, of all classes that have it. */
function rolesNamed(name: keyof Roles): string[] {
  const urls = DEVICE_CLASSES.map(({ roles }) => roles[name]).filter((url) => url !== undefined);
  return urls.map((url) => fileURLToPath(url).slice(ROOT.length));
}

/**
 * Scripts that run in Workers of their own, each with the classes' modules that it loads: nothing imports these, so they
 * are named. What a script and its modules share is there once.
 */
export const WORKERS: Readonly<Record<string, readonly string[]>> = {
  "lib/bridge/access_worker.ts": [],
  "lib/bridge/ring_worker.ts": rolesNamed("replay"),
  "lib/device/worker.ts": rolesNamed("device"),
  "lib/guest/worker.ts": rolesNamed("driver"),
  "lib/classes/block/io_worker.ts": [],
  "lib/classes/sound/file_worker.ts": [],
};

/** What is found by its place, in the groups that are bundled: a Worker's each, and what main loads. */
const GROUPS: readonly (readonly string[])[] = [
  ...Object.entries(WORKERS).map((entry) => entry.flat()),
  [...rolesNamed("cli"), ...rolesNamed("command")],
];

/** All of it. */
export const FOUND: readonly string[] = GROUPS.flat();

/** What the environment may tell: where to keep devices and files, and commander whether colours are wanted. */
const VARIABLES = [
  ...["NOTIFY_SOCKET", "FDSTORE", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"],
  ...["WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"],
  ...["XDG_RUNTIME_DIR", "VIOLA_STORE", "TMPDIR"],
  ...["NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"],
  ...["LC_ALL", "LC_CTYPE", "LANG", "TERM"],
];

/**
 * What it may do. Sockets and files are where the user says, the shim is where Deno unpacks it, and the program it runs
 * is itself, wherever that was put: none of these has a name yet. No network, and of what lies below /dev, /proc and /sys
 * only what the shim opens.
 */
export const PERMISSIONS: readonly string[] = [
  ...["--allow-ffi", "--allow-read", "--allow-write", "--allow-run", "--allow-sys=uid"],
  `--allow-env=${VARIABLES.join(",")}`,
  "--no-prompt",
];

/**
 * How the engine works: all of an isolate's work in the isolate's own thread, or a lane with real-time priority would wait,
 * at times for seconds, until helper threads of ordinary priority have done their part; and no garbage collection just
 * because an isolate is idle, for the lane's turn comes meanwhile. No compiled code is kept: Deno would read it from a file
 * in /tmp whose name anybody can tell.
 */
const ENGINE = ["--v8-flags=--single-threaded,--no-memory-reducer", "--no-code-cache"];

/** The steps of making it, with what bundles; the last is what is delivered. */
const STEPS = {
  plain: null,
  bundled: [],
  "code splitting": ["--code-splitting"],
  minified: ["--code-splitting", "--minify"],
} as const satisfies Record<string, readonly string[] | null>;

/** How an executable is made. */
export type Step = keyof typeof STEPS;

const DELIVERED: Step = "minified";

/** The architecture of a target triple. @throws {Error} for a triple that is not served */
export function architectureOf(target: string): Architecture {
  const match = /^(aarch64|x86_64)-unknown-linux-gnu$/.exec(target);
  if (match !== null) return match[1] as Architecture;
  throw new Error(
    `Cannot compile for "${target}", expected aarch64-unknown-linux-gnu or x86_64-unknown-linux-gnu`,
  );
}

/** Compiles viola. @returns the executable's path */
export async function compile(
  architecture: Architecture,
  step: Step = DELIVERED,
  output = `${ROOT}dist/viola-${architecture}`,
): Promise<string> {
  const toolchain = await findToolchain(architecture);
  const stage = await Deno.makeTempDir({ prefix: "viola-compile-" });
  try {
    await run(["cp", "-r", ...PARTS.map((part) => ROOT + part), stage]);
    await describe(stage);
    await buildShim(architecture, `${stage}/ffi`);
    await runDeno(toolchain, stage, ["check", "--quiet", MAIN, ...FOUND]);
    const bundling = STEPS[step];
    const folder = bundling === null ? stage : await bundle(toolchain, stage, bundling);
    await setTimes(folder);
    const nameOf = bundling === null ? (path: string) => path : bundledName;
    const included = [SHIM, ...FOUND].flatMap((path) => ["--include", nameOf(path)]);
    const partial = `${output}.partial`;
    const options = [...PERMISSIONS, ...ENGINE, ...included, "--output", partial];
    const target = ["--target", `${architecture}-unknown-linux-gnu`];
    const config = bundling === null ? [] : ["--no-config"];
    const compiling = ["compile", "--quiet", "--no-check", ...config, ...target, ...options];
    await runDeno(toolchain, folder, [...compiling, nameOf(MAIN)]);
    await Deno.rename(partial, output);
    return output;
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Gives all files one time: an executable has the times of its files in it, and is to be the same each time it is made. */
async function setTimes(folder: string): Promise<void> {
  const epoch = Deno.env.get("SOURCE_DATE_EPOCH") ?? "0";
  await run(["find", folder, "-exec", "touch", "-h", "-d", `@${epoch}`, "{}", "+"]);
}

/** Runs the toolchain's Deno in a folder. */
async function runDeno({ deno, image }: Toolchain, cwd: string, args: string[]): Promise<void> {
  await run([deno, ...args], {
    cwd,
    env: { DENORT_BIN: image, DENO_TLS_CA_STORE: "system,mozilla", NO_COLOR: "1" },
  });
}

/**
 * Bundles main and each group for itself: what isolates share would be cut into more pieces, and each piece costs time at
 * the start.
 *
 * @returns the folder that all of it lies in
 */
async function bundle(
  toolchain: Toolchain,
  stage: string,
  options: readonly string[],
): Promise<string> {
  const folder = `${stage}/bundle`;
  const bundling = ["bundle", "--quiet", "--platform", "deno"];
  try {
    const into = [...bundling, ...options, "--outdir", folder];
    await runDeno(toolchain, stage, [...into, MAIN]);
    await Deno.rename(`${folder}/main.js`, `${folder}/${bundledName(MAIN)}`);
    for (const group of GROUPS) {
      const entries = await Promise.all(group.map((path) => standIn(stage, path)));
      await runDeno(toolchain, stage, [...into, ...entries]);
    }
  } catch (error) {
    throw new Error(
      `${
        (error as Error).message
      }\nThat was to bundle viola, with esbuild from npm; --plain compiles it as it is`,
    );
  }
  await Deno.copyFile(`${stage}/${SHIM}`, `${folder}/${bundledName(SHIM)}`);
  return folder;
}

/** A module's stand-in at the top of the stage: a bundle's files lie as its entries do, and are to lie side by side. */
async function standIn(stage: string, path: string): Promise<string> {
  const name = path.replaceAll("/", "-");
  await Deno.writeTextFile(`${stage}/${name}`, `export * from "./${path}";\n`);
  return name;
}

/** Puts the commit behind the copy's version, and leaves out what only tests import. */
async function describe(stage: string): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(`${stage}/deno.json`));
  config.version += await commitOf(ROOT);
  delete config.imports["@std/assert"];
  await Deno.writeTextFile(`${stage}/deno.json`, JSON.stringify(config));
}

/**
 * The commit that a tree is of, as a version's end: "+7a85dee", ".dirty" behind it when files that git tracks are not as
 * they were then.
 *
 * @param root With a slash at its end
 * @returns "" for a tree without a history of its own, whatever repository it lies in
 */
export async function commitOf(root: string): Promise<string> {
  const git = ["git", `--git-dir=${root}.git`, `--work-tree=${root}`];
  const describe = [...git, "describe", "--always", "--exclude=*", "--dirty=.dirty"];
  const commit = await run(describe, { cwd: root }).catch(() => "");
  return commit === "" ? "" : `+${commit.trim()}`;
}

/** The compiler for an architecture: $CC, or Debian's. */
export function compilerFor(architecture: Architecture, cc = Deno.env.get("CC")): string[] {
  const usual = architecture === Deno.build.arch ? "cc" : `${architecture}-linux-gnu-gcc`;
  return (cc?.trim() || usual).split(/\s+/);
}

/** What to install for it. */
function compilerPackages(architecture: Architecture): string {
  if (architecture === Deno.build.arch) return "gcc libc6-dev";
  const [gcc, libc] = { aarch64: ["aarch64", "arm64"], x86_64: ["x86-64", "amd64"] }[architecture];
  return `gcc-${gcc}-linux-gnu libc6-dev-${libc}-cross`;
}

/** Compiles the shim as ffi/shim.so, where an executable looks for it. */
async function buildShim(architecture: Architecture, folder: string): Promise<void> {
  const compiler = compilerFor(architecture);
  if (!await isInstalled(compiler[0]!)) {
    const packages = compilerPackages(architecture);
    throw new Error(
      `Cannot build ffi/shim.c: no C compiler "${
        compiler[0]
      }" (apt-get install ${packages}, or set CC)`,
    );
  }
  const options = ["-O2", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden", "-s"];
  await run([...compiler, ...options, "-o", `${folder}/shim.so`, `${folder}/shim.c`]);
  if (await machineOf(`${folder}/shim.so`) !== MACHINES[architecture]) {
    throw new Error(`Cannot use "${compiler.join(" ")}": it does not compile for ${architecture}`);
  }
  for await (const { name } of Deno.readDir(folder)) {
    if (/^shim-.*\.so/.test(name)) await Deno.remove(`${folder}/${name}`);
  }
}

/** Machines as ELF files number them (e_machine). */
const MACHINES: Record<Architecture, number> = { aarch64: 183, x86_64: 62 };

/** 0 for what is no library. */
async function machineOf(library: string): Promise<number> {
  const header = await Deno.readFile(library).catch(() => new Uint8Array());
  return header.length < 20 ? 0 : new DataView(header.buffer).getUint16(18, true);
}

/** All that can be measured: from source where that can be, and each step; `made` is that of `step`. */
async function candidates(
  architecture: Architecture,
  step: Step,
  made: string,
  folder: string,
): Promise<Record<string, string[]>> {
  const source = [Deno.execPath(), "run", "-A", "--no-prompt", "--no-check", ROOT + MAIN];
  const all: Record<string, string[]> = architecture === Deno.build.arch ? { source } : {};
  for (const name of Object.keys(STEPS) as Step[]) {
    const path = name === step ? made : await compile(architecture, name, `${folder}/${name}`);
    all[name] = [path];
  }
  return all;
}

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      target: { type: "string", default: `${Deno.build.arch}-unknown-linux-gnu` },
      plain: { type: "boolean" },
      steps: { type: "boolean" },
      json: { type: "boolean" },
    },
  });
  const architecture = architectureOf(values.target);
  const step = values.plain ? "plain" : DELIVERED;
  const executable = await compile(architecture, step);
  const runner = await runnerOf(architecture);
  const folder = await Deno.makeTempDir({ prefix: "viola-steps-" });
  let costs: Cost[] = [];
  try {
    const commands = values.steps
      ? await candidates(architecture, step, executable, folder)
      : { [step]: [executable] };
    if (runner !== null) costs = await measureCost(commands, runner);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  const { size } = await Deno.stat(executable);
  const text = values.json
    ? JSON.stringify({ executable, bytes: size, costs })
    : costText(executable, size, costs, runner);
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    Deno.stderr.writeSync(new TextEncoder().encode(`${(error as Error).message}\n`));
    Deno.exit(1);
  }
}
