// SPDX-License-Identifier: Apache-2.0
import { assert, assertEquals } from "@std/assert";
import { Reactor, UnixSocket } from "../../../ffi/mod.ts";
import { Bridge, type BridgeEvent } from "../../../lib/bridge/mod.ts";
import { decodeReply, encodeRequest, MAX_MESSAGE } from "../../../lib/bridge/store/protocol.ts";
import { startGuest } from "../../../lib/guest/mod.ts";
import { rng } from "../../../lib/classes/mod.ts";
import { SoftNode } from "../../../lib/loopback/mod.ts";
import { assertFails, facts, reported, viola } from "../cli/viola.ts";
import { LocalStore, OwnStore } from "../../support/store.ts";
import { withoutLeaks } from "../../support/leaks.ts";
import { TempFolder, until } from "../../support/process.ts";
import { Filler } from "./back_ends.ts";
import { KEPT, Place } from "./restore_fixture.ts";

Deno.test("a store with too little room is reported if systemd says how much there is, else by the next viola", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create({ most: 3, saysMost: true });
    await using first = await place.start();
    await reported(first, "started");
    await first.until(() => facts(first).some(({ event }) => event === "error"), "the report");
    const told = facts(first).find(({ event }) => event === "error");
    assertEquals(
      told!.text,
      `Cannot store the descriptors of ${place.name}: systemd holds 3 descriptors of this service ` +
        "at most, expected 7 or more (FileDescriptorStoreMax= in its unit)",
    );
    assertEquals(place.manager.stored, []);
  });
  await withoutLeaks(async () => {
    await using place = await Place.create({ most: 3 });
    await place.leave(3);
    await place.assertRefused(
      /of its descriptors systemd held 1of7, 2of7, 3of7, expected all \(raise FileDescriptorStoreMax=/,
    );
  });
});

Deno.test("descriptors of a node that has ended are removed from systemd, and those of the next node stored", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    await place.leave();
    const { manager } = place;
    const old = manager.stored.map(({ fd }) => fd);
    place.node.close();
    place.node = new SoftNode();
    place.node.listen(place.folder.file("node"), place.reactor);
    await using second = await place.start();
    await reported(second, "started");
    await until(() => old.every(({ closed }) => closed), "the old ones' end");
    await manager.keeps(KEPT);
    assert(!facts(second).some(({ event }) => event === "restored"));
    assertEquals(manager.refused, []);
  });
});

Deno.test("viola forget removes a device from systemd", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    await place.leave();
    const forget = ["forget", place.name, "--json"];
    for (const kept of [true, false]) {
      await using process = await place.start(forget);
      assertEquals((await process.end()).code, 0, process.report());
      assertEquals(facts(process), [{ event: "forgotten", node: place.name, kept }]);
      await place.manager.keeps(0);
    }
    await until(() => !place.node.isOpen, "the node to be free");
    assertEquals(place.manager.refused, []);
  });
});

Deno.test("a store process that is killed is replaced at once, and the new one holds the device", async () => {
  await withoutLeaks(async () => {
    await using place = await Place.create();
    using store = new OwnStore(place.folder.file("store"));
    const start = () => viola(place.args, { env: store.env });
    for (const isRestored of [false, true]) {
      await using first = start();
      await reported(first, isRestored ? "restored" : "started");
      assertEquals(store.signal("SIGKILL"), 1);
      const text =
        `the store process at ${store.path} ended; starting another to hold ${place.name}`;
      await reported(first, "error", (fact) => fact.text === text);
      await until(() => store.signal("SIGCONT") === 1, "another store process");
      await isHeld(place, store);
      const told = facts(first).filter((fact) => fact.text === text);
      assertEquals(told.length, 1, first.report());
      await first.stop("SIGKILL");
    }
    await using last = start();
    await reported(last, "restored");
    await using guest = await startGuest(rng, place.node.wires);
    await guest.probe();
    assertEquals((await guest.call("readEntropy", 64)).length, 64);
  });
});

Deno.test("a store process that ends at any moment of a viola's start is replaced", async () => {
  await withoutLeaks(async () => {
    await using folder = await TempFolder.create();
    await using reactor = new Reactor();
    using node = new SoftNode();
    node.listen(folder.file("node"), reactor);
    using _back = new Filler(reactor, folder.file("card"));
    using store = new LocalStore(folder.file("store"), reactor);
    const { started, options } = store;
    for (const ms of [null, 0, 1, 2, 5, 10, 20, 50]) {
      const events: BridgeEvent[] = [];
      const onEvent = (event: BridgeEvent) => void events.push(event);
      await using bridge = await Bridge.start({ store: options, onEvent });
      bridge.add({
        class: rng,
        socket: folder.file("card"),
        loopback: `soft:${folder.file("node")}`,
        keep: true,
        memory: "isolated",
        mmioVersion: 1,
        priority: 0,
        lane: "lane",
      });
      const before = started.length;
      if (ms !== null) {
        await new Promise((resolve) => setTimeout(resolve, ms));
        started.at(-1)!.close();
      }
      await until(() => started.length > before, `another, the last one ended after ${ms} ms`);
      await until(() => events.some(({ kind }) => kind === "connected"), "the back-end");
    }
  });
});

/** Waits until a store process has a device that another viola serves: then it says so. */
async function isHeld({ name, reactor }: Place, store: OwnStore): Promise<void> {
  const ask = async () => {
    try {
      using socket = UnixSocket.connect(store.path);
      const request = encodeRequest({ verb: "take", name });
      socket.send(request, 0, request.length);
      await reactor.readable(socket, 1000);
      const buffer = new Uint8Array(MAX_MESSAGE);
      const { length, fds } = socket.receive(buffer, 0, buffer.length);
      for (const fd of fds) fd.close();
      return decodeReply(buffer.subarray(0, length)).verdict === "in use";
    } catch {
      return false;
    }
  };
  await until(ask, "the device to be held");
}

Deno.test("a store process whose path is too long for a socket is refused in one line, before anything begins", async () => {
  const path = `/tmp/${"k".repeat(103)}`;
  const env = { VIOLA_STORE: path };
  const message = new RegExp(
    `^viola: Cannot use ${path} for the descriptor store: the path has 108 bytes, expected at most 107 \\(set a shorter one with VIOLA_STORE`,
    "m",
  );
  await using folder = await TempFolder.create();
  using node = new SoftNode();
  await using reactor = new Reactor();
  node.listen(folder.file("node"), reactor);
  const name = `soft:${folder.file("node")}`;
  const commands = [
    ["attach", "rng", "--socket", folder.file("none"), "--loopback", name, "--keep"],
    ["forget", name],
  ];
  for (const args of commands) {
    await using process = viola(args, { env });
    await assertFails(process, 1, message);
    assertEquals(process.stderr.split("\n").length, 2, process.report());
  }
});
