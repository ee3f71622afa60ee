// SPDX-License-Identifier: Apache-2.0
/**
 * The emulator: the machine's own if it is new enough, else one from Debian's backports.
 *
 * @module
 */
import { cached } from "./cache.ts";
import { run } from "./command.ts";
import { Apt } from "./packages.ts";

const EMULATOR = "qemu-system-aarch64";

/** Where older ones count instructions, the first of several busy processors starves the others. */
const OLDEST = 8.1;

/** Debian's name for the release before its present one, whose packages run on both. */
const SUITE = "bookworm-backports";
const PACKAGES = ["qemu-system-arm", "qemu-system-common", "qemu-system-data"];

/** The emulator's path. Its libraries are those that the machine's own brought. */
export async function findEmulator(): Promise<string> {
  if (await versionOf(EMULATOR) >= OLDEST) return EMULATOR;
  const folder = await cached("emulator", `${SUITE} ${PACKAGES}`, unpackEmulator);
  return `${folder}/usr/bin/${EMULATOR}`;
}

/** 7.2 for "QEMU emulator version 7.2.22 (Debian …)". */
async function versionOf(emulator: string): Promise<number> {
  const text = await run([emulator, "--version"]);
  const [, version] = /version (\d+\.\d+)/.exec(text) ?? [];
  if (version === undefined) throw new Error(`Cannot tell the version of ${emulator}: ${text}`);
  return Number(version);
}

async function unpackEmulator(folder: string): Promise<void> {
  const architecture = (await run(["dpkg", "--print-architecture"])).trim();
  const apt = await Apt.create(`${folder}/apt`, { suite: SUITE, architectures: [architecture] });
  await apt.fetch(...PACKAGES);
  await apt.unpack(folder);
  await Deno.remove(apt.folder, { recursive: true });
  await versionOf(`${folder}/usr/bin/${EMULATOR}`); // throws if a library is not at hand
}
