// SPDX-License-Identifier: Apache-2.0
/**
 * What the kernel presents, behind one interface: the AGL driver's nodes, and the software loopback device.
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
    `Cannot open "${name}": it is no loopback device, expected soft:PATH, /dev/loopback or /dev/loopback-N`,
  );
}

/**
 * The one name of a loopback device, however the user spelled it: what is kept of a device is found by its name, from
 * whatever folder. A soft one's path is made absolute, without links in its folder.
 */
export function canonicalName(name: string): string {
  if (!name.startsWith(SOFT)) return name;
  const path = name.slice(SOFT.length);
  const slash = path.lastIndexOf("/");
  const folder = slash < 0 ? "." : path.slice(0, slash + 1);
  try {
    return SOFT + absolute(`${Deno.realPathSync(folder)}/${path.slice(slash + 1)}`);
  } catch {
    return SOFT + absolute(path); // there is no such folder, or not any more
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

/** Whether a loopback device's first close is its end, as it is of AGL's nodes, for as long as the machine runs. */
export function hasOneLife(name: string): boolean {
  return aglRelease(name) !== null;
}

/**
 * Refuses a loopback device that is not there, without opening it: that comes when the back-end has answered.
 *
 * @throws {TypeError} when the name is none that we know
 * @throws {OsError} when it is absent or something else
 */
export function checkLoopback(name: string): void {
  if (name.startsWith(SOFT)) return checkSoftNode(name.slice(SOFT.length));
  releaseOf(name);
  checkAglNode(name);
}

/**
 * Refuses a node of AGL's driver that was opened before: to be asked when nothing is kept of it.
 *
 * @throws {OsError} EBUSY while a process has it open, ENODEV when the node is spent
 */
export function checkUnopenedLoopback(name: string): void {
  if (!name.startsWith(SOFT)) checkUnopened(name);
}

/**
 * Opens a loopback device by name: `soft:PATH`, `/dev/loopback` or `/dev/loopback-N`.
 *
 * @param reactor What a soft device's answer is awaited with
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
 * Restores a loopback device that another process had open: nothing is started, the driver goes on.
 *
 * @param fds What the other's {@linkcode Loopback.kept} were; closed with the device
 * @returns null when the device has ended meanwhile
 * @throws {OsError} when they are not those of such a device
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
