// SPDX-License-Identifier: Apache-2.0
/**
 * Reading a scene file: every mistake in it is a line of the error.
 *
 * @module
 */
import { readScene, type Scene, type SceneClass, SceneError } from "../lib/scene/mod.ts";
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";
import { counted } from "./report.ts";

/** The most bytes of a file: of each device it can hold a thousand and more. */
const MOST_BYTES = 2 ** 17;

/** @throws {Error} for what is no file, or too large: reading a FIFO would wait */
async function readText(path: string): Promise<string> {
  const { isFile, size } = await Deno.stat(path);
  if (!isFile) throw new Failure(USAGE, `Cannot use ${path}: it is not a regular file`);
  if (size <= MOST_BYTES) return await Deno.readTextFile(path);
  throw new Failure(
    USAGE,
    `Cannot use ${path}: it has ${size} bytes, expected at most ${MOST_BYTES}`,
  );
}

/** Reads and checks a file. @throws {Failure} with status 1 for a mistake, 2 when it cannot be read */
export async function readSceneFile(path: string, classes: readonly SceneClass[]): Promise<Scene> {
  const text = await step(UNREACHABLE, `read ${path}`, () => readText(path));
  try {
    return readScene(text, classes);
  } catch (error) {
    if (!(error instanceof SceneError)) throw error;
    const lines = error.problems.map(({ line, text }) => `${path}:${line}: ${text}`);
    throw new Failure(USAGE, `Cannot use ${path}: ${counted(lines.length, "mistake")}`, lines);
  }
}
