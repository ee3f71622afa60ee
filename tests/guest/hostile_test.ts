// SPDX-License-Identifier: Apache-2.0
// Each fault is one: a device that checks its input finds it, and works again after a reset.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SoftNode } from "../../lib/loopback/soft.ts";
import { VQ_CONTROL, VQ_RX, VQ_TX } from "../../lib/classes/sound/wire.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { Adapter } from "./adapter.ts";
import { HostileGuest } from "./hostile.ts";
import { HostileDriver } from "./hostile_driver.ts";
import { MESSAGE_FAULTS } from "./hostile_messages.ts";
import { PLACEMENT_FAULTS, RING_FAULTS } from "./hostile_rings.ts";
import { LocalPort } from "./local_port.ts";

Deno.test("every fault in a ring is found by the device", () => {
  for (const mmioVersion of [1, 2] as const) {
    for (const indirect of [false, true]) {
      const port = new LocalPort({ kind: "sound", mmioVersion, indirect });
      const driver = new HostileDriver(port);
      for (const fault of RING_FAULTS) {
        if (fault.indirect !== undefined && fault.indirect !== indirect) continue;
        for (const queue of [VQ_CONTROL, VQ_TX, VQ_RX]) {
          driver.bringUp(indirect);
          assertEquals(driver.status, 0xf);
          assertEquals(driver.queues.map((raw) => raw.indirect), new Array(4).fill(indirect));
          port.device.log.ringErrors.length = 0;
          driver.writeRing(fault, queue);
          port.device.run();
          const [error] = port.device.log.ringErrors;
          if (fault.says === null) continue;
          assert(error !== undefined, `${fault.name}: not found`);
          assertMatch(error, fault.says, fault.name);
          assertMatch(error, new RegExp(`queue ${queue} of`));
        }
      }
    }
  }
});

Deno.test("a head in flight that is offered again is found out where it is in flight", () => {
  const port = new LocalPort({ kind: "sound", mmioVersion: 2 });
  const driver = new HostileDriver(port);
  driver.bringUp(false);
  driver.writeRing(RING_FAULTS.find(({ name }) => name.includes("offered again"))!, VQ_TX);
  port.device.run();
  assertMatch(port.device.log.ringErrors[0]!, /in flight/);
});

Deno.test("a malformed message is in a valid ring", () => {
  assertEquals(new Set(MESSAGE_FAULTS.map(({ name }) => name)).size, MESSAGE_FAULTS.length);
  for (const fault of MESSAGE_FAULTS) {
    const port = new LocalPort({ kind: "sound", mmioVersion: 1 });
    const taken: number[] = [];
    const driver = new HostileDriver(port);
    driver.bringUp(false);
    port.device.log.notifications = taken;
    driver.writeMessage(fault);
    assertEquals(taken, [fault.queue], fault.name);
    const { desc, avail } = driver.queues[fault.queue]!.layout;
    const { view, guest } = port.memory.region(desc, 32);
    assertEquals(view.getUint16(avail - guest + 2, true), 1);
    const expected = fault.request.length > 0 ? fault.request.length : fault.room;
    assertEquals(view.getUint32(desc - guest + 8, true), expected, fault.name);
  }
});

Deno.test("a ring outside memory is refused until a reset", () => {
  for (const { name, misplace } of PLACEMENT_FAULTS) {
    const port = new LocalPort({ kind: "rng", mmioVersion: 2 });
    const driver = new HostileDriver(port);
    let refusal = "";
    try {
      driver.bringUp(false, misplace);
      refusal = port.device.log.bad.join();
    } catch (error) {
      refusal = (error as Error).message;
    }
    assertMatch(refusal, /queue 0/, name);
    driver.reset();
    driver.bringUp(false);
    assertEquals(driver.status, 0xf);
  }
});

Deno.test("a hostile driver on a thread of its own breaks the rules of a soft node's device", async () => {
  await withoutLeaks(async () => {
    using node = new SoftNode(4 << 20);
    await using adapter = await Adapter.attach(node, { kind: "rng", mmioVersion: 2 });
    adapter.appear();
    await using hostile = await HostileGuest.start(node.wires);
    for (const fault of RING_FAULTS.filter(({ says, indirect }) => says !== null && !indirect)) {
      assertEquals(await hostile.bringUp(true), { indirect: false, status: 0xf });
      const before = (await adapter.seen()).ringErrors.length;
      await hostile.writeRing(fault, 0);
      assertEquals(await hostile.status(), 0xf);
      assertMatch((await adapter.seen()).ringErrors[before]!, fault.says!);
      assertEquals(await hostile.usedIdx(0), 0);
      await hostile.reset();
    }
  });
});
