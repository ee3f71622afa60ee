// SPDX-License-Identifier: Apache-2.0
/**
 * QEMU's block device.
 *
 * @module
 */
import { firstLine } from "./needs.ts";
import { socketsIn } from "./leaks.ts";
import { Process } from "./process.ts";

const PROGRAM = "qemu-storage-daemon";

/** Its first line about itself, "" where it is not installed. */
export function storageDaemonVersion(): string {
  return firstLine(PROGRAM, "--version");
}

/**
 * Starts it with a file as its disk.
 *
 * @param folder Where its socket is, with the name "qsd"
 */
export async function startStorageDaemon(
  folder: string,
  file: string,
  queues = 1,
): Promise<Process> {
  const socket = `addr.type=unix,addr.path=${folder}/qsd`;
  const process = Process.start(PROGRAM, [
    ...["--blockdev", `driver=file,node-name=disk,filename=${file},discard=unmap`],
    "--export",
    `type=vhost-user-blk,id=disk,${socket},node-name=disk,writable=on,num-queues=${queues}`,
  ]);
  await process.until(() => socketsIn(folder).includes("qsd"), "its socket");
  return process;
}
