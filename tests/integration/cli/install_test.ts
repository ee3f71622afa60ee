// SPDX-License-Identifier: Apache-2.0
// viola install, as a process, and what systemd thinks of the units that it writes.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { EXECUTABLE } from "../../../cli/install/files.ts";
import { udevRules } from "../../../cli/install/fragments.ts";
import { violaNodeService, violaService } from "../../../cli/install/units.ts";
import { run, TempFolder } from "../../support/process.ts";
import { tell } from "../../support/progress.ts";
import { assertFails, facts, viola } from "./viola.ts";

/** The most exposed that a unit may be, in tenths; systemd calls up to 5.0 "OK". */
const MOST_EXPOSED = 45;

const SCENE = `[[device]]\nclass = "rng"\nloopback = "/dev/loopback-237"\n`;

/** A root folder that viola was installed in, with a scene. */
async function installed(folder: TempFolder): Promise<string> {
  const [root, executable] = [folder.file("root"), folder.file("made")];
  Deno.mkdirSync(root);
  Deno.writeTextFileSync(executable, "#!/bin/sh\necho viola\n");
  Deno.writeTextFileSync(folder.file("car.toml"), SCENE);
  const options = ["--root", root, "--executable", executable, "--config", folder.file("car.toml")];
  await using process = viola(["install", ...options, "--json"]);
  assertEquals((await process.end()).code, 0, process.report());
  assert(facts(process).every(({ event }) => event === "wrote"), process.stdout);
  return root;
}

Deno.test("viola install writes a system's files, and --remove removes them", async () => {
  await using folder = await TempFolder.create();
  const root = await installed(folder);
  assertEquals(await run(`${root}${EXECUTABLE}`, []), "viola\n");
  assertEquals(Deno.readTextFileSync(`${root}/etc/viola/car.toml`), SCENE);
  Deno.writeTextFileSync(`${root}/etc/viola/car.toml`, `${SCENE}priority = 1\n`);
  await using process = viola(["install", "--root", root, "--remove"]);
  assertEquals((await process.end()).code, 0, process.report());
  assertMatch(process.stderr, /etc\/viola\/car\.toml is kept: it was changed since viola wrote it/);
  assertEquals([...Deno.readDirSync(root)].map(({ name }) => name), ["etc"]);
  await using again = viola(["install", "--root", root, "--remove"]);
  await assertFails(
    again,
    2,
    /Cannot remove viola from .*: viola install has not written to it/,
    30_000,
  );
});

Deno.test("viola install refuses what it cannot install, and writes nothing then", async () => {
  await using folder = await TempFolder.create();
  const [root, scene] = [folder.file("root"), folder.file("car.toml")];
  Deno.mkdirSync(root);
  Deno.writeTextFileSync(scene, "[[device]]\n");
  const source = viola(["install", "--root", root]);
  const mistake = viola([
    "install",
    "--root",
    root,
    "--executable",
    "/bin/true",
    "--config",
    scene,
  ]);
  const nowhere = viola(["install", "--root", folder.file("none"), "--executable", "/bin/true"]);
  await using _all = {
    [Symbol.asyncDispose]: async () => {
      for (const process of [source, mistake, nowhere]) await process.stop();
    },
  };
  await assertFails(source, 1, /from its source: --executable is missing/, 30_000);
  await assertFails(mistake, 1, /Cannot install the scene: 1 mistake\n.*car\.toml:1: /, 30_000);
  await assertFails(nowhere, 2, /Cannot use .*none: .*ENOENT/, 30_000);
  assertEquals([...Deno.readDirSync(root)], []);
});

Deno.test("systemd finds no mistake in the units, and little exposure", async () => {
  await using folder = await TempFolder.create();
  const units = { "viola.service": violaService, "viola@.service": violaNodeService };
  for (const [name, make] of Object.entries(units)) {
    const unit = folder.file(name);
    // The executable that the unit names must be there.
    Deno.writeTextFileSync(unit, make("/bin/true"));
    await run("systemd-analyze", ["verify", "--man=no", unit]);
    const judge = ["security", "--offline=yes", `--threshold=${MOST_EXPOSED}`, "--no-pager", unit];
    const said = await run("systemd-analyze", judge);
    tell(/Overall exposure level.*/.exec(said)![0]);
  }
});

Deno.test("udev takes the rule", async () => {
  await using folder = await TempFolder.create();
  const rules = folder.file("70-viola.rules");
  Deno.writeTextFileSync(rules, udevRules());
  // From systemd 254 on; before it, what is wrong in a rule is seen only when it is used.
  const verify = ["verify", "--resolve-names=never", rules];
  const knowsVerify = await run("udevadm", ["--help"]).then(
    (help) => /^ *verify /m.test(help),
    () => false,
  );
  if (knowsVerify) await run("udevadm", verify);
  const [line] = udevRules().split("\n").filter((line) => /^[A-Z]/.test(line));
  for (const part of line!.split(", ")) {
    assertMatch(part, /^(ACTION|KERNEL|SUBSYSTEM|GROUP|MODE|TAG|ENV\{\w+\})(==|!=|=|\+=)"[^"]*"$/);
  }
});
