// SPDX-License-Identifier: Apache-2.0
/**
 * Single programs of Debian's packages for the emulated machine, each with the libraries that it is linked with and
 * nothing else: most of what their packages depend on is of no use there.
 *
 * @module
 */
import { dirname } from "node:path";
import { run } from "./command.ts";
import { Apt, type Release } from "./packages.ts";

/** Files, and the packages that they are in. */
export interface Programs {
  readonly packages: readonly string[];
  readonly files: readonly string[];
}

/** What uses the devices of all classes, and Debian's own vhost-user daemons. */
export const PROGRAMS: Programs = {
  packages: [
    ...["can-utils", "e2fsprogs", "evtest", "fio", "gpiod", "i2c-tools", "iperf3", "iproute2"],
    ...["iputils-ping", "passt", "qemu-utils", "socat", "virtiofsd"],
  ],
  files: [
    ...["candump", "cangen", "cansend", "evtest", "fio", "ip", "iperf3", "passt", "ping"].map(bin),
    ...["gpiodetect", "gpioget", "gpioinfo", "gpiomon", "gpioset"].map(bin),
    ...["qemu-storage-daemon", "socat"].map(bin),
    ...["e2fsck", "i2cdetect", "i2cget", "i2cset", "i2ctransfer", "mkfs.ext4"].map((name) =>
      `usr/sbin/${name}`
    ),
    ...["usr/libexec/virtiofsd", "etc/mke2fs.conf"],
  ],
};

function bin(name: string): string {
  return `usr/bin/${name}`;
}

/**
 * Adds programs to a root folder.
 *
 * @param work A folder for what is fetched and unpacked, gone afterwards
 * @throws {Error} when a file or a library is in none of the packages
 */
export async function addPrograms(
  root: string,
  { packages, files }: Programs,
  release: Release,
  work: string,
): Promise<void> {
  const apt = await Apt.create(`${work}/apt`, release);
  await apt.fetchWithDependencies(...packages);
  const from = `${work}/unpacked`;
  for (const name of ["bin", "sbin", "lib"]) {
    await Deno.mkdir(`${from}/usr/${name}`, { recursive: true });
    await Deno.symlink(`usr/${name}`, `${from}/${name}`);
  }
  await apt.unpack(from);
  const libraries = await librariesIn(from);
  const added = new Set(files);
  // What is added meanwhile is visited, too.
  for (const file of added) {
    await Deno.mkdir(`${root}/${dirname(file)}`, { recursive: true });
    await run(["cp", "-L", `${from}/${file}`, `${root}/${file}`]);
    for (const name of await neededBy(`${from}/${file}`)) {
      const library = libraries.get(name);
      if (library === undefined) throw new Error(`Cannot find ${name}, which ${file} needs`);
      added.add(library);
    }
  }
  await Deno.remove(work, { recursive: true });
}

/** The libraries below a folder: paths in it by name. */
async function librariesIn(folder: string): Promise<Map<string, string>> {
  const paths = (await run(["find", "usr/lib", "-name", "*.so*"], { cwd: folder })).split("\n");
  return new Map(paths.map((path) => [path.slice(path.lastIndexOf("/") + 1), path]));
}

/** The libraries that an ELF file is linked with; none for any other file. */
async function neededBy(path: string): Promise<string[]> {
  const text = await run(["aarch64-linux-gnu-readelf", "-d", path]).catch(() => "");
  return [...text.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]!);
}
