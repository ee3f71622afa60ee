// SPDX-License-Identifier: Apache-2.0
// Completions as the shells run them, and manual pages as man shows them.
import { assert, assertEquals } from "@std/assert";
import { loadDocuments } from "../../../cli/install/documents.ts";
import { Process, TempFolder } from "../../support/process.ts";

const DOCUMENTS = await loadDocuments();

/** Runs a program. @returns what it printed; nothing may be on standard error */
async function said(program: string, ...args: string[]): Promise<string[]> {
  // man marks no letters where it does not print to a terminal.
  const env = { LC_ALL: "C.UTF-8", MANROFFSEQ: "" };
  await using process = Process.start(program, args, { env });
  assertEquals((await process.end()).code, 0, process.report());
  assertEquals(process.stderr, "", process.report());
  return process.stdout.trim().split("\n");
}

/** What is completed with what: the last word of each line is the one that has begun. */
const TABLE: [words: string[], expected: string[]][] = [
  [["d"], ["demo", "device", "doctor"]],
  [["device", "so"], ["sound"]],
  [["device", "sound", "--pac"], ["--pace"]],
  [["device", "sound", "--pace", ""], ["free", "real"]],
  [["device", "--json", "sound", "--pac"], ["--pace"]],
  [["device", "rng", "--pac"], []],
  [["attach", "vs"], ["vsock"]],
  [["gpio", ""], ["get", "set", "watch"]],
  [["up", "--ch"], ["--check"]],
];

/** Prints a line of candidates for each line of the table. */
const SHELLS: Record<string, (script: string, words: string[]) => string> = {
  bash: (_, words) =>
    `COMP_WORDS=(viola ${words.map((word) => `'${word}'`).join(" ")})
COMP_CWORD=${words.length}; _viola; echo "\${COMPREPLY[@]}"`,
  // What zsh's own functions are asked to offer; they need a terminal.
  zsh: (_, words) =>
    `words=(viola ${words.map((word) => `'${word}'`).join(" ")})
CURRENT=${words.length + 1}; offered=(); _viola
print -r -- \${(M)offered:#\${words[CURRENT]}*}`,
  fish: (_, words) =>
    `echo (complete -C 'viola ${words.join(" ")}' | string replace -r '\\t.*' '')`,
};

const BEGIN: Record<string, (script: string) => string> = {
  bash: (script) => `source ${script}`,
  zsh: (script) =>
    `compdef() {}
_describe() { local item; for item in \${(P)2}; do offered+=(\${item%%:*}); done }
compadd() { shift; offered+=("$@") }
_files() {}
source ${script}`,
  fish: (script) => `source ${script}`,
};

Deno.test("bash, zsh and fish complete subcommands, classes, options and their values", async (t) => {
  await using folder = await TempFolder.create();
  const scripts = Object.entries(DOCUMENTS).filter(([path]) => !path.includes("/man/"));
  for (const shell of Object.keys(SHELLS)) {
    await t.step(shell, async () => {
      const [, text] = scripts.find(([path]) => path.includes(`/${shell}`))!;
      const script = folder.file(shell);
      Deno.writeTextFileSync(script, text);
      const lines = TABLE.map(([words]) => SHELLS[shell]!(script, words));
      const program = [BEGIN[shell]!(script), ...lines].join("\n");
      const options = shell === "zsh" ? ["-f"] : [];
      // An empty line at the end would be lost.
      const found = await said(shell, ...options, "-c", `${program}\necho end`);
      const words = found.slice(0, TABLE.length).map((line) => line.split(" ").sort().join(" "));
      assertEquals(words, TABLE.map(([, expected]) => expected.join(" ")));
    });
  }
});

Deno.test("man shows each manual page without a warning", async () => {
  await using folder = await TempFolder.create();
  const pages = Object.entries(DOCUMENTS).filter(([path]) => path.includes("/man/"));
  assert(pages.length > 10);
  await Promise.all(pages.map(async ([path, text]) => {
    const file = folder.file(path.split("/").at(-1)!);
    Deno.writeTextFileSync(file, text);
    const lines = await said("man", "--warnings", "-l", file);
    assert(lines.includes("NAME"), file);
  }));
});
