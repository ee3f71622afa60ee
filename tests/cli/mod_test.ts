// SPDX-License-Identifier: Apache-2.0
import { assertEquals, assertNotEquals } from "@std/assert";
import { Bridge, Reactor, SoftNode, startDevice, startGuest } from "../../mod.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { TempFolder } from "../support/process.ts";

Deno.test("mod.ts: its example works, and leaves nothing behind", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    const [socket, path] = [folder.file("rng.sock"), folder.file("rng.node")];
    await using _device = await startDevice({ class: "rng", socket });
    await using reactor = new Reactor();
    using node = new SoftNode();
    node.listen(path, reactor);
    await using bridge = await Bridge.start({ onEvent: () => {} });
    await bridge.add({
      class: "rng",
      socket,
      loopback: `soft:${path}`,
      memory: "isolated",
      mmioVersion: 1,
      priority: 0,
      lane: "main",
    });
    await using guest = await startGuest("rng", node.wires);
    await guest.probe();
    const bytes = await guest.readEntropy(64);
    assertEquals(bytes.length, 64);
    assertNotEquals(bytes, new Uint8Array(64));
  });
});
