// SPDX-License-Identifier: Apache-2.0
// viola forget: what a viola left in the descriptor store is let go of.
import { assert, assertEquals } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { OwnStore } from "../../support/store.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { facts, reported, viola } from "./viola.ts";

Deno.test("viola forget says when a node was not kept, and starts no store process", async () => {
  await using folder = await TempFolder.create();
  const { env } = new OwnStore(folder.file("store"));
  const nodes = ["soft:/tmp/viola-none", "/dev/loopback-237"];
  await using forget = viola(["forget", ...nodes], { env });
  assertEquals((await forget.end()).code, 0, forget.report());
  assertEquals(forget.stdout, nodes.map((node) => `${node}: was not kept\n`).join(""));
  assertEquals([...Deno.readDirSync(folder.path)], []);
});

Deno.test("a soft device is recognised by its real path, however it is written", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    using store = new OwnStore(folder.file("store"));
    await using reactor = new Reactor();
    using nodes = new DisposableStack();
    await using devices = new AsyncDisposableStack();
    for (const name of ["a", "b"]) {
      Deno.mkdirSync(folder.file(name));
      nodes.use(new SoftNode()).listen(folder.file(`${name}/node`), reactor);
      devices.use(viola(["device", "rng", "--socket", folder.file(`${name}/card`)]));
    }
    Deno.symlinkSync(folder.file("a"), folder.file("link"));
    /** Runs a viola until it has the device, and kills it. @returns how it came by it */
    const run = async (cwd: string, node: string) => {
      const args = ["attach", "rng", "--keep", "--json", "--socket", "card"];
      await using process = viola([...args, "--loopback", node], { env: store.env, cwd });
      const isThere = ({ event }: Record<string, unknown>) => HAS_DEVICE.includes(`${event}`);
      await process.until(() => facts(process).some(isThere), "the device", 20_000);
      await process.stop("SIGKILL");
      return facts(process).find(isThere)!.event;
    };
    const [a, b] = [folder.file("a"), folder.file("b")];
    assertEquals(await run(a, "soft:node"), "started");
    assertEquals(await run(b, "soft:node"), "started", "another node, though it is called so");
    assertEquals(await run(b, "soft:../b/./node"), "restored");
    assertEquals(await run(folder.file("link"), "soft:node"), "restored");

    await using forget = viola(["forget", "soft:node", "--json"], { env: store.env, cwd: b });
    await forget.end();
    assertEquals(facts(forget), [{ event: "forgotten", node: "soft:node", kept: true }]);
    assertEquals(await run(b, `soft:${b}/node`), "started");
    assertEquals(await run(a, `soft:${a}/node`), "restored");
  });
});

/** The events that say that a viola has the device. */
const HAS_DEVICE = ["started", "restored"];

Deno.test("a node that viola forget has released is not restored, the others are", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    using store = new OwnStore(folder.file("store"));
    const { env } = store;
    await using reactor = new Reactor();
    using nodes = new DisposableStack();
    const names = ["a", "b"].map((name) => {
      nodes.use(new SoftNode()).listen(folder.file(name), reactor);
      return `soft:${folder.file(name)}`;
    });
    await using devices = new AsyncDisposableStack();
    const sockets = ["sa", "sb"].map((name) => folder.file(name));
    for (const socket of sockets) devices.use(viola(["device", "rng", "--socket", socket]));
    const attach = () =>
      viola([
        ...["attach", "rng", "rng", "--keep", "--json"],
        ...sockets.flatMap((socket) => ["--socket", socket]),
        ...names.flatMap((name) => ["--loopback", name]),
      ], { env });
    const forget = async () => {
      await using process = viola(["forget", names[0]!, "--json"], { env });
      assertEquals((await process.end()).code, 0, process.report());
      return facts(process);
    };

    await using first = attach();
    for (const device of ["rng0", "rng1"]) {
      await reported(first, "started", (fact) => fact.device === device);
    }
    assertEquals(await forget(), [{ event: "forgotten", node: names[0], kept: true }]);
    assertEquals(await forget(), [{ event: "forgotten", node: names[0], kept: false }]);
    assertEquals(first.status, null, "who serves it goes on");
    await first.stop("SIGKILL");

    await using second = attach();
    await reported(second, "started", (fact) => fact.device === "rng0");
    await reported(second, "restored", (fact) => fact.device === "rng1");
    assert(!facts(second).some(({ event, device }) => event === "restored" && device === "rng0"));
  });
});
