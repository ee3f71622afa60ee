// SPDX-License-Identifier: Apache-2.0
/**
 * Files for WAV: only those that can be opened without blocking are, and reads and writes are complete.
 *
 * @module
 */
import { WavError } from "./format.ts";

/**
 * Opens a regular file.
 *
 * @param action What it is opened for, as in {@linkcode WavError}
 * @throws {WavError}
 */
export function openFile(action: string, path: string, options: Deno.OpenOptions): Deno.FsFile {
  try {
    // Checked first: opening a FIFO would block, and nothing here works on a terminal.
    const info = infoOf(path, options.create === true);
    if (info?.isDirectory) throw new WavError(action, path, "it is a folder, expected a file");
    if (info?.isFile === false) throw new WavError(action, path, "it is not a regular file");
    return Deno.openSync(path, options);
  } catch (error) {
    if (WavError.is(error)) throw error;
    throw new WavError(action, path, danglingText(path) + reason(error), { cause: error });
  }
}

function infoOf(path: string, ifAbsent: boolean): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (ifAbsent && error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** "it is a link to /x: " for a link whose target does not exist, empty for anything else. */
function danglingText(path: string): string {
  try {
    Deno.statSync(path);
  } catch {
    try {
      return `it is a link to ${Deno.readLinkSync(path)}: `;
    } catch { /* no link */ }
  }
  return "";
}

/** Identity of a file: the same for all its names and links. */
export function identityOf(file: Deno.FsFile): string {
  const { dev, ino } = file.statSync();
  return `${dev}:${ino}`;
}

/** Why a system call failed, in words. */
export function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "no such file or directory";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  return (error as Error).message;
}

/** Fills `target` from the file's position. @returns the bytes read: fewer only at the end of the file */
export function readFully(file: Deno.FsFile, target: Uint8Array): number {
  let done = 0;
  while (done < target.length) {
    const n = file.readSync(target.subarray(done));
    if (n === null || n === 0) break;
    done += n;
  }
  return done;
}

/** Up to `length` bytes at an offset: fewer at the end of the file. */
export function readAt(file: Deno.FsFile, at: number, length: number): DataView<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.seekSync(at, Deno.SeekMode.Start);
  return new DataView(bytes.buffer, 0, readFully(file, bytes));
}

/** Writes all bytes at an offset. */
export function writeAt(file: Deno.FsFile, at: number, bytes: Uint8Array): void {
  file.seekSync(at, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}
