// SPDX-License-Identifier: Apache-2.0
/**
 * The part of CHANGELOG.md that is about one version.
 *
 * @module
 */

/** A version's section, without its heading. @throws {Error} when there is none */
export function changelogSection(text: string, version: string): string {
  const sections = text.split(/^## /m).slice(1);
  const section = sections.find((one) => /^\S+/.exec(one)?.[0] === version);
  if (section === undefined) {
    throw new Error(`Cannot release ${version}: CHANGELOG.md has no section of it`);
  }
  return `${section.slice(section.indexOf("\n")).trim()}\n`;
}
