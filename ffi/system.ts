// SPDX-License-Identifier: Apache-2.0
/**
 * Files under /proc and /sys. Deno's own functions need all permissions there.
 *
 * @module
 */
import { cString, unwrap } from "./errno.ts";
import { Fd, O_RDONLY } from "./fd.ts";
import { shim } from "./symbols.ts";

/** Bytes read at a time. */
const CHUNK = 4096;

/**
 * The text of a file that the kernel generates when it is read.
 *
 * @throws {OsError}
 */
export function readSystemFile(path: string): string {
  using fd = Fd.open(path, O_RDONLY);
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(CHUNK);
  for (let text = "";;) {
    const n = unwrap(shim.viola_read(fd.number, chunk, 0, CHUNK), `read ${path}`);
    if (n === 0) return text + decoder.decode();
    text += decoder.decode(chunk.subarray(0, n), { stream: true });
  }
}

/** The target of a symbolic link, as it is written there. @throws {OsError} */
export function readSystemLink(path: string): string {
  const target = new Uint8Array(CHUNK);
  const n = unwrap(shim.viola_readlink(cString(path), target, CHUNK), `read the link ${path}`);
  return new TextDecoder().decode(target.subarray(0, n));
}

/** Offsets of the fields of a directory entry: `struct linux_dirent64`, getdents64(2). */
export const DIRENT_LAYOUT = { reclen: 16, name: 19 } as const;

/** The names in a folder, without `.` and `..`. @throws {OsError} */
export function listSystemFolder(path: string): string[] {
  using fd = Fd.open(path, O_RDONLY);
  const entries = new Uint8Array(CHUNK);
  const names: string[] = [];
  for (;;) {
    const n = unwrap(shim.viola_getdents(fd.number, entries, CHUNK), `list ${path}`);
    if (n === 0) return names.filter((name) => name !== "." && name !== "..");
    names.push(...entryNames(entries.subarray(0, n)));
  }
}

function* entryNames(entries: Uint8Array): Generator<string> {
  const view = new DataView(entries.buffer, entries.byteOffset, entries.byteLength);
  for (let at = 0; at < entries.length;) {
    const end = at + view.getUint16(at + DIRENT_LAYOUT.reclen, true);
    const name = entries.subarray(at + DIRENT_LAYOUT.name, end);
    yield new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
    at = end;
  }
}
