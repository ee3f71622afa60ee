// SPDX-License-Identifier: Apache-2.0
// How long a function or a file, and how large a class may be, so that a reader takes it in at a glance.
import { assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

const MOST_LINES_OF_A_FUNCTION = 45;
const MOST_FIELDS = 12;
const MOST_LINES_OF_A_FILE = 450;

/** Files apart from the limits, with the reason. */
const TABLES = new Map([
  ["ffi/shim.c", "a list of short functions, one for each system call"],
  ["tests/target/module/viola_loopback.c", "a kernel module is one file"],
]);

/** Lines up to an offset of a text. */
function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let i = text.indexOf("\n"); i >= 0 && i < offset; i = text.indexOf("\n", i + 1)) line++;
  return line;
}

/** A lint plugin that reports functions and classes over the limits. */
function plugin(text: string): Deno.lint.Plugin {
  const checkFunction = (context: Deno.lint.RuleContext, node: Deno.lint.Node): void => {
    const [start, end] = node.range;
    const lines = lineAt(text, end) - lineAt(text, start) + 1;
    if (lines <= MOST_LINES_OF_A_FUNCTION) return;
    context.report({ node, message: `line ${lineAt(text, start)}: a function of ${lines} lines` });
  };
  const checkClass = (context: Deno.lint.RuleContext, node: Deno.lint.ClassBody): void => {
    let fields = 0;
    for (const member of node.body) {
      if (member.type === "PropertyDefinition" && !member.static) fields++;
      if (member.type !== "MethodDefinition" || member.kind !== "constructor") continue;
      fields += member.value.params.filter(({ type }) => type === "TSParameterProperty").length;
    }
    if (fields <= MOST_FIELDS) return;
    const line = lineAt(text, node.range[0]);
    context.report({ node, message: `line ${line}: a class of ${fields} fields` });
  };
  const create = (context: Deno.lint.RuleContext): Deno.lint.LintVisitor => ({
    FunctionDeclaration: (node) => checkFunction(context, node),
    FunctionExpression: (node) => checkFunction(context, node),
    ArrowFunctionExpression: (node) => checkFunction(context, node),
    ClassBody: (node) => checkClass(context, node),
  });
  return { name: "viola", rules: { limits: { create } } };
}

/** Paths of the sources below a folder, from the root. */
function* sources(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (/\.(ts|c|sh)$/.test(name)) yield `${folder}${name}`;
  }
}

const FOLDERS = ["ffi/", "lib/", "cli/", "tests/"];
const FILES = ["mod.ts", ...FOLDERS.flatMap((folder) => [...sources(folder)])];

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** What a file has over the limits. */
function excessOf(path: string, text: string): string[] {
  return Deno.lint.runPlugin(plugin(text), path, text).map(({ message }) => `${path}, ${message}`);
}

Deno.test("a function over the limit is found, and a class", () => {
  const lines = "\n".repeat(MOST_LINES_OF_A_FUNCTION);
  const fields = "a;".repeat(MOST_FIELDS);
  const text = `function f() {${lines}}\nclass C { ${fields} constructor(readonly b: number) {} }`;
  assertEquals(excessOf("x.ts", text), [
    `x.ts, line 1: a function of ${MOST_LINES_OF_A_FUNCTION + 1} lines`,
    `x.ts, line ${MOST_LINES_OF_A_FUNCTION + 2}: a class of ${MOST_FIELDS + 1} fields`,
  ]);
  assertEquals(excessOf("x.ts", text.replace("\n", "").replace("a;", "")), []);
});

Deno.test("no function and no class is over its limit", () => {
  const code = FILES.filter((path) => path.endsWith(".ts") && !TABLES.has(path));
  assertEquals(code.flatMap((path) => excessOf(path, read(path))), []);
});

Deno.test("no file is over its limit", () => {
  const long = FILES.filter((path) => !TABLES.has(path))
    .map((path) => ({ path, lines: read(path).split("\n").length - 1 }))
    .filter(({ lines }) => lines > MOST_LINES_OF_A_FILE);
  assertEquals(long, []);
});
