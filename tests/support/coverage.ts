// SPDX-License-Identifier: Apache-2.0
/**
 * How many lines of a room its own tests run, and that it is no less than it was:
 *
 *     deno task coverage
 *
 * The least share of each room stands in tests/coverage.json, in percent. It may only rise: who adds tests raises it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { tell } from "./progress.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const RATCHET = new URL("../coverage.json", import.meta.url);

/** Lines of a file that can run, and those that ran. */
export interface Lines {
  readonly file: string;
  readonly found: number;
  readonly hit: number;
}

/** Reads an lcov report: of each source file (SF) the lines found (LF) and hit (LH). */
export function parseLcov(text: string): Lines[] {
  return text.split("end_of_record").slice(0, -1).map((record) => {
    const value = (key: string) => new RegExp(`^${key}:(.*)$`, "m").exec(record)?.[1] ?? "";
    return { file: value("SF"), found: Number(value("LF")), hit: Number(value("LH")) };
  });
}

/** The share of lines that ran, in percent, of the files under a folder. @throws {Error} when there are none */
export function share(lines: readonly Lines[], folder: string): number {
  const own = lines.filter(({ file }) => file.startsWith(`${folder}/`));
  if (own.length === 0) throw new Error(`Cannot tell the coverage of ${folder}: no file of it ran`);
  const sum = (key: "found" | "hit") => own.reduce((total, one) => total + one[key], 0);
  return 100 * sum("hit") / sum("found");
}

/**
 * The lines of a file that was not even loaded, each of which counts as one that did not run; none for one of types only.
 *
 * @param text Its source
 */
export function linesNotRun(file: string, text: string): Lines {
  const hasCode = /^(export )?(default )?(async )?(function|class|const|let|await) /m.test(text);
  const code = text.replace(/^\s*(\/\/|\/?\*).*$/gm, "").split("\n").filter((line) => line.trim());
  return { file, found: hasCode ? code.length : 0, hit: 0 };
}

async function deno(...args: string[]): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder().decode(stdout);
  if (success) return text;
  const complaint = new TextDecoder().decode(stderr);
  // What failed comes after all that passed.
  const errors = text.slice(Math.max(text.indexOf("\n ERRORS "), 0));
  throw new Error(`Cannot run deno ${args.join(" ")}:\n${errors.slice(-16_000)}${complaint}`);
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(ROOT + path).isDirectory;
  } catch {
    return false;
  }
}

/** Runs a room's tests, of both layers. @returns the share of its lines that ran, in percent */
async function measure(room: string): Promise<number> {
  const profile = await Deno.makeTempDir({ prefix: "viola-coverage-" });
  try {
    const options = ["-A", "--no-prompt", "--no-check", `--coverage=${profile}`];
    const name = room.replace(/^lib\//, "");
    const folders = [`tests/${name}`, `tests/integration/${name}`].filter(isFolder);
    await deno("test", ...options, ...folders);
    const lines = parseLcov(await deno("coverage", "--lcov", profile));
    for (const { name } of Deno.readDirSync(ROOT + room)) {
      const file = `${ROOT}${room}/${name}`;
      if (!name.endsWith(".ts") || lines.some((one) => one.file === file)) continue;
      lines.push(linesNotRun(file, Deno.readTextFileSync(file)));
    }
    return share(lines, ROOT + room);
  } finally {
    await Deno.remove(profile, { recursive: true });
  }
}

if (import.meta.main) {
  const least = JSON.parse(await Deno.readTextFile(RATCHET)) as Record<string, number>;
  for (const [room, percent] of Object.entries(least)) {
    const found = await measure(room);
    tell(`${room}: ${found.toFixed(1)} % of its lines run in its own tests, at least ${percent} %`);
    if (found >= percent + 1) tell(`${room}: raise the number in tests/coverage.json`);
    if (found < percent) Deno.exitCode = 1;
  }
}
