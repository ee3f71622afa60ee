// SPDX-License-Identifier: Apache-2.0
// viola as a library: the example in mod.ts is run as it stands there, but for where its files lie.
import { assertEquals, assertNotEquals } from "@std/assert";
import "../../mod.ts"; // what it loads once stays loaded: no leak of the test's
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder } from "../support/process.ts";

const MOD = new URL("../../mod.ts", import.meta.url);

/** The code of a file's first example, as its comment has it. */
function exampleIn(file: URL): string {
  const [, block] = /^ \* ```ts\n([\s\S]*?)^ \* ```$/m.exec(Deno.readTextFileSync(file))!;
  return block!.replaceAll(/^ \* ?/gm, "");
}

Deno.test("mod.ts: its example works, and leaves nothing behind", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const code = exampleIn(MOD)
      .replaceAll("/tmp/", `${folder.path}/`)
      .replace('"@viola/viola"', JSON.stringify(MOD.href));
    const path = folder.file("example.ts");
    Deno.writeTextFileSync(path, `${code}export default bytes;\n`);
    const { default: bytes } = await import(path) as { default: Uint8Array };
    assertEquals(bytes.length, 64);
    assertNotEquals(bytes, new Uint8Array(64));
    assertEquals([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["example.ts"]);
  });
});
