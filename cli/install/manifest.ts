// SPDX-License-Identifier: Apache-2.0
/**
 * What viola has written to a system, by checksums: what differs from them was changed by somebody else, and is theirs.
 *
 * @module
 */

/** Where the manifest is. */
export const MANIFEST = "/usr/lib/viola/manifest";

/** A file's print: `sha256:…` of its contents, or `link:TARGET`. null: there is no such file. */
export type Print = string | null;

/** An entry of the manifest. */
export interface Entry {
  readonly kind: "file" | "config" | "folder";
  readonly path: string;
  /** What viola wrote there: two prints while an update was interrupted; none for a folder. */
  readonly prints: readonly string[];
}

/** What is to be done with a path. */
export interface Step {
  readonly path: string;
  readonly action: "write" | "remove" | "same" | "keep";
  /** Why it is kept. */
  readonly why: string;
}

const HEAD = "# What viola install wrote, and viola install --remove removes.";

/** The manifest's text. */
export function manifestText(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ kind, path, prints }) =>
    (kind === "folder" ? ["-"] : prints).map((print) => `${kind}\t${print}\t${path}`)
  );
  return [HEAD, ...lines, ""].join("\n");
}

/** Reads a manifest. @throws {Error} naming the line that cannot be read */
export function parseManifest(text: string): Entry[] {
  const entries = new Map<string, Entry>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const [, kind, print, path] = /^(file|config|folder)\t([^\t]+)\t(\/[^\t]*)$/.exec(line) ?? [];
    if (path === undefined || path.split("/").includes("..")) {
      throw new Error(`Cannot read ${MANIFEST}: line ${i + 1} is malformed`);
    }
    const prints = print === "-" ? [] : [...entries.get(path)?.prints ?? [], print!];
    entries.set(path, { kind: kind as Entry["kind"], path, prints });
  }
  return [...entries.values()];
}

/** A file that shall be there. */
export interface Planned {
  readonly path: string;
  readonly print: string;
  readonly isConfig: boolean;
}

/**
 * What an installation does: it writes what is absent or viola's own, and removes what an older viola wrote and this one
 * has not. Settings stay, given again or not.
 */
export function planInstall(
  planned: readonly Planned[],
  entries: readonly Entry[],
  present: (path: string) => Print,
): Step[] {
  const known = new Map(entries.map((entry) => [entry.path, entry]));
  const wanted = new Set(planned.map(({ path }) => path));
  const steps = planned.map(({ path, print }): Step => {
    const found = present(path);
    if (found === print) return { path, action: "same", why: "" };
    const prints = known.get(path)?.prints;
    if (found === null || prints?.includes(found)) return { path, action: "write", why: "" };
    return { path, action: "keep", why: reason(prints) };
  });
  const old = entries.filter(({ kind, path }) => kind === "file" && !wanted.has(path));
  return [...steps, ...planRemoval(old, present)];
}

/** What a removal does: it removes what is as viola wrote it. */
export function planRemoval(
  entries: readonly Entry[],
  present: (path: string) => Print,
): Step[] {
  return entries.filter(({ kind }) => kind !== "folder").flatMap(({ path, prints }): Step[] => {
    const found = present(path);
    if (found === null) return [];
    if (prints.includes(found)) return [{ path, action: "remove", why: "" }];
    return [{ path, action: "keep", why: reason(prints) }];
  });
}

function reason(prints: readonly string[] | undefined): string {
  return prints === undefined ? "viola did not write it" : "it was changed since viola wrote it";
}

/** The manifest before (`isDone` false) and after an installation: before it, what was there is viola's too. */
export function entriesAfter(
  planned: readonly Planned[],
  steps: readonly Step[],
  entries: readonly Entry[],
  isDone: boolean,
): Entry[] {
  const known = new Map(entries.map((entry) => [entry.path, entry]));
  for (const { path, action } of steps) {
    const plan = planned.find((one) => one.path === path);
    const old = known.get(path)?.prints ?? [];
    if (plan === undefined) {
      if (isDone) known.delete(path);
    } else if (action === "write" || (action === "same" && known.has(path))) {
      const prints = [...new Set(isDone ? [plan.print] : [...old, plan.print])];
      known.set(path, { kind: plan.isConfig ? "config" : "file", path, prints });
    }
  }
  return [...known.values()];
}
