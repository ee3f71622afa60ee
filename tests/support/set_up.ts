// SPDX-License-Identifier: Apache-2.0
/**
 * Sets this machine up for the tests, the demo or the emulated machine: installs what needs.ts lists and is not there.
 *
 *     deno task set-up [demo|test|target|ci]
 *
 * Tasks do this first, so nobody need call it; where all is there it takes some milliseconds. Packages take root and apt:
 * without them it says in one line what to install.
 *
 * @module
 */
import {
  cacheFolder,
  DAEMON_PACKAGES,
  type DaemonName,
  daemonRoot,
  DAEMONS,
  firstLine,
  isDaemonInstalled,
  OLDEST_DENO,
  oldestDeno,
  PACKAGES,
  type Purpose,
  PURPOSES,
} from "./needs.ts";
import { runLong, spoken, tell } from "./progress.ts";

/** Seconds that apt waits for another apt. */
const APT_PATIENCE = 600;

/** What is not there. */
export interface Missing {
  readonly packages: readonly string[];
  readonly daemons: readonly DaemonName[];
  readonly oldestDeno: boolean;
}

/** Whether a program is on the path, or a file is there. @param what A name, or an absolute path */
export function isThere(what: string): boolean {
  const folders = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== "");
  // Programs for root are not on everybody's path.
  const places = what.startsWith("/")
    ? [what]
    : [...folders, "/usr/sbin", "/sbin"].map((folder) => `${folder}/${what}`);
  return places.some((path) => {
    try {
      Deno.statSync(path);
      return true;
    } catch {
      return false;
    }
  });
}

/** What a purpose needs and this machine has not. */
export function missingFor(purpose: Purpose, has = isThere): Missing {
  const purposes: Purpose[] = [...PURPOSES[purpose], purpose];
  const names = Object.keys(DAEMONS) as DaemonName[];
  const daemons = purposes.includes("test") ? names.filter((name) => !isDaemonInstalled(name)) : [];
  const oldest = purpose === "ci" && firstLine(oldestDeno(), "-V") !== `deno ${OLDEST_DENO}`;
  const wanted = [
    ...purposes.map((name) => PACKAGES[name]),
    ...daemons.length > 0 ? [DAEMON_PACKAGES] : [],
    ...oldest ? [{ "python3-venv": `${venvModule()}` }] : [],
  ].flatMap((table) => Object.entries(table));
  // Who names a compiler of their own has one.
  const own = Deno.env.has("HOSTCC") ? ["gcc"] : [];
  const packages = wanted.filter(([name, shows]) => !own.includes(name) && !has(shows));
  return { packages: packages.map(([name]) => name), daemons, oldestDeno: oldest };
}

/** The file that shows that Python can make a virtual environment with pip in it. */
function venvModule(): string {
  const find = "import ensurepip; print(ensurepip.__file__)";
  return firstLine("python3", "-c", find) || "/usr/lib/python3/ensurepip";
}

/** Why packages cannot be installed here, with what to do instead; null where they can. */
export function refusal(
  packages: readonly string[],
  { isDebian, isRoot }: { isDebian: boolean; isRoot: boolean },
): string | null {
  const names = packages.join(" ");
  if (!isDebian) return `no apt-get. Install what Debian calls ${names}`;
  if (isRoot) return null;
  const install = `apt-get install -y --no-install-recommends ${names}`;
  return `not root. Run: sudo sh -c 'apt-get update && ${install}'`;
}

/** Installs Debian's packages. @throws {Error} when this may not be done here, with what to run instead */
async function installPackages(packages: readonly string[], purpose: Purpose): Promise<void> {
  const refused = refusal(packages, { isDebian: isThere("apt-get"), isRoot: Deno.uid() === 0 });
  if (refused !== null) throw new Error(`Cannot set up for "${purpose}": ${refused}`);
  tell(`set-up: ${packages.length} of Debian's packages: ${packages.join(" ")}`);
  const apt = ["apt-get", "-q", "-o", `DPkg::Lock::Timeout=${APT_PATIENCE}`];
  const env = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
  await runLong("set-up: lists of packages", [...apt, "update"], { fetched: /^Get:/ }, { env });
  const counted = { "fetched": /^Get:/, "unpacked": /^Unpacking /, "set up": /^Setting up / };
  const command = [...apt, "install", "-y", "--no-install-recommends", ...packages];
  await runLong("set-up: packages", command, counted, { env });
}

/** Builds and installs foreign daemons. @throws {Error} when there is no cargo */
async function installDaemons(names: readonly DaemonName[]): Promise<void> {
  const own = `${Deno.env.get("HOME")}/.cargo/bin/cargo`;
  const cargo = ["cargo", own].find(isThere);
  if (cargo === undefined) {
    throw new Error(
      `Cannot build ${names.join(", ")}: no cargo (from rustup, or on Debian 12: ` +
        "apt-get install cargo-web rustc-web)",
    );
  }
  for (const name of names) {
    const command = [cargo, "install", "--locked", "--root", daemonRoot(), ...DAEMONS[name]];
    const counted = { fetched: /^ *Downloaded /, compiled: /^ *Compiling / };
    await runLong(`set-up: daemon ${DAEMONS[name][0]}`, command, counted);
  }
}

/** Installs the oldest Deno in an environment of its own. */
async function installOldestDeno(): Promise<void> {
  const folder = oldestDeno().replace("/bin/deno", "");
  const title = `set-up: Deno ${OLDEST_DENO}`;
  await runLong(`${title}, environment`, ["python3", "-m", "venv", "--clear", folder], {});
  await runLong(title, [`${folder}/bin/pip`, "install", `deno==${OLDEST_DENO}`], {});
}

const isAnythingOf = ({ packages, daemons, oldestDeno }: Missing): boolean =>
  packages.length + daemons.length > 0 || oldestDeno;

/** Sets this machine up. Whoever comes second waits for the first, and finds it done. */
export async function setUp(purpose: Purpose): Promise<void> {
  if (!isAnythingOf(missingFor(purpose))) return;
  const since = performance.now();
  await Deno.mkdir(cacheFolder(), { recursive: true });
  using lock = await Deno.open(`${cacheFolder()}/set-up.lock`, { write: true, create: true });
  await lock.lock(true);
  const { packages, daemons, oldestDeno } = missingFor(purpose);
  if (packages.length > 0) await installPackages(packages, purpose);
  if (daemons.length > 0) await installDaemons(daemons);
  if (oldestDeno) await installOldestDeno();
  const left = missingFor(purpose);
  if (isAnythingOf(left)) {
    throw new Error(`Cannot set up for "${purpose}": installed, but not found: ${nameAll(left)}`);
  }
  tell(`set-up: all that "${purpose}" needs is there, after ${spoken(performance.now() - since)}`);
}

function nameAll({ packages, daemons, oldestDeno }: Missing): string {
  return [...packages, ...daemons, ...oldestDeno ? [`Deno ${OLDEST_DENO}`] : []].join(", ");
}

if (import.meta.main) {
  const [purpose = "ci"] = Deno.args;
  try {
    if (!Object.hasOwn(PURPOSES, purpose)) {
      const known = Object.keys(PURPOSES).join(", ");
      throw new Error(`Cannot set up for "${purpose}", expected one of ${known}`);
    }
    await setUp(purpose as Purpose);
  } catch (error) {
    tell((error as Error).message);
    Deno.exit(1);
  }
}
