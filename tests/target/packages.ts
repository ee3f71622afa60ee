// SPDX-License-Identifier: Apache-2.0
/**
 * Packages of another Debian release and architecture, fetched and unpacked without touching the machine's own apt.
 *
 * @module
 */
import { type Counted, runLong } from "../support/progress.ts";
import { run } from "./command.ts";

/** What apt says of what it fetches. */
const FETCHED: Counted = { fetched: /^Get:/ };

/** A Debian release as a source of packages. */
export interface Release {
  /** Its name, such as "trixie". */
  readonly suite: string;
  /** The first is the one that packages are for when nothing else is said. */
  readonly architectures: readonly string[];
}

/** The mirror that this machine uses itself. */
async function mirror(): Promise<string> {
  const uris = await run([
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI)",
    "Created-By: Packages",
  ]);
  const uri = uris.split("\n").find((line) => /\/debian\/?$/.test(line));
  if (uri === undefined) throw new Error("Cannot find a Debian mirror: apt knows none");
  return uri;
}

/** apt for one release, in a folder of its own. */
export class Apt {
  private constructor(
    readonly folder: string,
    readonly suite: string,
    readonly options: readonly string[],
  ) {}

  /** Sets it up in `folder` and fetches the lists. */
  static async create(folder: string, { suite, architectures }: Release): Promise<Apt> {
    for (const name of ["lists/partial", "cache/archives/partial"]) {
      await Deno.mkdir(`${folder}/${name}`, { recursive: true });
    }
    const list = `deb [arch=${architectures.join(",")}] ${await mirror()} ${suite} main\n`;
    await Deno.writeTextFile(`${folder}/sources.list`, list);
    await Deno.writeTextFile(`${folder}/status`, "");
    const settings = [
      `APT::Architecture=${architectures[0]}`,
      ...architectures.map((architecture) => `APT::Architectures::=${architecture}`),
      `APT::Sandbox::User=root`,
      `Dir::Etc::sourcelist=${folder}/sources.list`,
      `Dir::Etc::sourceparts=/dev/null`,
      `Dir::State::Lists=${folder}/lists`,
      `Dir::State::status=${folder}/status`,
      `Dir::Cache=${folder}/cache`,
      "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
      "Acquire::Languages=none",
      "Debug::NoLocking=1",
    ];
    const apt = new Apt(folder, suite, settings.flatMap((setting) => ["-o", setting]));
    await apt.#get("lists", "update");
    return apt;
  }

  async #get(what: string, ...args: string[]): Promise<void> {
    const command = ["apt-get", "-q", ...this.options, ...args];
    const options = { cwd: `${this.folder}/cache/archives` };
    await runLong(`target: ${what} of ${this.suite}`, command, FETCHED, options);
  }

  /** Names of packages that match a regular expression. */
  async search(pattern: string): Promise<string[]> {
    const command = ["apt-cache", ...this.options, "search", "--names-only", pattern];
    const lines = await run(command);
    return lines.split("\n").filter((line) => line !== "").map((line) => line.split(" ")[0]!);
  }

  /** Fetches packages alone. */
  async fetch(...names: string[]): Promise<void> {
    await this.#get("packages", "download", ...names);
  }

  /** Fetches packages with all that they depend on. */
  async fetchWithDependencies(...names: string[]): Promise<void> {
    const options = ["-y", "--no-install-recommends", "--download-only"];
    await this.#get("packages", "install", ...options, ...names);
  }

  /** Unpacks all that was fetched. No maintainer script runs. */
  async unpack(root: string): Promise<void> {
    const archives = `${this.folder}/cache/archives`;
    for await (const { name } of Deno.readDir(archives)) {
      if (name.endsWith(".deb")) await run(["dpkg-deb", "-x", `${archives}/${name}`, root]);
    }
  }
}
