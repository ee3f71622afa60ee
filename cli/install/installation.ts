// SPDX-License-Identifier: Apache-2.0
/**
 * Installing viola on a system and removing it: what is written is noted first, so that an interrupted installation is
 * continued by the next.
 *
 * @module
 */
import { type Disk, printOf } from "./disk.ts";
import type { SystemFile } from "./files.ts";
import {
  entriesAfter,
  type Entry,
  MANIFEST,
  manifestText,
  parseManifest,
  planInstall,
  type Planned,
  planRemoval,
  type Print,
  type Step,
} from "./manifest.ts";

/** Called when a step is done. */
export type OnStep = (step: Step) => void;

/** Writes files to a system. @throws {Error} naming the path that cannot be written */
export async function install(
  disk: Disk,
  files: readonly SystemFile[],
  onStep: OnStep,
): Promise<void> {
  const planned = await Promise.all(
    files.map(async ({ path, content, isConfig }): Promise<Planned> => ({
      path,
      print: await printOf(content),
      isConfig,
    })),
  );
  const entries = parseManifest(disk.read(MANIFEST) ?? "");
  const steps = planInstall(planned, entries, await presentAt(disk, planned, entries));
  const before = [
    ...entriesAfter(planned, steps, entries, false),
    ...foldersFor(disk, steps, entries),
  ];
  await writeManifest(disk, before);
  for (const step of steps) {
    const file = files.find(({ path }) => path === step.path);
    if (step.action === "write") await disk.write(file!);
    if (step.action === "remove") disk.remove(step.path);
    onStep(step);
  }
  await writeManifest(disk, entriesAfter(planned, steps, before, true));
}

/** The folders that will be made, but for those that are noted already. */
function foldersFor(disk: Disk, steps: readonly Step[], entries: readonly Entry[]): Entry[] {
  const written = steps.filter(({ action }) => action === "write").map(({ path }) => path);
  const folders = new Set([MANIFEST, ...written].flatMap((path) => disk.missingFolders(path)));
  for (const { path } of entries) folders.delete(path);
  return [...folders].map((path) => ({ kind: "folder", path, prints: [] }));
}

/** Removes what {@linkcode install} wrote. @returns whether there was anything */
export async function remove(disk: Disk, onStep: OnStep): Promise<boolean> {
  const text = disk.read(MANIFEST);
  if (text === null) return false;
  const entries = parseManifest(text);
  for (const step of planRemoval(entries, await presentAt(disk, [], entries))) {
    if (step.action === "remove") disk.remove(step.path);
    onStep(step);
  }
  disk.remove(MANIFEST);
  const folders = entries.filter(({ kind }) => kind === "folder").map(({ path }) => path);
  // The inner ones first.
  for (const path of folders.sort().reverse()) disk.remove(path);
  return true;
}

async function writeManifest(disk: Disk, entries: readonly Entry[]): Promise<void> {
  await disk.write({
    path: MANIFEST,
    mode: 0o644,
    content: { text: manifestText(entries) },
  });
}

/** What is there at each path that matters. */
async function presentAt(
  disk: Disk,
  planned: readonly Planned[],
  entries: readonly Entry[],
): Promise<(path: string) => Print> {
  const files = entries.filter(({ kind }) => kind !== "folder");
  const paths = new Set([...planned, ...files].map(({ path }) => path));
  const prints = new Map<string, Print>();
  for (const path of paths) prints.set(path, await disk.print(path));
  return (path) => prints.get(path) ?? null;
}
