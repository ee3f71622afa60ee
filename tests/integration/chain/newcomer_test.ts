// SPDX-License-Identifier: Apache-2.0
// lib/classes/README.md is followed word for word in a copy of the tree: the template class becomes a class of viola's.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Process, TempFolder } from "../../support/process.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

/** What the copy needs. */
const PARTS = ["cli", "deno.json", "deno.lock", "ffi", "lib", "mod.ts", "README.md", "tests"];

/** The blocks of a language in a text, in their order. */
function blocks(text: string, language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm");
  return [...text.matchAll(pattern)].map(([, block]) => block!);
}

/** The commands that a text tells to type, without those whose end a reader does not wait for. */
function commands(text: string): string[] {
  const lines = blocks(text, "console").join("").replaceAll("\\\n", " ").split("\n");
  const typed = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
  return typed.filter((command) => !command.includes(" --socket "));
}

/** Changes a file of the copy. */
async function edit(path: string, change: (text: string) => string): Promise<void> {
  const text = await Deno.readTextFile(path);
  const changed = change(text);
  assert(changed !== text, `${path} is as it was`);
  await Deno.writeTextFile(path, changed);
}

/** An import behind the other classes', and a name at the end of the list. */
function listed(text: string, importLine: string): string {
  const [, name] = /^import \{ (\w+) \}/.exec(importLine)!;
  const last = [...text.matchAll(/^import .*\/class\.ts";\n/gm)].at(-1)!;
  const at = last.index + last[0].length;
  const imported = text.slice(0, at) + importLine + text.slice(at);
  return imported.replace(/(DEVICE_CLASSES[^=]*= \[[^\]]*?),?\s*\]/, `$1, ${name}]`);
}

/** A row at the end of the table of classes. */
function tabled(text: string, row: string): string {
  const start = text.indexOf("\n## Device classes\n");
  const end = text.indexOf("|\n\n", start) + 2;
  return text.slice(0, end) + row + text.slice(end);
}

/** The command as it is run here: this Deno, and of the tests those of the new class and of the list as a whole. */
function here(command: string): string[] {
  const deno = [Deno.execPath()];
  const words = command.split(" ");
  if (!command.startsWith("npx ")) return words;
  const [, , , ...args] = words;
  if (args[0] !== "task" || args[1] !== "test") return [...deno, ...args];
  const filter = "--filter=/echo|README|class|imports/";
  return [...deno, "test", "-A", "--no-prompt", "--no-check", filter, ...args.slice(2)];
}

/** Runs a program to its end, however long it takes. @returns what it printed */
async function ended(program: string, args: string[], cwd: string): Promise<string> {
  await using process = Process.start(program, args, { cwd, env: { NO_COLOR: "1" } });
  const { success } = await process.end(600_000);
  assert(success, process.report());
  return process.stdout;
}

Deno.test("a class is added as lib/classes/README.md says, and works", async () => {
  await using folder = await TempFolder.create();
  const copy = `${folder.path}/viola`;
  await Deno.mkdir(copy);
  await ended("cp", ["-r", ...PARTS.map((part) => ROOT + part), copy], copy);
  const guide = await Deno.readTextFile(`${copy}/lib/classes/README.md`);

  const outputs = new Map<string, string>();
  const type = async (command: string) => {
    const [program, ...args] = here(command);
    outputs.set(command, await ended(program!, args, copy));
  };
  const isDeno = (command: string) => command.startsWith("npx ");
  const [making, others] = [
    commands(guide).filter((one) => !isDeno(one)),
    commands(guide).filter(isDeno),
  ];
  for (const command of making) await type(command);
  const [importLine] = blocks(guide, "ts");
  await edit(`${copy}/lib/classes/mod.ts`, (text) => listed(text, importLine!));
  const [row] = blocks(guide, "md");
  await edit(`${copy}/README.md`, (text) => tabled(text, row!));
  for (const command of others) await type(command);

  const outputOf = (part: string) =>
    outputs.entries().find(([command]) => command.includes(part))![1];
  const tested = outputOf("task test");
  assertStringIncludes(
    tested,
    "echo: from its device's process to its driver, isolated memory ... ok",
  );
  assertStringIncludes(tested, "echo: its device is sent anything at all ...");
  assertStringIncludes(tested, "README's table of device classes is made of the list ... ok");
  assertStringIncludes(tested, "each room imports those that it may, and nothing foreign ... ok");
  assertStringIncludes(
    outputOf("device echo --help"),
    "Options of echo, what is sent to it comes back:",
  );
  assertStringIncludes(
    tested,
    "echo: what the standard demands is tested, or there is a reason ... ok",
  );
  assertEquals([making.length, others.length], [3, 4], "the guide's commands are all typed");
});
