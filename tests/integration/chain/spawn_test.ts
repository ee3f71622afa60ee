// SPDX-License-Identifier: Apache-2.0
// AGL's driver loses viola's mappings of a node when a copy of them is closed: nobody makes one.
import { assert, assertEquals } from "@std/assert";
import { Reactor } from "../../../ffi/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { reported } from "../cli/viola.ts";
import { OwnStore } from "../../support/store.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder } from "../../support/process.ts";
import { clonesAfterMapping, traced } from "../../support/strace.ts";
import { DeviceProcess } from "./device_process.ts";

const MAIN = new URL("../../../cli/main.ts", import.meta.url).pathname;

Deno.test("with a node mapped, another store process is started without a copy of the mappings", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    using node = new SoftNode();
    node.listen(folder.file("node"), reactor);
    await using _device = DeviceProcess.start(["rng", "--socket", folder.file("card")]);
    const store = new OwnStore(folder.file("store"));
    const args = ["run", "-A", "--no-prompt", "--no-check", MAIN, "attach", "rng", "--json"];
    args.push("--socket", folder.file("card"), "--loopback", `soft:${folder.file("node")}`);
    args.push("--keep");
    const trace = folder.file("trace");
    await using viola = traced(trace, Deno.execPath(), args, { env: store.env });
    // First of all, at once: strace holds viola's output until all have ended, and viola would start another.
    using _end = {
      [Symbol.dispose]: () => {
        viola.signal("SIGKILL");
        store.signal("SIGKILL");
      },
    };
    await reported(viola, "started");
    assertEquals(store.signal("SIGKILL"), 1, "it ran before the node was open");
    await reported(viola, "error", ({ text }) => `${text}`.includes("starting another"));
    viola.signal("SIGTERM"); // it waits for that to listen
    assertEquals((await viola.ended).code, 0, viola.report());

    const clones = clonesAfterMapping(Deno.readTextFileSync(trace), "/memfd:viola-memory");
    const processes = clones.filter(({ isThread }) => !isThread);
    assert(processes.length > 0, "the other store process's start is not in the trace");
    assertEquals(clones.filter(({ sharesMemory }) => !sharesMemory), []);
  });
});
