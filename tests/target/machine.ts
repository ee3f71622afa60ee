// SPDX-License-Identifier: Apache-2.0
/**
 * The emulated machine's parts: Debian's arm64 kernel with the headers to build modules for it, and a user land. All of
 * it comes from Debian's packages, is made once per recipe, and is kept in the user's cache.
 *
 * The user land lies in the initial RAM file system, and stays there: no disk, no loop device, no mount on the host.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { cached } from "./cache.ts";
import { newest, run } from "./command.ts";
import { buildDaemons } from "./daemons.ts";
import { buildDrivers, makeModules } from "./drivers.ts";
import { findEmulator } from "./emulator.ts";
import { Apt, type Release } from "./packages.ts";
import { addPrograms, PROGRAMS } from "./programs.ts";

const KERNEL_RELEASE: Release = {
  suite: "bookworm-backports",
  architectures: ["arm64", "amd64"],
};
/** The series whose newest kernel is taken. */
const KERNEL_SERIES = "6.12";

const USER_LAND_RELEASE: Release = { suite: "trixie", architectures: ["arm64"] };
const USER_LAND = [
  ...["busybox-static", "alsa-utils", "kmod", "procps", "util-linux", "bsdutils", "libgcc-s1"],
  ...["pipewire-bin", "wireplumber"],
];

/** Modules of the kernel that the machine has at hand, each with those it needs. */
const MODULES = [
  ...["virtio_snd", "virtio-rng", "virtio_blk", "virtio_input", "virtio_net"],
  ...["vmw_vsock_virtio_transport", "can-raw", "can-dev", "vcan"],
  // Chips, buses and cards for the daemons and for viola's own devices.
  ...["configfs", "uinput", "evdev", "tun", "veth", "i2c-dev", "spidev", "ext4"],
];

/** What of the packages is of no use to a machine that nobody logs in to, and that has an init of its own. */
const LEFT_OUT = [
  ...["doc", "man", "locale", "bug"].map((name) => `usr/share/${name}`),
  ...["usr/lib/systemd", "usr/lib/aarch64-linux-gnu/systemd", "usr/lib/udev"],
];

/** A kernel, unpacked. */
export interface Kernel {
  /** `uname -r`. */
  readonly version: string;
  readonly image: string;
  /** Where external modules are built. */
  readonly headers: string;
}

/** All that every boot needs. */
export interface Machine {
  /** The program that emulates it. */
  readonly emulator: string;
  readonly kernel: Kernel;
  /** The user land as an archive for the initial RAM file system. */
  readonly userLand: string;
  /** The test driver. */
  readonly module: string;
  /** A folder of foreign daemons. */
  readonly daemons: string;
}

/** Assembles the machine, or finds it in the cache. */
export async function assembleMachine(): Promise<Machine> {
  const kernelRecipe = [KERNEL_RELEASE, KERNEL_SERIES, unpackKernel];
  const kernelFolder = await cached("kernel", recipe(...kernelRecipe), unpackKernel);
  const kernel = await findKernel(kernelFolder);
  const drivers = await buildDrivers(kernelFolder, kernel.headers);
  const make = (folder: string): Promise<void> =>
    makeUserLand(folder, kernelFolder, drivers, kernel);
  const tables = [USER_LAND_RELEASE, USER_LAND, MODULES, LEFT_OUT, PROGRAMS];
  const makers = [makeUserLand, addModules, addLinks, addPrograms];
  const recipeText = recipe(kernelFolder, drivers, ...tables, ...makers);
  const userLandFolder = await cached("userland", recipeText, make);
  const module = await buildModule(kernelFolder, kernel);
  const daemons = await buildDaemons();
  const emulator = await findEmulator();
  return { emulator, kernel, userLand: `${userLandFolder}/userland.cpio`, module, daemons };
}

/** What a made folder depends on: the code that makes it, and tables. */
function recipe(...parts: readonly unknown[]): string {
  return parts.map((part) => typeof part === "function" ? String(part) : JSON.stringify(part))
    .join("\n");
}

// ---- kernel ----

async function unpackKernel(folder: string): Promise<void> {
  const apt = await Apt.create(`${folder}/apt`, KERNEL_RELEASE);
  const names = await apt.search(`^linux-headers-${KERNEL_SERIES}.*[0-9]-arm64$`);
  const version = newest(names)?.replace("linux-headers-", "");
  if (version === undefined) throw new Error(`Cannot find a kernel ${KERNEL_SERIES} for arm64`);
  const common = version.replace(/-arm64$/, "");
  await apt.fetch(
    `linux-image-${version}`,
    `linux-headers-${version}`,
    `linux-headers-${common}-common`,
    `linux-kbuild-${common}:amd64`,
  );
  await apt.unpack(folder);
  // With it at hand a module's build asks for tools to describe its types.
  await Deno.remove(`${folder}/usr/src/linux-headers-${version}/vmlinux`);
  await Deno.remove(apt.folder, { recursive: true });
}

/** Finds the kernel that was unpacked, and points its headers at where they are now. */
async function findKernel(folder: string): Promise<Kernel> {
  const [version] = (await Array.fromAsync(Deno.readDir(`${folder}/lib/modules`))).map((e) =>
    e.name
  );
  const headers = `${folder}/usr/src/linux-headers-${version}`;
  const common = headers.replace(/-arm64$/, "-common");
  await Deno.writeTextFile(`${headers}/Makefile`, `include ${common}/Makefile\n`);
  return { version: version!, image: `${folder}/boot/vmlinuz-${version}`, headers };
}

// ---- user land ----

async function makeUserLand(
  folder: string,
  kernelFolder: string,
  drivers: string,
  kernel: Kernel,
): Promise<void> {
  const root = `${folder}/root`;
  const apt = await Apt.create(`${folder}/apt`, USER_LAND_RELEASE);
  await apt.fetchWithDependencies(...USER_LAND);
  await addLinks(root);
  await apt.unpack(root);
  for (const path of LEFT_OUT) await run(["rm", "-rf", `${root}/${path}`]);
  await addPrograms(root, PROGRAMS, USER_LAND_RELEASE, `${folder}/programs`);
  await addModules(root, kernelFolder, drivers, kernel);
  await archive(root, `${folder}/userland.cpio`);
  await Deno.remove(root, { recursive: true });
  await Deno.remove(apt.folder, { recursive: true });
}

/** What maintainer scripts would have made. */
async function addLinks(root: string): Promise<void> {
  for (const name of ["bin", "sbin", "lib"]) {
    await Deno.mkdir(`${root}/usr/${name}`, { recursive: true });
    await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  }
  for (const name of ["dev", "etc", "proc", "run", "sys", "tmp", "var/lib/alsa"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
  await Deno.writeTextFile(
    `${root}/etc/passwd`,
    "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
  );
  await Deno.writeTextFile(`${root}/etc/group`, "root:x:0:\naudio:x:29:\n");
}

/** Unpacks the modules, so that nothing in the machine need know how, and adds those that were built. */
async function addModules(
  root: string,
  kernelFolder: string,
  drivers: string,
  { version }: Kernel,
): Promise<void> {
  await run(["depmod", "-b", kernelFolder, version]);
  const modprobe = ["modprobe", "-d", kernelFolder, "-S", version, "--show-depends", "-a"];
  const lines = (await run([...modprobe, ...MODULES])).split("\n");
  const folder = `${root}/usr/lib/modules/${version}`;
  await Deno.mkdir(folder, { recursive: true });
  for (const path of new Set(lines.map((line) => /^insmod (\S+)/.exec(line)?.[1]))) {
    if (path === undefined) continue;
    await run(["cp", path, folder]);
    if (path.endsWith(".xz")) await run(["xz", "-d", `${folder}/${path.split("/").at(-1)}`]);
  }
  for (const name of ["order", "builtin", "builtin.modinfo"]) {
    await run(["cp", `${kernelFolder}/lib/modules/${version}/modules.${name}`, folder]);
  }
  await run(["cp", "-r", `${drivers}/.`, folder]);
  await run(["depmod", "-b", root, version]);
}

/** Packs a folder as an initial RAM file system. */
export async function archive(folder: string, file: string): Promise<void> {
  const names = await run(["find", ".", "-mindepth", "1"], { cwd: folder });
  const cpio = ["cpio", "-o", "-H", "newc", "-R", "0:0", "--quiet", "-O", file];
  await run(cpio, { cwd: folder, input: names });
}

// ---- programs, and the driver ----

/** Builds a program of one file for the machine. */
export async function buildProgram(source: URL, path: string): Promise<void> {
  const options = ["-O2", "-Wall", "-Werror", "-static", "-pthread"];
  await run(["aarch64-linux-gnu-gcc", ...options, "-o", path, fileURLToPath(source)]);
}

const MODULE = new URL("./module/", import.meta.url);

/** Builds the test driver for a kernel, or finds it in the cache. @returns the module's path */
async function buildModule(kernelFolder: string, { headers }: Kernel): Promise<string> {
  const sources = [...Deno.readDirSync(MODULE)].filter(({ isFile }) => isFile)
    .map(({ name }) => name).sort();
  const texts = sources.map((name) => Deno.readTextFileSync(new URL(name, MODULE)));
  const recipeText = recipe(kernelFolder, makeModule, makeModules, sources, texts);
  const folder = await cached("module", recipeText, (folder) => makeModule(folder, headers));
  return `${folder}/viola_loopback.ko`;
}

async function makeModule(folder: string, headers: string): Promise<void> {
  const source = `${folder}/source`;
  await run(["cp", "-r", fileURLToPath(MODULE), source]);
  await makeModules(source, headers, folder, "KCFLAGS=-Werror");
}
