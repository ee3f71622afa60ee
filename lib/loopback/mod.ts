// SPDX-License-Identifier: Apache-2.0
/**
 * Loopback devices behind one interface: the AGL driver's nodes, and the software loopback device.
 *
 * @module
 */
import { type Fd, osError, type Reactor, readSystemFile, readSystemLink } from "../../ffi/mod.ts";
import {
  AGL_RELEASES,
  AglLoopback,
  aglNodeOf,
  aglRelease,
  checkAglNode,
  checkUnopened,
  openAglNode,
  parseIomem,
} from "./agl.ts";
import type { Loopback, MemoryMode } from "./port.ts";
import { checkSoftNode, SoftLoopback } from "./soft.ts";

export * from "./agl.ts";
export * from "./chunks.ts";
export * from "./page.ts";
export * from "./port.ts";
export * from "./soft.ts";
export * from "./views.ts";

const SOFT = "soft:";

function releaseOf(name: string): string {
  const release = aglRelease(name);
  if (release !== null) return release;
  throw new TypeError(
    `Cannot open "${name}": not a loopback device, expected soft:PATH, /dev/loopback or /dev/loopback-N`,
  );
}

/**
 * The canonical name of a loopback device, by which the descriptor store knows it. A soft device's path is made absolute,
 * and links in its folder are resolved.
 */
export function canonicalName(name: string): string {
  if (!name.startsWith(SOFT)) return name;
  const path = name.slice(SOFT.length);
  const slash = path.lastIndexOf("/");
  const folder = slash < 0 ? "." : path.slice(0, slash + 1);
  try {
    return SOFT + absolute(`${Deno.realPathSync(folder)}/${path.slice(slash + 1)}`);
  } catch {
    return SOFT + absolute(path); // the folder does not exist
  }
}

function absolute(path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith("/") ? path : `${Deno.cwd()}/${path}`).split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/** Whether a loopback device is unusable after its first close until the machine is restarted, as AGL's nodes are. */
export function hasOneLife(name: string): boolean {
  return aglRelease(name) !== null;
}

/**
 * Checks that a loopback device exists, without opening it: it is opened when the back-end has answered.
 *
 * @throws {TypeError} when the name is of no known kind
 * @throws {OsError} when it is absent or something else
 */
export function checkLoopback(name: string): void {
  if (name.startsWith(SOFT)) return checkSoftNode(name.slice(SOFT.length));
  releaseOf(name);
  checkAglNode(name);
}

/**
 * Checks that a node of AGL's driver was never opened; for nodes that are not in the descriptor store.
 *
 * @throws {OsError} EBUSY while a process has it open, ENODEV when the node is spent
 */
export function checkUnopenedLoopback(name: string): void {
  if (!name.startsWith(SOFT)) checkUnopened(name);
}

/**
 * Opens a loopback device by name: `soft:PATH`, `/dev/loopback` or `/dev/loopback-N`.
 *
 * @param reactor Used to wait for a soft device's reply
 * @param memory Who maps the driver's memory
 * @throws {TypeError} when the name is none of these
 * @throws {OsError} when it is absent, busy, or something else
 */
export async function openLoopback(
  name: string,
  memory: MemoryMode,
  reactor: Reactor,
): Promise<Loopback> {
  if (name.startsWith(SOFT)) return await SoftLoopback.open(name.slice(SOFT.length), reactor);
  const abi = AGL_RELEASES[releaseOf(name)]!;
  const ram = memory === "isolated" ? parseIomem(readSystemFile("/proc/iomem")) : [];
  return AglLoopback.open(openAglNode(name), abi, { memory, ram });
}

/**
 * Restores a loopback device that another process had open. Its driver continues; START_LOOPBACK is not repeated.
 *
 * @param fds Copies of the other process's {@linkcode Loopback.kept}; closed with the device
 * @returns null when the device has ended meanwhile
 * @throws {OsError} when the descriptors do not belong to such a device
 * @throws {Error} for direct memory on the AGL driver: the windows are used up
 */
export function restoreLoopback(name: string, memory: MemoryMode, fds: Fd[]): Loopback | null {
  if (name.startsWith(SOFT)) return SoftLoopback.restore(name.slice(SOFT.length), fds);
  const abi = AGL_RELEASES[releaseOf(name)]!;
  const [fd] = fds;
  if (fd === undefined || fds.length !== 1) {
    throw osError(`restore ${name} with ${fds.length} descriptors instead of 1`, "EPROTO");
  }
  const found = readSystemLink(`/proc/self/fd/${fd.number}`);
  if (found !== name && aglRelease(found) !== null) {
    throw osError(`restore ${name} with the descriptor of ${found}`, "EPROTO");
  }
  if (memory === "direct") {
    throw new Error(
      `Cannot restore ${name} with direct memory: the driver gives it to one back-end only (use isolated memory)`,
    );
  }
  const ram = parseIomem(readSystemFile("/proc/iomem"));
  return AglLoopback.open(aglNodeOf(name, fd), abi, { memory: "pieces", ram });
}
