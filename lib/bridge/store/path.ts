// SPDX-License-Identifier: Apache-2.0
/**
 * Where the store process listens, and which folders are safe to listen in.
 *
 * @module
 */

/** Bytes of a Unix socket's path at most. */
const MAX_PATH = 107;

/** What the policy asks of the system. */
export interface Surroundings {
  readonly uid: number;
  readonly env: (name: string) => string | undefined;
  /** As `Deno.lstatSync`. */
  readonly lstat: (path: string) => Pick<Deno.FileInfo, "isDirectory" | "uid" | "mode">;
  /** As `Deno.realPathSync`. */
  readonly realPath: (path: string) => string;
}

const SYSTEM: Surroundings = {
  get uid() {
    return Deno.uid()!;
  },
  env: (name) => Deno.env.get(name),
  lstat: (path) => Deno.lstatSync(path),
  realPath: (path) => Deno.realPathSync(path),
};

/**
 * Where a user's store process listens: `$VIOLA_STORE`; for root `/run/viola/store`; else `viola/store` in
 * `$XDG_RUNTIME_DIR`, in `/run/user/UID` if that is there, or in `/tmp/viola-UID`.
 */
export function storePath(system: Surroundings = SYSTEM): string {
  const named = system.env("VIOLA_STORE");
  if (named) return named;
  if (system.uid === 0) return "/run/viola/store";
  return `${system.env("XDG_RUNTIME_DIR") || runtimeFolder(system)}/viola/store`;
}

function runtimeFolder({ uid, lstat }: Surroundings): string {
  const folder = `/run/user/${uid}`;
  try {
    if (lstat(folder).uid === uid) return folder;
  } catch { /* there is no such folder */ }
  return `/tmp/viola-${uid}`;
}

/** @throws {RangeError} when a socket's path cannot be so long */
export function checkPathLength(path: string): void {
  const { length } = new TextEncoder().encode(path);
  if (length <= MAX_PATH) return;
  throw new RangeError(
    `Cannot use ${path} for the descriptor store: the path has ${length} bytes, expected at most ${MAX_PATH} ` +
      "(VIOLA_STORE sets it, else XDG_RUNTIME_DIR its beginning)",
  );
}

/** The folder that a path is in. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}

/**
 * Refuses a folder in which another user could put a socket of theirs. It must be the user's, and nobody else may write
 * it, sticky or not. What it lies in must be the user's or root's, and others who may write there must not be able to
 * rename what is not theirs, as the sticky bit has it.
 *
 * @throws {Error} naming whose folder it is, its mode, and what was expected
 * @throws {Deno.errors.NotFound} when it is not there
 */
export function checkPrivate(folder: string, system: Surroundings = SYSTEM): void {
  const real = named(folder, () => system.realPath(folder));
  const { uid, mode } = system.lstat(real);
  if (uid !== system.uid || (mode! & 0o022) !== 0) {
    throw unsafe(real, uid, mode, `a folder of user ${system.uid} that nobody else may write`);
  }
  for (let parent = real; parent !== "/";) {
    parent = folderOf(parent);
    const { uid, mode } = system.lstat(parent);
    const isOurs = uid === system.uid || uid === 0;
    const isSticky = (mode! & 0o1000) !== 0;
    if (isOurs && (isSticky || (mode! & 0o022) === 0)) continue;
    const expected = `one of user ${system.uid} or root in which nobody else may rename ${real}`;
    throw unsafe(parent, uid, mode, expected);
  }
}

/** Makes a folder, with those it lies in, for the user alone, if it is not there. @throws {Error} as {@linkcode checkPrivate} */
export function makePrivate(folder: string): void {
  named(folder, () => Deno.mkdirSync(folder, { recursive: true, mode: 0o700 }));
  checkPrivate(folder);
}

/** @throws {Error} what `look` throws, with the folder's name */
function named<T>(folder: string, look: () => T): T {
  try {
    return look();
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) throw cause;
    const { message } = cause as Error;
    throw new Error(`Cannot use ${folder} for the descriptor store: ${message}`, { cause });
  }
}

function unsafe(folder: string, uid: number | null, mode: number | null, expected: string): Error {
  const octal = (mode! & 0o7777).toString(8);
  return new Error(
    `Cannot use ${folder} for the descriptor store: it belongs to user ${uid} with mode ${octal}, expected ${expected}` +
      " (VIOLA_STORE names another place)",
  );
}
