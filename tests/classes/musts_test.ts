// SPDX-License-Identifier: Apache-2.0
// What the standard demands of each class: a table, and for each demand a test that there is, or a reason.
import { assert, assertEquals } from "@std/assert";
import { DEVICE_CLASSES } from "../../lib/classes/mod.ts";
import type { Must } from "./musts.ts";

/** The text of all tests of a class. */
function testsOf(name: string): string {
  const folders = [`./${name}/`, `../integration/classes/${name}/`]
    .map((path) => new URL(path, import.meta.url));
  const texts = folders.flatMap((folder) => {
    try {
      return [...Deno.readDirSync(folder)]
        .filter((entry) => entry.name.endsWith("_test.ts"))
        .map((entry) => Deno.readTextFileSync(new URL(entry.name, folder)));
    } catch {
      return []; // a class without tests that start processes
    }
  });
  return texts.join("\n");
}

for (const { name, roles } of DEVICE_CLASSES.filter(({ roles }) => roles.device)) {
  Deno.test(`${name}: what the standard demands is tested, or there is a reason`, async () => {
    const { MUSTS } = await import(`./${name}/musts.ts`) as { MUSTS: readonly Must[] };
    const tests = testsOf(name);
    for (const { section, what, by } of MUSTS) {
      assert(section !== "" && what !== "", JSON.stringify([section, what]));
      if ("not" in by) assert(by.not.length > 20, `§${section}, ${what}: why not?`);
      else {
        const isThere = ['"', "`"].some((quote) => tests.includes(quote + by.test));
        assert(isThere, `§${section}: there is no test "${by.test}"`);
      }
    }
    assert(MUSTS.some(({ of }) => of === "device"), "of the device");
    assertEquals(roles.driver === undefined || MUSTS.some(({ of }) => of === "driver"), true);
  });
}
