// SPDX-License-Identifier: Apache-2.0
// Completions and manual pages have all that the command line has.
import { assert, assertEquals } from "@std/assert";
import { bashCompletion, fishCompletion, zshCompletion } from "../../cli/install/completion.ts";
import { loadDocuments, loadPlaces } from "../../cli/install/documents.ts";
import { commandPages, roff, scenePage } from "../../cli/install/manual.ts";
import { keyOf } from "../../lib/scene/schema.ts";
import { loadSceneClasses, sceneSchema } from "../../lib/scene/mod.ts";

const PLACES = await loadPlaces();
const DOCUMENTS = await loadDocuments();
const CLASSES = await loadSceneClasses();

Deno.test("the table has each subcommand, verb and class, and what is hidden is not in it", () => {
  const words = PLACES.map(({ words }) => words);
  for (const place of ["", "up", "install", "gpio set", "device sound", "device rng"]) {
    assert(words.includes(place), place);
  }
  assert(!words.includes("store"));
  const attach = PLACES.find(({ words }) => words === "attach")!;
  assertEquals(
    attach.next.map(({ word }) => word),
    CLASSES.map(({ deviceClass }) => deviceClass.name),
  );
});

Deno.test("a class's place has the options of every device and those of the class only", () => {
  const longs = (words: string) =>
    PLACES.find((place) => place.words === words)!.options.map(({ long }) => long);
  for (const { deviceClass: { name, roles }, cli } of CLASSES) {
    if (roles.device === undefined) continue;
    const own = cli.options.map((option) => `--${keyOf(option)}`);
    assertEquals(longs(`device ${name}`), [...own, ...longs("device")]);
  }
});

Deno.test("each option is in each shell's completion, once for each place", () => {
  const bash = bashCompletion(PLACES);
  const [zsh, fish] = [zshCompletion(PLACES), fishCompletion(PLACES)];
  for (const { words, options } of PLACES) {
    const [line] = bash.split("\n").filter((line) => line.startsWith(`    "${words}") next=`));
    for (const { long, values } of options) {
      assert(new RegExp(`[' ]${long}[' ]`).test(line!), `bash: ${words} ${long}`);
      assert(zsh.includes(`'${long}:`), `zsh: ${words} ${long}`);
      const at = `complete -c viola -n '${`__viola_at ${words}`.trim()}' -l ${long.slice(2)}`;
      const found = fish.split("\n").filter((line) => line.startsWith(`${at} `));
      assertEquals(found.length, 1, at);
      assertEquals(/ -[rx] /.test(found[0]!.split(" -d ")[0]! + " "), values !== null, found[0]);
    }
  }
});

Deno.test("each option has its explanation on a manual page", () => {
  const pages = commandPages(PLACES, "story", "1");
  for (const { words, options } of PLACES) {
    const name = words === "" ? "viola.1" : `viola-${words.split(" ")[0]}.1`;
    const page = pages.find((page) => page.name === name)!;
    for (const { flags, description } of options) {
      assert(
        page.text.includes(`\\fB${roff(flags)}\\fR\n${roff(description)}`),
        `${name} ${flags}`,
      );
    }
  }
});

Deno.test("each key of a scene is in viola.toml(5)", () => {
  const { text } = scenePage(sceneSchema(CLASSES), "1");
  const keys = CLASSES.filter(({ deviceClass: { roles } }) => roles.device !== undefined)
    .flatMap(({ cli }) => cli.options.map(keyOf));
  for (const key of [...keys, "class", "loopback", "realtime", "cpus", "at"]) {
    assert(text.includes(`.TP\n\\fB${roff(key)}\\fR\n`), key);
  }
});

Deno.test("roff() takes the meaning from escapes, requests and hyphens", () => {
  assertEquals(roff(".x\n'y\na\\nb --no-keep"), "\\&.x\n\\&'y\na\\enb \\-\\-no\\-keep");
});

Deno.test("documents are where shells and man look for them", () => {
  const paths = Object.keys(DOCUMENTS);
  assert(paths.includes("/usr/share/man/man1/viola-up.1"));
  assert(paths.includes("/usr/share/man/man5/viola.toml.5"));
  assert(paths.includes("/usr/share/bash-completion/completions/viola"));
});
