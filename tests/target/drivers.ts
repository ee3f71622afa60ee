// SPDX-License-Identifier: Apache-2.0
/**
 * Linux's drivers that Debian does not build, or not for this kernel: fetched as Debian's packages of the kernel's source,
 * and built as external modules. None of it is part of viola.
 *
 * @module
 */
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { cached } from "./cache.ts";
import { newest, run } from "./command.ts";
import { Apt, type Release } from "./packages.ts";

/** A package with the kernel's source, the newest whose name matches, and what is taken of it. */
interface Source {
  readonly release: Release;
  readonly pattern: string;
  readonly files: readonly string[];
}

const SOURCES: readonly Source[] = [
  {
    release: { suite: "bookworm-backports", architectures: ["arm64"] },
    pattern: String.raw`^linux-source-6\.12$`,
    files: [
      ...["drivers/gpio/gpio-virtio.c", "drivers/i2c/busses/i2c-virtio.c"],
      // Chips for the daemons.
      ...["drivers/gpio/gpio-sim.c", "kernel/irq/irq_sim.c", "drivers/i2c/i2c-stub.c"],
    ],
  },
  {
    release: { suite: "sid", architectures: ["arm64"] },
    pattern: String.raw`^linux-source-7\.[0-9]+$`,
    files: [
      ...["drivers/net/can/virtio_can.c", "include/uapi/linux/virtio_can.h"],
      ...["drivers/spi/spi-virtio.c", "include/uapi/linux/virtio_spi.h"],
    ],
  },
];

/** What is written differently for this kernel: file, text, text instead. */
const CHANGES = [
  // A member's place in 6.12.
  ["virtio_can.c", "can.fd.data_bittiming", "can.data_bittiming"],
  // What modules may call.
  ["irq_sim.c", "handle_simple_irq(irq_to_desc(irqnum))", "generic_handle_irq(irqnum)"],
] as const;

const OWN = new URL("./drivers/", import.meta.url);

/** Builds the drivers for a kernel, or finds them in the cache. @returns the folder with the modules */
export async function buildDrivers(kernelFolder: string, headers: string): Promise<string> {
  const texts = ["Kbuild", "newer.h"].map((name) => Deno.readTextFileSync(new URL(name, OWN)));
  const tables = JSON.stringify([SOURCES, CHANGES]);
  const recipe = [kernelFolder, tables, makeDrivers, fetchSource, makeModules, ...texts].map(
    String,
  );
  return await cached("drivers", recipe.join("\n"), (folder) => makeDrivers(folder, headers));
}

async function makeDrivers(folder: string, headers: string): Promise<void> {
  const source = `${folder}/source`;
  await run(["cp", "-r", fileURLToPath(OWN), source]);
  await Deno.mkdir(`${source}/linux`);
  for (const each of SOURCES) await fetchSource(each, `${folder}/apt`, source);
  for (const [name, from, to] of CHANGES) {
    const text = await Deno.readTextFile(`${source}/${name}`);
    if (!text.includes(from)) throw new Error(`Cannot change "${from}" in ${name}: not there`);
    await Deno.writeTextFile(`${source}/${name}`, text.replaceAll(from, to));
  }
  await makeModules(source, headers, folder);
}

/** Fetches a package, and puts the files of it side by side; headers into the folder that they are included from. */
async function fetchSource(
  { release, pattern, files }: Source,
  aptFolder: string,
  folder: string,
): Promise<void> {
  const apt = await Apt.create(aptFolder, release);
  const name = newest(await apt.search(pattern));
  if (name === undefined) throw new Error(`Cannot find a package ${pattern} in ${release.suite}`);
  await apt.fetch(name);
  const archives = `${aptFolder}/cache/archives`;
  const members = files.map((file) => `${name}/${file}`);
  const pipeline = `dpkg-deb --fsys-tarfile ${archives}/${name}_*.deb |
    tar -xO ./usr/src/${name}.tar.xz | tar -xJ -C ${aptFolder} ${members.join(" ")}`;
  await run(["bash", "-c", `set -o pipefail; ${pipeline}`]);
  for (const file of files) {
    const into = file.endsWith(".h") ? `${folder}/linux` : folder;
    await Deno.rename(`${aptFolder}/${name}/${file}`, `${into}/${basename(file)}`);
  }
  await Deno.remove(aptFolder, { recursive: true });
}

/**
 * Builds external modules.
 *
 * @param source The folder with their Kbuild, which is gone afterwards
 * @param headers The kernel's
 * @param folder Where the modules are put
 */
export async function makeModules(
  source: string,
  headers: string,
  folder: string,
  ...options: string[]
): Promise<void> {
  const cross = ["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-", "CC=aarch64-linux-gnu-gcc"];
  await run(["make", "-C", headers, `M=${source}`, ...cross, ...options, "modules"]);
  for await (const { name } of Deno.readDir(source)) {
    if (!name.endsWith(".ko")) continue;
    await run(["aarch64-linux-gnu-strip", "--strip-debug", `${source}/${name}`]);
    await Deno.rename(`${source}/${name}`, `${folder}/${name}`);
  }
  await Deno.remove(source, { recursive: true });
}
