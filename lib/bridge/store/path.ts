// SPDX-License-Identifier: Apache-2.0
/**
 * The path of the store process's socket, and the check that its folder is safe.
 *
 * @module
 */

/** The most bytes of a Unix socket's path. */
const MAX_PATH = 107;

/** The parts of the system that the checks use; replaced in tests. */
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
 * The socket of a user's store process: `$VIOLA_STORE`; for root `/run/viola/store`; else `viola/store` in
 * `$XDG_RUNTIME_DIR`, in `/run/user/UID` if that is there, or in `/tmp/viola-UID`.
 */
export function storePath(system: Surroundings = SYSTEM): string {
  const named = system.env("VIOLA_STORE");
  if (named) return named;
  if (system.uid === 0) return "/run/viola/store";
  return `${system.env("XDG_RUNTIME_DIR") || runtimeFolder(system)}/viola/store`;
}

/** The control socket of a `viola up`, beside that of the store process. */
export function sceneControlPath(system: Surroundings = SYSTEM): string {
  return `${folderOf(storePath(system))}/control`;
}

function runtimeFolder({ uid, lstat }: Surroundings): string {
  const folder = `/run/user/${uid}`;
  try {
    if (lstat(folder).uid === uid) return folder;
  } catch { /* there is no such folder */ }
  return `/tmp/viola-${uid}`;
}

/** @throws {RangeError} when a path is too long for a socket */
export function checkPathLength(path: string): void {
  const { length } = new TextEncoder().encode(path);
  if (length <= MAX_PATH) return;
  throw new RangeError(
    `Cannot use ${path} for the descriptor store: the path has ${length} bytes, expected at most ${MAX_PATH} ` +
      "(set a shorter one with VIOLA_STORE)",
  );
}

/** The folder of a path. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}

/**
 * Refuses a folder in which another user could place a socket. The folder must belong to the user, and nobody else may
 * have write permission. Each parent must belong to the user or root, and if others may write there it must have the
 * sticky bit, so that they cannot rename the folder.
 *
 * @throws {Error} naming the folder's owner, its mode, and what was expected
 * @throws {Deno.errors.NotFound} when it does not exist
 */
export function checkPrivate(folder: string, system: Surroundings = SYSTEM): void {
  const real = named(folder, () => system.realPath(folder));
  const { uid, mode } = system.lstat(real);
  if (uid !== system.uid || (mode! & 0o022) !== 0) {
    throw unsafe(real, uid, mode, `a folder of user ${system.uid} that nobody else can write to`);
  }
  for (let parent = real; parent !== "/";) {
    parent = folderOf(parent);
    const { uid, mode } = system.lstat(parent);
    const isOurs = uid === system.uid || uid === 0;
    const isSticky = (mode! & 0o1000) !== 0;
    if (isOurs && (isSticky || (mode! & 0o022) === 0)) continue;
    const expected = `one of user ${system.uid} or root in which nobody else can rename ${real}`;
    throw unsafe(parent, uid, mode, expected);
  }
}

/** Creates a private folder and its parents, if it does not exist. @throws {Error} as {@linkcode checkPrivate} */
export function makePrivate(folder: string): void {
  named(folder, () => Deno.mkdirSync(folder, { recursive: true, mode: 0o700 }));
  checkPrivate(folder);
}

/** Adds the folder's name to errors. @throws {Error} */
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
      " (set another path with VIOLA_STORE)",
  );
}
