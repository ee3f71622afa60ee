// SPDX-License-Identifier: Apache-2.0
/**
 * Completions and manual pages, as files of a system.
 *
 * @module
 */
import metadata from "../../deno.json" with { type: "json" };
import { loadSceneClasses, sceneSchema } from "../../lib/scene/mod.ts";
import { STORY, wholeProgram } from "../program.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completion.ts";
import { commandPages, scenePage } from "./manual.ts";
import { type Place, placesOf } from "./table.ts";

/** The command line's table. */
export async function loadPlaces(): Promise<Place[]> {
  return placesOf(await wholeProgram(), await loadSceneClasses());
}

/** Texts by their paths. */
export async function loadDocuments(): Promise<Record<string, string>> {
  const places = await loadPlaces();
  const { version } = metadata;
  const pages = [
    ...commandPages(places, STORY, version),
    scenePage(sceneSchema(await loadSceneClasses()), version),
  ];
  return {
    "/usr/share/bash-completion/completions/viola": bashCompletion(places),
    "/usr/share/zsh/site-functions/_viola": zshCompletion(places),
    "/usr/share/fish/vendor_completions.d/viola.fish": fishCompletion(places),
    ...Object.fromEntries(
      pages.map(({ name, text }) => [`/usr/share/man/man${name.at(-1)}/${name}`, text]),
    ),
  };
}
