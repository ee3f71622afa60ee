// SPDX-License-Identifier: Apache-2.0
/**
 * `viola schema`: the format of scene files, for editors and checkers.
 *
 * @module
 */
import type { Command } from "commander";
import { said } from "./report.ts";

/** Adds the subcommand. */
export function addSchema(program: Command): void {
  program.command("schema")
    .description("Print the JSON Schema of scene files.")
    .action(async () => {
      const { loadSceneClasses, sceneSchema } = await import("../lib/scene/mod.ts");
      said.owe(`${JSON.stringify(sceneSchema(await loadSceneClasses()), null, 2)}\n`);
    });
}
