// SPDX-License-Identifier: Apache-2.0
// The parts of a release.
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import metadata from "../../deno.json" with { type: "json" };
import { changelogSection } from "./changelog.ts";
import { controlText, debianVersion } from "./debian.ts";
import { packagesIn, runtimeIn, spdxDocument } from "./spdx.ts";

Deno.test("CHANGELOG.md has a section of the version of deno.json", async () => {
  const text = await Deno.readTextFile(new URL("../../CHANGELOG.md", import.meta.url));
  assert(changelogSection(text, metadata.version).length > 100);
});

Deno.test("a version's section ends where the next begins", () => {
  const text =
    "# Changelog\n\n## 0.2.0\n\n- two\n\n## 0.1.0 (unreleased)\n\n- one\n- ## no heading\n";
  assertEquals(changelogSection(text, "0.2.0"), "- two\n");
  assertEquals(changelogSection(text, "0.1.0"), "- one\n- ## no heading\n");
  assertThrows(() => changelogSection(text, "0.1"), Error, "no section of it");
});

Deno.test("each package that viola imports has a licence, and those of tests are left out", () => {
  const names = packagesIn(metadata.imports).map(({ name }) => name);
  assertEquals(
    new Set(names),
    new Set(["@cfworker/json-schema", "commander", "deno-std", "smol-toml"]),
  );
  assertThrows(() => packagesIn({ other: "npm:other@1.0.0" }), Error, "no licence is noted");
});

Deno.test("an SPDX document names all parts and what they are of", () => {
  const parts = [
    ...runtimeIn("deno 2.6.10 (stable, release, x86_64)\nv8 14.2.231.17-rusty\ntypescript 5.9.2\n"),
    ...packagesIn(metadata.imports),
  ];
  assertEquals(parts.slice(0, 2).map(({ version }) => version), ["2.6.10", "14.2.231.17"]);
  const made = { file: "viola-1", version: "1", sha256: "ab", epoch: 1_700_000_000, parts };
  // deno-lint-ignore no-explicit-any
  const document = spdxDocument(made) as any;
  assertEquals(document.creationInfo.created, "2023-11-14T22:13:20Z");
  const ids: string[] = document.packages.map(({ SPDXID }: { SPDXID: string }) => SPDXID);
  assertEquals(new Set(ids).size, parts.length + 1);
  for (const id of ids) assertMatch(id, /^SPDXRef-[A-Za-z0-9.-]+$/);
  const related = document.relationships.map((one: Record<string, string>) =>
    one.relatedSpdxElement
  );
  assertEquals(related, ids);
});

Deno.test("Debian's version orders a commit behind its version, and a candidate before it", () => {
  assertEquals(debianVersion("0.2.0+abc1234"), "0.2.0+abc1234");
  assertEquals(debianVersion("0.2.0-rc.1"), "0.2.0~rc.1");
  const text = controlText(
    { architecture: "arm64", version: "0.2.0", maintainer: "m <m@x>" },
    1025,
  );
  assertMatch(text, /^Package: viola\nVersion: 0\.2\.0\nArchitecture: arm64\n/);
  assertMatch(text, /\nInstalled-Size: 2\n/);
});

Deno.test("the Yocto recipe is of deno.json's version", () => {
  const folder = new URL("../../cli/install/meta-viola/recipes-viola/viola/", import.meta.url);
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
  assertEquals(names, [`viola_${metadata.version}.bb`]);
});
