// SPDX-License-Identifier: Apache-2.0
/**
 * The folder that a demo writes to: no other demo writes to it meanwhile, and only files of an earlier demo
 * are overwritten.
 *
 * @module
 */
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";

/** How long to wait for the lock of a folder, in milliseconds. */
const LOCK_MS = 1000;

/**
 * Makes the folder and locks it until the result is disposed of or this process ends. Then folders that were made
 * for it are removed if they are empty.
 *
 * @throws {Failure} with status 1 if it is not a folder, 2 if it cannot be made or another demo uses it
 */
export async function occupy(folder: string): Promise<Disposable> {
  if (folder === "") throw new Failure(USAGE, 'Cannot use --out "": expected a folder');
  using stack = new DisposableStack();
  await step(UNREACHABLE, `make ${folder}`, () => stack.use(makeFolder(folder)));
  const handle = await step(UNREACHABLE, `open ${folder}`, () => Deno.open(folder));
  stack.use(handle);
  if (await isLocked(handle)) return stack.move();
  throw new Failure(
    UNREACHABLE,
    `Cannot use ${folder}: another demo is writing to it; name another folder with --out, or wait`,
  );
}

/** Makes a folder and its parents. @returns removes those that did not exist before, if they are empty */
function makeFolder(folder: string): Disposable {
  const isThere = lookAt(folder);
  if (isThere !== "" && isThere !== "a folder") {
    throw new Failure(
      UNREACHABLE,
      `Cannot write to ${folder}: it is ${isThere}, expected a folder`,
    );
  }
  const made = missingFolders(folder);
  Deno.mkdirSync(folder, { recursive: true });
  return {
    [Symbol.dispose]() {
      try {
        for (const path of made) Deno.removeSync(path);
      } catch { /* something is in it */ }
    },
  };
}

/** A folder and its parents that do not exist, from the innermost on. */
function missingFolders(folder: string): string[] {
  const missing: string[] = [];
  for (let path = folder.replace(/\/+$/, ""); path !== "" && lookAt(path) === "";) {
    missing.push(path);
    path = path.slice(0, Math.max(path.lastIndexOf("/"), 0));
  }
  return missing;
}

/** On a file system without locks every demo is taken for the only one. */
async function isLocked(handle: Deno.FsFile): Promise<boolean> {
  const locked = handle.lock(true).then(() => true, () => true);
  let timer;
  const late = new Promise<false>((resolve) => timer = setTimeout(resolve, LOCK_MS, false));
  const isOurs = await Promise.race([locked, late]);
  clearTimeout(timer);
  return isOurs;
}

/** What a path leads to, as text; empty when there is nothing. */
function lookAt(path: string): string {
  try {
    const info = Deno.statSync(path);
    return info.isDirectory ? "a folder" : info.isFile ? "a file" : "not a regular file";
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    return `a link to ${Deno.readLinkSync(path)}, which does not exist`;
  } catch {
    return "";
  }
}

/** Identity of a file, the same for all its names; undefined when it does not exist. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/**
 * Removes output files of an earlier demo, so that none of them is taken for a new one; all of them or none.
 *
 * @param files The input files
 * @throws {Failure} when a path is an input file, or not a file
 */
export function clear(paths: readonly string[], files: readonly string[]): void {
  const old = paths.filter((path) => isOld(path, files));
  for (const path of old) Deno.removeSync(path);
}

/** Whether a file that an earlier demo left is there. */
function isOld(path: string, files: readonly string[]): boolean {
  const identity = identityOf(path);
  const played = files.find((file) => identity !== undefined && identityOf(file) === identity);
  if (played !== undefined) {
    throw new Failure(
      USAGE,
      `Cannot play ${played}: the demo would overwrite it; name another folder with --out`,
    );
  }
  const isThere = lookAt(path);
  if (isThere === "" || isThere === "a file") return isThere !== "";
  throw new Failure(
    USAGE,
    `Cannot write ${path}: it is ${isThere}, expected a file or nothing`,
  );
}
