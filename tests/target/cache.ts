// SPDX-License-Identifier: Apache-2.0
/**
 * Things that take long to make, kept in the user's cache under a name that follows from their recipe.
 *
 * @module
 */
import * as needs from "../support/needs.ts";
import { spoken, tell } from "../support/progress.ts";
import { run } from "./command.ts";

/** $XDG_CACHE_HOME/viola/target, or the same below ~/.cache. */
export function cacheFolder(): string {
  return `${needs.cacheFolder()}/target`;
}

/** The first 16 hexadecimal digits of a text's SHA-256. */
export async function digest(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(hash).slice(0, 8).toHex();
}

/** A file's SHA-256 in hexadecimal digits. */
export async function fileDigest(path: string): Promise<string> {
  return (await run(["sha256sum", path])).slice(0, 64);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * A folder in the cache, made when it is not there, and then said so. What was made by an older recipe of the same name is
 * removed.
 *
 * @param name What it is
 * @param recipe All that it depends on
 * @param make Fills an empty folder
 * @returns the folder's path
 */
export async function cached(
  name: string,
  recipe: string,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  const root = cacheFolder();
  const folder = `${root}/${name}-${await digest(recipe)}`;
  if (await exists(folder)) return folder;
  const since = performance.now();
  tell(`target: ${name} is being made`);
  await Deno.mkdir(root, { recursive: true });
  const partial = await Deno.makeTempDir({ dir: root, prefix: `.${name}-` });
  try {
    await make(partial);
    await Deno.chmod(partial, 0o755);
    for await (const entry of Deno.readDir(root)) {
      if (entry.name.startsWith(`${name}-`)) {
        await Deno.remove(`${root}/${entry.name}`, { recursive: true });
      }
    }
    await Deno.rename(partial, folder);
    tell(`target: ${name} is made, after ${spoken(performance.now() - since)}`);
  } catch (error) {
    await Deno.remove(partial, { recursive: true });
    throw error;
  }
  return folder;
}
