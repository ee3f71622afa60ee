// SPDX-License-Identifier: Apache-2.0
/**
 * Reading a scene file: every mistake in it is a line of the error.
 *
 * @module
 */
import {
  readScenes,
  type Scene,
  type SceneClass,
  SceneError,
  type SceneFile,
} from "../lib/scene/mod.ts";
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";
import { counted } from "./report.ts";

/** The most bytes of a file: of each device it can hold a thousand and more. */
const MOST_BYTES = 2 ** 17;
/** The most files of a scene. */
const MOST_FILES = 64;

/** The text of a scene file. @throws {Error} for what is no file, or too large: reading a FIFO would wait */
export async function readText(path: string): Promise<string> {
  const { isFile, size } = await Deno.stat(path);
  if (!isFile) throw new Failure(USAGE, `Cannot use ${path}: it is not a regular file`);
  if (size <= MOST_BYTES) return await Deno.readTextFile(path);
  throw new Failure(
    USAGE,
    `Cannot use ${path}: it has ${size} bytes, expected at most ${MOST_BYTES}`,
  );
}

/** The files that a path means: itself, or what is in a folder under names that end in .toml, in their order. */
async function filesOf(path: string): Promise<string[]> {
  if (!(await Deno.stat(path)).isDirectory) return [path];
  const entries = await Array.fromAsync(Deno.readDir(path));
  const names = entries.map(({ name }) => name).filter((name) => /^[^.].*\.toml$/.test(name));
  const folder = path.replace(/\/*$/, "/");
  if (names.length === 0) throw new Failure(USAGE, `Cannot use ${path}: no *.toml file is in it`);
  if (names.length <= MOST_FILES) return names.sort().map((name) => folder + name);
  throw new Failure(
    USAGE,
    `Cannot use ${path}: it has ${names.length} *.toml files, expected at most ${MOST_FILES}`,
  );
}

/**
 * Reads and checks a scene.
 *
 * @param path A file, or a folder of them
 * @throws {Failure} with status 1 for a mistake, 2 when it cannot be read
 */
export async function readSceneFile(path: string, classes: readonly SceneClass[]): Promise<Scene> {
  const paths = await step(UNREACHABLE, `read ${path}`, () => filesOf(path));
  const read = async (path: string) => ({
    path,
    text: await step(UNREACHABLE, `read ${path}`, () => readText(path)),
  });
  return sceneOf(`use ${path}`, await Promise.all(paths.map(read)), classes);
}

/** Checks files. @param doing What they are for, as it continues "Cannot" @throws {Failure} with status 1 for a mistake */
export function sceneOf(
  doing: string,
  files: readonly SceneFile[],
  classes: readonly SceneClass[],
): Scene {
  try {
    return readScenes(files, classes);
  } catch (error) {
    if (!SceneError.is(error)) throw error;
    const lines = error.problems.map(({ path, line, text }) => `${path}:${line}: ${text}`);
    throw new Failure(USAGE, `Cannot ${doing}: ${counted(lines.length, "mistake")}`, lines);
  }
}
