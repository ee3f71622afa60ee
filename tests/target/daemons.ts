// SPDX-License-Identifier: Apache-2.0
/**
 * The foreign vhost-user daemons for the emulated machine: those that the tests on this machine use too, cross-built in a
 * chroot of the release that the machine's user land is of. Takes root, as chroot does; the chroot is gone afterwards.
 *
 * @module
 */
import { DAEMONS } from "../support/needs.ts";
import { runLong } from "../support/progress.ts";
import { cached } from "./cache.ts";
import { run } from "./command.ts";
import { Apt, type Release } from "./packages.ts";

const RELEASE: Release = { suite: "trixie", architectures: ["amd64", "arm64"] };

/** What builds them, and what they are linked with. bindgen reads headers with libclang. */
const PACKAGES = [
  ...["rustc", "cargo", "pkgconf-bin", "gcc", "libc6-dev", "libclang-19-dev"],
  ...["gcc-aarch64-linux-gnu", "libc6-dev:arm64", "libstd-rust-dev:arm64"],
  "libpipewire-0.3-dev:arm64",
];

const TARGET = "aarch64-unknown-linux-gnu";
const CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** The chroot's environment: there is no `cc`, and pkg-config must not answer for the builder itself. */
const ENVIRONMENT = {
  PATH: "/usr/bin:/usr/sbin",
  HOME: "/root",
  CARGO_HOME: "/root/cargo",
  CARGO_HTTP_CAINFO: CERTIFICATES,
  CARGO_TARGET_DIR: "/root/build",
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER: "gcc",
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: "aarch64-linux-gnu-gcc",
  PKG_CONFIG: "/usr/bin/pkgconf",
  PKG_CONFIG_ALLOW_CROSS: "1",
  PKG_CONFIG_PATH: "/usr/lib/aarch64-linux-gnu/pkgconfig",
};

/** Builds the daemons, or finds them in the cache. @returns the folder with the executables */
export async function buildDaemons(): Promise<string> {
  const tables = [RELEASE, PACKAGES, TARGET, ENVIRONMENT, DAEMONS];
  const recipe = [JSON.stringify(tables), ...[makeDaemons, makeBuilder].map(String)].join("\n");
  return `${await cached("daemons", recipe, makeDaemons)}/bin`;
}

async function makeDaemons(folder: string): Promise<void> {
  const root = `${folder}/builder`;
  await makeBuilder(root);
  for (const crate of Object.values(DAEMONS)) {
    const install = ["cargo", "install", "--locked", "--target", TARGET, "--root", "/out"];
    const counted = { fetched: /^ *Downloaded /, compiled: /^ *Compiling / };
    const command = ["chroot", root, ...install, ...crate];
    await runLong(`target: daemon ${crate[0]}`, command, counted, { env: ENVIRONMENT });
  }
  await Deno.rename(`${root}/out/bin`, `${folder}/bin`);
  for (const name of Object.keys(DAEMONS)) {
    await run(["aarch64-linux-gnu-strip", `${folder}/bin/${name}`]);
  }
  await Deno.remove(root, { recursive: true });
}

/** A folder to chroot to: compilers and libraries, and from this machine what it takes to reach the crates. */
async function makeBuilder(root: string): Promise<void> {
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await Deno.mkdir(`${root}/usr/${name}`, { recursive: true });
    await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  }
  for (const name of ["dev", "etc/ssl/certs", "root", "tmp"]) {
    await Deno.mkdir(`${root}/${name}`, { recursive: true });
  }
  await run(["cp", "-a", "/dev/null", "/dev/urandom", `${root}/dev/`]);
  const apt = await Apt.create(`${root}/apt`, RELEASE);
  await apt.fetchWithDependencies(...PACKAGES);
  await apt.unpack(root);
  for (const path of ["/etc/resolv.conf", "/etc/hosts", CERTIFICATES]) {
    await run(["cp", "-L", path, `${root}${path}`]);
  }
}
