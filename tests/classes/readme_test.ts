// SPDX-License-Identifier: Apache-2.0
// What README says of the classes is what the list says.
import { assertEquals } from "@std/assert";
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import { TRIED } from "./tried.ts";

/** The cells of a table's rows, without its head. */
function rowsBelow(heading: string, text: string): string[][] {
  const [, section] = text.split(`\n## ${heading}\n`);
  const lines = section!.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("|"));
  return lines.slice(2).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

Deno.test("README's table of device classes is made of the list", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const has = (role: unknown) => role === undefined ? "no" : "yes";
  const expected = DEVICE_CLASSES.map(({ name, dropInNames, summary, roles }) => [
    `\`${name}\``,
    dropInNames.map((dropIn) => `\`${dropIn}\``).join(", "),
    summary,
    has(roles.device),
    has(roles.driver),
    has(roles.replay),
    TRIED[name]?.daemon ?? "",
    TRIED[name]?.linux ?? "",
  ]);
  assertEquals(rowsBelow("Device classes", readme), expected);
});

Deno.test("README's columns of what was tried name classes of the list only", () => {
  const names = DEVICE_CLASSES.map(({ name }) => name);
  assertEquals(Object.keys(TRIED).filter((name) => !names.includes(name)), []);
});
