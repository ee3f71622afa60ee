// SPDX-License-Identifier: Apache-2.0
// viola doctor, as a process, on this machine.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { rng } from "../../../lib/classes/mod.ts";
import { startDevice } from "../../../lib/device/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { TempFolder } from "../../support/process.ts";
import { assertFails, viola } from "./viola.ts";

Deno.test("viola doctor asks the back-ends of a scene, and ends with 0 when all is there", async () => {
  await using folder = await TempFolder.create();
  await using reactor = new Reactor();
  using node = new SoftNode();
  node.listen(folder.file("node"), reactor);
  const [file, socket] = [folder.file("car.toml"), folder.file("rng")];
  const loopback = `soft:${folder.file("node")}`;
  Deno.writeTextFileSync(
    file,
    `[[device]]\nclass = "rng"\nloopback = "${loopback}"\nsocket = "${socket}"\n`,
  );
  await using absent = viola(["doctor", file]);
  await assertFails(absent, 2, /Cannot work yet: 1 thing missing/);
  assertMatch(absent.stdout, /^missing +back-end of rng: .*ENOENT.*\n +fix: start the daemon/m);

  await using _device = await startDevice(rng, { socket });
  await using well = viola(["doctor", file, "--json"]);
  assertEquals((await well.end()).code, 0, well.report());
  const { ok, findings } = JSON.parse(well.stdout);
  assertEquals(ok, true);
  const texts = findings.map(({ text }: { text: string }) => text);
  assert(texts.some((text: string) => text.includes("answers: 1 queue")), well.report());
});
