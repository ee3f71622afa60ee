// SPDX-License-Identifier: Apache-2.0
/**
 * The folder that a demo writes to: nobody else writes to it meanwhile, and nothing that is there is overwritten but what
 * an earlier demo left.
 *
 * @module
 */
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";

/** How long a folder that nobody else uses may take to be ours, in milliseconds. */
const LOCK_MS = 1000;

/**
 * Makes the folder, and keeps other demos from it until that is disposed of or this process ends. Folders that were made
 * for it and hold nothing then are removed.
 *
 * @throws {Failure} with status 1 for no folder, 2 for one that cannot be made, or has a demo in it
 */
export async function occupy(folder: string): Promise<Disposable> {
  if (folder === "") throw new Failure(USAGE, 'Cannot use --out "": expected a folder');
  using stack = new DisposableStack();
  await step(UNREACHABLE, `make ${folder}`, () => stack.use(makeFolder(folder)));
  const handle = await step(UNREACHABLE, `open ${folder}`, () => Deno.open(folder));
  stack.use(handle);
  if (await isLocked(handle)) return stack.move();
  throw new Failure(UNREACHABLE, `Cannot use ${folder}: another demo writes to it, expected none`);
}

/** Makes a folder and those it lies in. @returns what removes those that were not there, if they are empty */
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

/** A folder and those it lies in, as far as they are not there, from the innermost on. */
function missingFolders(folder: string): string[] {
  const missing: string[] = [];
  for (let path = folder.replace(/\/+$/, ""); path !== "" && lookAt(path) === "";) {
    missing.push(path);
    path = path.slice(0, Math.max(path.lastIndexOf("/"), 0));
  }
  return missing;
}

/** Where there are no locks, every demo is taken for the only one. */
async function isLocked(handle: Deno.FsFile): Promise<boolean> {
  const locked = handle.lock(true).then(() => true, () => true);
  let timer;
  const late = new Promise<false>((resolve) => timer = setTimeout(resolve, LOCK_MS, false));
  const isOurs = await Promise.race([locked, late]);
  clearTimeout(timer);
  return isOurs;
}

/** What a path leads to, in words; empty when there is nothing. */
function lookAt(path: string): string {
  try {
    const info = Deno.statSync(path);
    return info.isDirectory ? "a folder" : info.isFile ? "a file" : "no regular file";
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  try {
    return `a link to ${Deno.readLinkSync(path)}, which is not there`;
  } catch {
    return "";
  }
}

/** What a file is, by whatever name; undefined when it is not there. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = Deno.statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/**
 * Removes files that an earlier demo left, so that nothing old is taken for new; none of them if one cannot be removed.
 *
 * @param files What is to be played
 * @throws {Failure} when a path is one of those, or nothing that a demo leaves
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
    throw new Failure(USAGE, `Cannot play ${played}: the demo writes to it, expected another`);
  }
  const isThere = lookAt(path);
  if (isThere === "" || isThere === "a file") return isThere !== "";
  throw new Failure(
    USAGE,
    `Cannot write ${path}: it is ${isThere}, expected a file, or nothing`,
  );
}
