// SPDX-License-Identifier: Apache-2.0
// The rules of the house that no compiler keeps: where native code may be called from, and which room may import which.
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

/** Which rooms each room may import. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  "ffi": [],
  "lib/virtio": [],
  "lib/wav": [],
  "lib/vhost_user": ["lib/virtio", "ffi"],
  "lib/loopback": ["lib/virtio", "ffi"],
  "lib/bridge": ["lib/loopback", "lib/vhost_user", "lib/virtio", "ffi"],
  "lib/device": ["lib/vhost_user", "lib/virtio", "ffi"],
  // A guest is the software loopback device's other end.
  "lib/guest": ["lib/loopback", "lib/virtio", "ffi"],
  "lib/classes": ["lib/device", "lib/guest", "lib/virtio", "lib/wav", "ffi"],
  "lib/scene": ["lib/", "ffi"],
  "cli": ["lib/", "ffi", "mod.ts", "deno.json"],
  "mod.ts": ["lib/", "ffi"],
};

/** Paths of the project's TypeScript files under a folder, from the root. */
function* sources(folder: string): Generator<string> {
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, ROOT))) {
    if (isDirectory) yield* sources(`${folder}${name}/`);
    else if (name.endsWith(".ts")) yield `${folder}${name}`;
  }
}

const FILES = ["mod.ts", ...["ffi/", "lib/", "cli/"].flatMap((folder) => [...sources(folder)])];

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

/** A file's text without its comments. */
function code(path: string): string {
  return read(path).replace(/^\s*(\/\/|\/?\*).*$/gm, "");
}

/** The room that a file is in. */
function roomOf(path: string): string {
  const room = Object.keys(ARROWS).find((room) => path === room || path.startsWith(`${room}/`));
  if (room === undefined) throw new Error(`${path} is in no room`);
  return room;
}

/** What a file imports: paths from the root, or bare names. */
function importsOf(path: string): string[] {
  const pattern = /\b(?:from |import |import\(|new URL\()"([^"$]+)"/g;
  return [...code(path).matchAll(pattern)].map(([, specifier]) => {
    if (!specifier!.startsWith(".")) return specifier!;
    return new URL(specifier!, new URL(path, ROOT)).href.slice(ROOT.href.length);
  });
}

Deno.test("processes are started by posix_spawn: a fork copies a node's mappings, which AGL's driver cannot stand", () => {
  const starters = FILES.filter((path) => /\bDeno\s*\.\s*Command\(/.test(code(path)));
  // The demo has no node mapped, and neither has who builds the shim.
  assertEquals(starters.toSorted(), ["cli/child.ts", "ffi/symbols.ts"]);
});

Deno.test("errors are told apart by their names: an executable has several copies of a class", () => {
  const errors = FILES.flatMap((path) =>
    [...code(path).matchAll(/^export class (\w+) extends \w*Error\b[^]*?\n}/gm)]
      .map(([text, name]) => ({ path, text, name: name! }))
  );
  assert(errors.length >= 10, "expected OsError, SpecError and so on");
  for (const { path, text, name } of errors) {
    assert(text.includes(`override readonly name = "${name}";`), `${name} of ${path} has no name`);
    const is = /static is\(error: unknown\): error is (\w+)[^]*error\.name === "(\w+)"/.exec(text);
    if (is !== null) assertEquals([is[1], is[2]], [name, name], path);
  }
  const names = errors.map(({ name }) => name).join("|");
  const askers = FILES.filter((path) => new RegExp(`instanceof (${names})\\b`).test(code(path)));
  assertEquals(askers, [], "expected SpecError.is(error) for error instanceof SpecError");
});

Deno.test("native code is called by ffi/ and nothing else", () => {
  const native = /\bDeno\s*\.\s*(dlopen|Unsafe\w+)|\["(dlopen|Unsafe)/;
  const callers = [...FILES, ...sources("tests/")].filter((path) => native.test(code(path)));
  assertEquals(
    callers.filter((path) => !path.startsWith("ffi/") && !path.endsWith("rules_test.ts")),
    [],
  );
  assert(callers.length > 0, "expected ffi/ among them");
});

Deno.test("each room imports those that it may, and nothing foreign", () => {
  const foreign: Readonly<Record<string, readonly string[]>> = {
    "commander": ["cli"],
    "node:process": ["cli"],
    "node:fs": ["cli"],
    "smol-toml": ["lib/scene", "lib/classes"],
    "@cfworker/json-schema": ["lib/scene"],
    "@std/text/closest-string": ["lib/scene"],
    "@std/text/levenshtein-distance": ["lib/scene"],
  };
  for (const path of FILES) {
    const room = roomOf(path);
    for (const target of importsOf(path)) {
      const allowed = [room, ...ARROWS[room]!];
      const ok = target in foreign
        ? foreign[target]!.includes(room)
        : allowed.some((to) =>
          target === to || target.startsWith(to.endsWith("/") ? to : `${to}/`)
        );
      assert(ok, `${path} imports ${target}, expected of ${allowed.join(", ")}`);
    }
  }
});

Deno.test("the imports are found, whichever way they are written", () => {
  assert(importsOf("lib/bridge/lane.ts").includes("ffi/mod.ts"));
  assert(importsOf("lib/bridge/mod.ts").includes("lib/bridge/lane.ts"));
  assert(importsOf("lib/guest/mod.ts").includes("lib/guest/worker.ts"));
});

/** The folder of the class that a file belongs to; undefined for the list. */
function classOf(path: string): string | undefined {
  return /^lib\/classes\/\w+\//.exec(path)?.[0];
}

Deno.test("a class imports no other class", () => {
  const classes = FILES.filter((path) => classOf(path) !== undefined);
  assert(classes.length > 0);
  for (const path of classes) {
    const others = importsOf(path).filter((target) =>
      target.startsWith("lib/classes/") && classOf(target) !== classOf(path)
    );
    assertEquals(others, [], path);
  }
});

Deno.test("class.ts loads no role: roles are loaded where they are used", () => {
  for (const path of FILES.filter((one) => one.endsWith("/class.ts"))) {
    const loads = code(path).matchAll(/^import (?!type )[^;]*from "([^"]*)"/gm);
    for (const [, target] of loads) {
      // Of these none loads anything else.
      const allowed = ["../../../ffi/assets.ts", "../../virtio/features.ts", "./wire.ts"];
      assert(allowed.includes(target!), `${path} loads ${target}`);
    }
  }
});

Deno.test("codecs import nothing but other codecs", () => {
  const wires = FILES.filter((path) => /^lib\/classes\/\w+\/wire\.ts$/.test(path));
  assert(wires.length > 0);
  const codecs = {
    ...Object.fromEntries(wires.map((path) => [path, []])),
    "lib/classes/sound/wire.ts": ["lib/classes/sound/formats.ts"],
    "lib/classes/sound/formats.ts": [],
    "lib/virtio/features.ts": [],
    "lib/wav/format.ts": [],
    "lib/wav/fmt.ts": ["lib/wav/format.ts"],
    "lib/vhost_user/payloads.ts": ["lib/vhost_user/errors.ts"],
  };
  for (const [path, allowed] of Object.entries(codecs)) {
    const rest = importsOf(path).filter((target) => !(allowed as string[]).includes(target));
    assertEquals(rest, [], path);
  }
});

Deno.test("each file begins with its licence, and says what it is", () => {
  for (const path of [...FILES, ...sources("tests/")]) {
    const [first, second] = read(path).split("\n");
    assertEquals(first, "// SPDX-License-Identifier: Apache-2.0", path);
    if (!path.startsWith("tests/")) assert(second!.startsWith("/**"), `${path} has no module doc`);
  }
});

Deno.test("the fast tests start no process", () => {
  const apart = /^tests\/(integration|target|bench|soak|support)\//;
  const fast = [...sources("tests/")].filter((path) => !apart.test(path));
  assert(fast.length > 50);
  const starts =
    /\bDeno\s*\.\s*Command\b|import \{[^}]*\b(Process|run)\b[^}]*\} from "[./]*support\/process\.ts"/;
  assertEquals(fast.filter((path) => starts.test(code(path))), []);
});
