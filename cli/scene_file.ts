// SPDX-License-Identifier: Apache-2.0
/**
 * Reading a scene file: every mistake in it is a line of the error.
 *
 * @module
 */
import { readScene, type Scene, type SceneClass, SceneError } from "../lib/scene/mod.ts";
import { Failure, step, UNREACHABLE, USAGE } from "./exit.ts";
import { counted } from "./report.ts";

/** Reads and checks a file. @throws {Failure} with status 1 for a mistake, 2 when it cannot be read */
export async function readSceneFile(path: string, classes: readonly SceneClass[]): Promise<Scene> {
  const text = await step(UNREACHABLE, `read ${path}`, () => Deno.readTextFile(path));
  try {
    return readScene(text, classes);
  } catch (error) {
    if (!(error instanceof SceneError)) throw error;
    const lines = error.problems.map(({ line, text }) => `${path}:${line}: ${text}`);
    throw new Failure(USAGE, `Cannot use ${path}: ${counted(lines.length, "mistake")}`, lines);
  }
}
