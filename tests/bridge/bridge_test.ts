// SPDX-License-Identifier: Apache-2.0
// Several devices in one bridge.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Bridge, type BridgeDeviceOptions, type BridgeEvent } from "../../lib/bridge/mod.ts";
import { rng } from "../../lib/classes/mod.ts";
import { withoutLeaks } from "../support/leaks.ts";

const DEVICE: BridgeDeviceOptions = {
  class: rng,
  socket: "/nowhere/socket",
  loopback: "soft:/nowhere/node",
  memory: "isolated",
  mmioVersion: "auto",
  priority: 0,
  lane: "lane",
};

Deno.test("what cannot be bridged is refused at once, by name", async () => {
  await withoutLeaks(async () => {
    await using bridge = await Bridge.start({ onEvent: () => {} });
    assertThrows(() => bridge.add(DEVICE), Error, "ENOENT");
    assertThrows(() => bridge.add({ ...DEVICE, loopback: "/dev/null" }), TypeError, "/dev/null");
  });
});

Deno.test("devices share lanes by name, have names of their own, and end with the bridge", async () => {
  await withoutLeaks(async () => {
    const events: BridgeEvent[] = [];
    const opened: string[] = [];
    const bridge = await Bridge.start({
      lanes: [{ name: "fast" }],
      onEvent: (event) => events.push(event),
      loopbacks: {
        check: (name) => void opened.push(name),
        checkUnopened: (name) => void opened.push(name),
      },
    });
    const devices = ["fast", "slow", "fast"].map((lane) => bridge.add({ ...DEVICE, lane }));
    assertEquals(devices.map(({ name }) => name), ["rng0", "rng1", "rng2"]);
    await bridge.ready();
    assertEquals(bridge.counters(), []);
    await bridge.close();
    await Promise.all(devices.map(({ done }) => done));
    assertEquals(opened.length, 6);
    assertEquals(events.filter(({ kind }) => kind !== "waiting"), []);
  });
});

Deno.test("a lane whose threads cannot be placed fails with the reason", async () => {
  await withoutLeaks(async () => {
    const lanes = [{ name: "fast", cpus: [4095] }];
    await using bridge = await Bridge.start({ lanes, onEvent: () => {} });
    await assertRejects(() => bridge.ready(), Error, "CPU");
  });
});
