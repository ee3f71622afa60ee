// SPDX-License-Identifier: Apache-2.0
/**
 * Which systemd service a process is in: all its processes end with it, a store process among them.
 *
 * @module
 */
import { readSystemFile } from "../../../ffi/mod.ts";

/**
 * The service that a process is in, null when it is in none.
 *
 * @param cgroup What `/proc/PID/cgroup` says (cgroups(7)): the unit is the last part of the path that is one
 */
export function serviceOf(cgroup: string): string | null {
  const [, path] = /^(?:0:|\d+:name=systemd):(.*)$/m.exec(cgroup) ?? [];
  const unit = path?.split("/").findLast((part) => /\.(service|scope)$/.test(part));
  return unit?.endsWith(".service") ? unit : null;
}

/** The service that this process is in, null when it is in none. */
export function ownService(): string | null {
  try {
    return serviceOf(readSystemFile("/proc/self/cgroup"));
  } catch {
    return null; // a kernel without control groups
  }
}
