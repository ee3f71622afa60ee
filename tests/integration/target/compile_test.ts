// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from "node:url";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { asset, bundledName } from "../../../ffi/assets.ts";
import { sound } from "../../../lib/classes/mod.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { run } from "../../target/command.ts";
import {
  architectureOf,
  commitOf,
  compilerFor,
  FOUND,
  PERMISSIONS,
  WORKERS,
} from "../../target/compile.ts";
import { costText } from "../../target/cost.ts";
import { Process, TempFolder } from "../../support/process.ts";
import { RATE, writeNumbered } from "../real/numbered.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** What `deno info --json` tells of a module, as far as it is wanted here. */
interface Module {
  specifier: string;
  dependencies?: { isDynamic?: boolean; code?: { specifier?: string }; specifier: string }[];
}

/** The modules that come with one, from the root: those it imports, and those that `isWanted` of what is imported later. */
async function loadedWith(
  entry: string,
  isWanted: (specifier: string) => boolean,
): Promise<Set<string>> {
  const info = await run([Deno.execPath(), "info", "--json", ROOT + entry]);
  const modules = new Map((JSON.parse(info).modules as Module[]).map((m) => [m.specifier, m]));
  const found = new Set<string>();
  const waiting = [`file://${ROOT}${entry}`];
  for (let next; (next = waiting.pop()) !== undefined;) {
    if (found.has(next)) continue;
    found.add(next);
    for (const { isDynamic, code, specifier } of modules.get(next)?.dependencies ?? []) {
      if (code === undefined) continue; // a type
      if (!isDynamic || isWanted(specifier)) waiting.push(code.specifier ?? specifier);
    }
  }
  return new Set([...found].map((specifier) => specifier.replace(`file://${ROOT}`, "")));
}

Deno.test("the drop-in command line loads no package, and no more of viola than it needs", async () => {
  // The device is loaded for vrng only.
  const others = ["./program.ts", "../lib/device/mod.ts"];
  const loaded = await loadedWith("cli/main.ts", (specifier) => !others.includes(specifier));
  const foreign = [...loaded].filter((name) => !/^(cli|lib|ffi)\//.test(name));
  assertEquals(foreign.sort(), ["node:fs", "node:process"]);
  assert(loaded.has("lib/bridge/mod.ts") && loaded.has("ffi/symbols.ts"), [...loaded].join("\n"));
  assertEquals(
    [...loaded].filter((name) =>
      /^lib\/(device|guest)\/|^lib\/classes\/\w+\/(?!class|wire)|^cli\/demo/.test(name)
    ),
    [],
  );
});

Deno.test("viola attach does not load what other subcommands are made of", async () => {
  const others = [
    "./demo.ts",
    "./device.ts",
    "./class_command.ts",
    "./forget.ts",
    "./store.ts",
    "./up.ts",
    "./doctor.ts",
    "./status.ts",
    "./schema.ts",
    "./install.ts",
  ];
  const loaded = await loadedWith("cli/program.ts", (specifier) => !others.includes(specifier));
  assert(loaded.has("cli/attach.ts") && loaded.has("lib/bridge/mod.ts"), [...loaded].join("\n"));
  const unwanted =
    /^lib\/(device|guest|wav)|^lib\/classes\/\w+\/(?!class|wire)|^cli\/(demo|device|compare|pieces|verdict|stage)/;
  assertEquals([...loaded].filter((name) => unwanted.test(name)), []);
});

Deno.test("all assets exist, and their names are unique in a bundle", async () => {
  for (const path of [...FOUND, "ffi/shim.c", "cli/main.ts"]) {
    assert((await Deno.stat(asset(path))).isFile);
  }
  assertEquals(bundledName("lib/device/worker.ts"), "lib-device-worker.js");
  assertEquals(bundledName("ffi/shim.so"), "ffi-shim.so");
  assertEquals(new Set(FOUND.map(bundledName)).size, FOUND.length);
});

Deno.test("every Worker that the program starts is compiled in", async () => {
  const used = new Set<string>();
  for (
    const file of await run(["git", "-C", ROOT, "ls-files", "lib"]).then((list) => list.split("\n"))
  ) {
    if (!file.endsWith(".ts")) continue;
    const text = await Deno.readTextFile(ROOT + file);
    for (const [, path] of text.matchAll(/asset\("(lib\/[\w/]*worker\.ts)"\)/g)) used.add(path!);
  }
  assertEquals([...used].sort(), Object.keys(WORKERS).sort());
});

Deno.test("architectureOf() takes the two triples that are served", () => {
  assertEquals(architectureOf("aarch64-unknown-linux-gnu"), "aarch64");
  assertEquals(architectureOf("x86_64-unknown-linux-gnu"), "x86_64");
  assertThrows(() => architectureOf("riscv64-unknown-linux-gnu"), Error, "expected aarch64-");
});

Deno.test("the compiler is $CC with its options, else the target's", () => {
  const other = Deno.build.arch === "aarch64" ? "x86_64" : "aarch64";
  assertEquals(compilerFor(other, "zig cc  -target x"), ["zig", "cc", "-target", "x"]);
  assertEquals(compilerFor(other, ""), [`${other}-linux-gnu-gcc`]);
  assertEquals(compilerFor(Deno.build.arch, ""), ["cc"]);
});

Deno.test("the version's commit is the tree's own, and dirty only by files that git tracks", async () => {
  await using folder = await TempFolder.create();
  const git = (...args: string[]) =>
    run(["git", "-C", folder.path, "-c", "user.name=t", "-c", "user.email=t@t", ...args]);
  await git("init", "-q");
  await Deno.writeTextFile(folder.file("a"), "1");
  await git("add", "a");
  await git("commit", "-q", "-m", "one");
  await git("tag", "v1");
  await Deno.mkdir(folder.file("sub"));
  assertEquals(await commitOf(folder.file("sub/")), "", "a tree in somebody else's repository");
  await Deno.writeTextFile(folder.file("b"), "not tracked");
  const commit = `+${(await git("rev-parse", "--short", "HEAD")).trim()}`;
  assertEquals(await commitOf(`${folder.path}/`), commit);
  await Deno.writeTextFile(folder.file("a"), "2");
  assertEquals(await commitOf(`${folder.path}/`), `${commit}.dirty`);
});

Deno.test("the table of costs is printed", () => {
  const costs = [{ name: "minified", version: 26.4, node: 75.6, resident: 78.1 }];
  assertEquals(costText("v", 2 ** 20, costs, []).split("\n").map((line) => line.split(/\s{2,}/)), [
    ["v: 1.0 MiB"],
    ["start (median)", "--version", "node open", "resident"],
    ["minified", "26 ms", "76 ms", "78 MiB"],
  ]);
  assert(costText("v", 1, costs, null).includes("deno task target --bench"));
});

Deno.test("the executable may read every environment variable that viola reads", async () => {
  const allowed = PERMISSIONS.find((text) => text.startsWith("--allow-env="))!.split(/[=,]/);
  const info = await loadedWith("cli/main.ts", () => true);
  const asked = new Set<string>();
  for (const file of [...info].filter((name) => /^(cli|lib|ffi)\//.test(name))) {
    const text = await Deno.readTextFile(ROOT + file);
    const names = /\benv(?:\.get)?\("(\w+)"\)|"(LISTEN_\w+)"/g;
    for (const [, one, other] of text.matchAll(names)) asked.add((one ?? other)!);
  }
  // To build the shim, which an executable has in it.
  for (const name of ["HOSTCC", "HOME", "XDG_CACHE_HOME"]) asked.delete(name);
  assert(asked.has("NOTIFY_SOCKET") && asked.has("LISTEN_FDS"), [...asked].join(" "));
  assertEquals([...asked].filter((name) => !allowed.includes(name)), []);
});

/** viola from source with no more permissions than the executable has. */
function confined(args: string[]): Process {
  const main = `${ROOT}cli/main.ts`;
  return Process.start(Deno.execPath(), ["run", "--no-check", ...PERMISSIONS, main, ...args]);
}

Deno.test("the executable's permissions are enough for the demo's process", async () => {
  await using folder = await TempFolder.create();
  await using demo = confined(["demo", "--fast", "--out", folder.file("out")]);
  assertEquals((await demo.end()).code, 0, demo.report());
});

Deno.test("the executable's permissions are enough to be a device with commands, and to attach it", async (t) => {
  await using folder = await TempFolder.create();
  const socket = folder.file("device");
  const file = folder.file("sound.wav");
  writeNumbered(file, RATE / 10);
  const sink = ["--pace", "free", "--sink", `exec:cat >>${folder.file("heard")}`];
  await using device = confined(["device", "sound", "--socket", socket, ...sink, "--json"]);
  for (const memory of ["isolated", "direct"]) {
    await t.step(memory, async () => {
      await using reactor = new Reactor();
      using node = new SoftNode();
      node.listen(folder.file(memory), reactor);
      const place = ["--socket", socket, "--loopback", `soft:${folder.file(memory)}`];
      await using adapter = confined(["attach", "sound", ...place, "--memory", memory, "--json"]);
      await using guest = await startGuest(sound, node.wires);
      await guest.probe(20_000);
      await guest.call("play", { file });
      adapter.signal("SIGTERM");
      assertEquals((await adapter.end(10_000)).code, 0, adapter.report());
    });
  }
  device.signal("SIGTERM");
  assertEquals((await device.end(10_000)).code, 0, device.report());
  assertEquals(device.stderr, "");
  assert((await Deno.stat(folder.file("heard"))).size > 0, "expected the command to have heard it");
});
