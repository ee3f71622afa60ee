// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Counted, runLong, spoken } from "../../support/progress.ts";
import { isThere, missingFor, refusal } from "../../support/set_up.ts";

Deno.test("missingFor() names what a purpose needs, its own and that of what it includes", () => {
  const none = () => false;
  assert(missingFor("demo", none).packages.includes("libc6-dev"));
  assert(!missingFor("demo", none).packages.includes("sox"));
  const all = missingFor("ci", none).packages;
  for (const name of ["gcc", "sox", "qemu-system-arm"]) assert(all.includes(name), name);
  assertEquals(missingFor("target", none).daemons, [], "the emulated machine has its own");
  assertEquals(missingFor("ci", () => true).packages, []);
});

Deno.test("missingFor() checks for a file that shows that the package is installed", () => {
  const asked: string[] = [];
  missingFor("demo", (what) => asked.push(what) > 0);
  assert(asked.includes("/usr/include/stdio.h"), asked.join(" "));
});

Deno.test("isThere() finds programs and files", () => {
  assertEquals([isThere("sh"), isThere("/proc/self/status")], [true, true]);
  assertEquals([isThere("no-such-program"), isThere("/no/such/file")], [false, false]);
});

Deno.test("refusal() says in one line what to run where packages cannot be installed", () => {
  assertEquals(refusal(["sox"], { isDebian: true, isRoot: true }), null);
  assertEquals(
    refusal(["sox", "git"], { isDebian: true, isRoot: false }),
    "not root. Run: sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends sox git'",
  );
  assertEquals(
    refusal(["sox"], { isDebian: false, isRoot: true }),
    "no apt-get. Install what Debian calls sox",
  );
});

Deno.test("runLong() fails with the last lines that the command printed", async () => {
  const counted: Counted = { lines: /^\d+$/ };
  const script = "seq 100; echo why >&2; exit 3";
  const error = await assertRejects(
    () => runLong("counting", ["sh", "-c", script], counted),
    Error,
    "exit status 3",
  );
  assert(error.message.includes("why") && error.message.includes("\n99\n"), error.message);
  assert(!error.message.includes("\n50\n"), error.message);
  await runLong("counting", ["seq", "3"], counted);
});

Deno.test("spoken() is minutes and seconds", () => {
  assertEquals([0, 59_400, 64_000].map(spoken), ["0 s", "59 s", "1 min 4 s"]);
});
