// SPDX-License-Identifier: Apache-2.0
// What becomes of a boot, with a program in the emulator's place that reports as the machine does.
import { assertEquals } from "@std/assert";
import { TempFolder } from "../../support/process.ts";
import { type BootResult, lastWords, watchBoot } from "../../target/boots.ts";
import type { Machine } from "../../target/machine.ts";

/** Says what it is told to on the report's socket, and writes the files that the emulator does. */
const EMULATOR = `#!/usr/bin/env python3
import re, socket, sys, time
folder = re.search(r"path=(\\S+/)report.socket", " ".join(sys.argv)).group(1)
def write(name, text): open(folder + name, "w").write(text)
write("console.log", "the kernel's last line\\n")
write("live.log", "scenario one\\nfirst\\nscenario two\\nsecond\\n")
write("files.tar", "")
report = socket.socket(socket.AF_UNIX)
report.connect(folder + "report.socket")
for line in REPORT:
    report.sendall((line + "\\n").encode())
    if line == "next": assert report.recv(64) in (b"one\\n", b"two\\n")
if HANGS: time.sleep(600)
`;

/** Boots a machine that reports this. @returns what became of it, and the last lines of the scenario two's logs */
async function bootWith(report: string[], hangs: boolean): Promise<[BootResult[], string[]]> {
  await using folder = await TempFolder.create();
  const emulator = folder.file("emulator");
  const program = EMULATOR.replace("REPORT", JSON.stringify(report))
    .replace("HANGS", hangs ? "True" : "False");
  await Deno.writeTextFile(emulator, program, { mode: 0o755 });
  const none = folder.file("none");
  await Deno.writeTextFile(none, "");
  const kernel = { version: "", image: none, headers: none };
  const machine: Machine = { emulator, kernel, userLand: none, module: none, daemons: none };
  await Deno.mkdir(folder.file("work"));
  await Deno.mkdir(folder.file("kept/boot1"), { recursive: true });
  const results: BootResult[] = [];
  const scenarios = ["one", "two"];
  const next = () => scenarios.shift() ?? null;
  const run = { machine, clock: "host", archive: none, folder: folder.file("work"), next } as const;
  const limits = new Map([["one", 60], ["two", 60]]);
  await watchBoot(run, limits, folder.file("kept/boot1"), (result) => results.push(result));
  const last = results.at(-1);
  return [results, last === undefined ? [] : await Array.fromAsync(lastWords(last))];
}

const WORDS = ["boot1/two.log: second", "boot1/console.log: the kernel's last line"];

Deno.test("a scenario that the machine cannot end is named, and its log shown; those before it count", async () => {
  const report = ["alive 1", "next", "end one 0 3.5 well", "next", "alive 10", "alive 131"];
  const [results, words] = await bootWith(report, true);
  assertEquals(results.map(({ scenario, ok, text }) => [scenario, ok, text]), [
    ["one", true, "well"],
    ["two", false, "the machine hangs: not ended after 121 s, where its limit is 60 s"],
  ]);
  assertEquals(words, WORDS);
});

Deno.test("a scenario that brings the machine down is named, and its log shown", async () => {
  const [results, words] = await bootWith(["next", "end one 0 1.0 well", "next"], false);
  assertEquals(results.map(({ scenario, ok, text }) => [scenario, ok, text]), [
    ["one", true, "well"],
    ["two", false, "the machine went down"],
  ]);
  assertEquals(words, WORDS);
});

Deno.test("a machine that goes down before a scenario begins has no result", async () => {
  const [results] = await bootWith([], false);
  assertEquals(results.map(({ scenario, ok, text }) => [scenario, ok, text]), []);
});
