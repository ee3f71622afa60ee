// SPDX-License-Identifier: Apache-2.0
/**
 * The one place of an installation that reads and writes the system: below a root folder, and never outside it.
 *
 * @module
 */
import type { Content, SystemFile } from "./files.ts";
import type { Print } from "./manifest.ts";

/** A system, by its root folder. */
export class Disk {
  /** The root's real path, without a slash at its end: "" for "/". */
  readonly #root: string;

  /** @throws {Error} when there is no such folder */
  constructor(readonly root: string) {
    this.#root = Deno.realPathSync(root).replace(/\/$/, "");
    if (!Deno.statSync(root).isDirectory) throw new Error(`Cannot use ${root}: it is not a folder`);
  }

  /** What is at a path. @throws {Error} for a folder, or a path that leads out of the root */
  async print(path: string): Promise<Print> {
    const place = this.#placeOf(path);
    if (place === null) return null;
    const info = lstat(place);
    if (info === null) return null;
    if (info.isSymlink) return linkPrint(Deno.readLinkSync(place));
    if (info.isFile) return await bytesPrint(await Deno.readFile(place));
    throw new Error(`Cannot use ${place}: it is not a regular file`);
  }

  /** A file's text; null when there is none. */
  read(path: string): string | null {
    const place = this.#placeOf(path);
    return place === null || lstat(place) === null ? null : Deno.readTextFileSync(place);
  }

  /** The names in a folder, none when there is no such folder. */
  list(path: string): string[] {
    const place = this.#placeOf(`${path}/.`);
    if (place === null) return [];
    return [...Deno.readDirSync(place)].map(({ name }) => name).sort();
  }

  /** Writes a file, and makes its folders: whoever looks finds the old one or the new one, also after a crash. */
  async write({ path, mode, content }: Omit<SystemFile, "isConfig">): Promise<void> {
    for (const folder of this.missingFolders(path)) this.#makeFolder(folder);
    const place = this.#placeOf(path)!;
    const partial = place.replace(/[^/]*$/, ".$&.viola-partial");
    try {
      Deno.removeSync(partial);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    if ("link" in content) await Deno.symlink(content.link, partial);
    else await writeNew(partial, await bytesOf(content), mode);
    await Deno.rename(partial, place);
  }

  /** Removes a file, or a folder if it is empty. @returns whether it is gone */
  remove(path: string): boolean {
    const place = this.#placeOf(path);
    if (place === null || lstat(place) === null) return true;
    const isFolder = lstat(place)!.isDirectory;
    if (isFolder && [...Deno.readDirSync(place)].length > 0) return false;
    Deno.removeSync(place);
    return true;
  }

  /** The folders that lead to a path and are not there, the outer ones first. */
  missingFolders(path: string): string[] {
    const names = path.split("/").slice(1, -1);
    const folders = names.map((_, i) => `/${names.slice(0, i + 1).join("/")}`);
    return folders.filter((folder) => {
      const place = this.#placeOf(folder);
      return place === null || lstat(place) === null;
    });
  }

  #makeFolder(path: string): void {
    const place = this.#placeOf(path)!;
    Deno.mkdirSync(place);
    Deno.chmodSync(place, 0o755);
  }

  /**
   * Where a path of the system lies. Its folder is resolved, as a root may have links between its folders; one with an
   * absolute target would lead out of it.
   *
   * @returns null when its folder does not exist
   * @throws {Error} when it is outside the root
   */
  #placeOf(path: string): string | null {
    const [, folder, name] = /^(.*)\/([^/]*)$/.exec(path)!;
    try {
      const real = Deno.realPathSync(`${this.#root}${folder}/`);
      if (`${real}/`.startsWith(`${this.#root}/`)) return `${real.replace(/\/$/, "")}/${name}`;
      throw new Error(`Cannot use ${this.root}: its ${folder} leads out of it, to ${real}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }
}

function lstat(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function bytesOf(content: Exclude<Content, { link: string }>): Promise<Uint8Array> {
  return "text" in content
    ? new TextEncoder().encode(content.text)
    : await Deno.readFile(content.copyOf);
}

/** Writes a file that is not there yet, down to the disk. */
async function writeNew(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
  await Deno.chmod(path, mode);
  await file.sync();
}

/** The print of what a file shall be. */
export async function printOf(content: Content): Promise<string> {
  return "link" in content ? linkPrint(content.link) : await bytesPrint(await bytesOf(content));
}

function linkPrint(target: string): string {
  return `link:${target}`;
}

async function bytesPrint(bytes: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return `sha256:${new Uint8Array(hash).toHex()}`;
}
