// SPDX-License-Identifier: Apache-2.0
// That each lie is one: a device that checks what it is told finds each out, and is whole again after a reset.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SoftNode } from "../../lib/loopback/soft.ts";
import { VQ_CONTROL, VQ_RX, VQ_TX } from "../../lib/classes/sound/wire.ts";
import { withoutLeaks } from "../support/leaks.ts";
import { Adapter } from "./adapter.ts";
import { HostileGuest } from "./hostile.ts";
import { HostileDriver, MESSAGE_LIES, PLACE_LIES, RING_LIES } from "./hostile_driver.ts";
import { LocalPort } from "./local_port.ts";

Deno.test("every lie in a ring is found out by the device's side of it", () => {
  for (const mmioVersion of [1, 2] as const) {
    for (const indirect of [false, true]) {
      const port = new LocalPort({ kind: "sound", mmioVersion, indirect });
      const driver = new HostileDriver(port);
      for (const lie of RING_LIES) {
        if (lie.indirect !== undefined && lie.indirect !== indirect) continue;
        for (const queue of [VQ_CONTROL, VQ_TX, VQ_RX]) {
          driver.bringUp(indirect);
          assertEquals(driver.status, 0xf);
          assertEquals(driver.queues.map((raw) => raw.indirect), new Array(4).fill(indirect));
          port.device.ringErrors.length = 0;
          driver.tell(lie, queue);
          port.device.run();
          const [error] = port.device.ringErrors;
          if (lie.says === null) continue;
          assert(error !== undefined, `${lie.name}: nobody minded`);
          assertMatch(error, lie.says, lie.name);
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
  driver.tell(RING_LIES.find(({ name }) => name.includes("offered again"))!, VQ_TX);
  port.device.run();
  assertMatch(port.device.ringErrors[0]!, /in flight/);
});

Deno.test("a lie in a message travels over a ring without fault", () => {
  assertEquals(new Set(MESSAGE_LIES.map(({ name }) => name)).size, MESSAGE_LIES.length);
  for (const lie of MESSAGE_LIES) {
    const port = new LocalPort({ kind: "sound", mmioVersion: 1 });
    const taken: number[] = [];
    const driver = new HostileDriver(port);
    driver.bringUp(false);
    port.device.notifications = taken;
    driver.send(lie);
    assertEquals(taken, [lie.queue], lie.name);
    const { desc, avail } = driver.queues[lie.queue]!.layout;
    const { view, guest } = port.memory.region(desc, 32);
    assertEquals(view.getUint16(avail - guest + 2, true), 1);
    const expected = lie.request.length > 0 ? lie.request.length : lie.room;
    assertEquals(view.getUint32(desc - guest + 8, true), expected, lie.name);
  }
});

Deno.test("a ring that lies nowhere is refused, and a reset helps", () => {
  for (const { name, misplace } of PLACE_LIES) {
    const port = new LocalPort({ kind: "rng", mmioVersion: 2 });
    const driver = new HostileDriver(port);
    let refusal = "";
    try {
      driver.bringUp(false, misplace);
      refusal = port.device.bad.join();
    } catch (error) {
      refusal = (error as Error).message;
    }
    assertMatch(refusal, /queue 0/, name);
    driver.reset();
    driver.bringUp(false);
    assertEquals(driver.status, 0xf);
  }
});

Deno.test("a hostile driver on a thread of its own lies to a soft node's device", async () => {
  await withoutLeaks(async () => {
    using node = new SoftNode(4 << 20);
    await using adapter = await Adapter.attach(node, { kind: "rng", mmioVersion: 2 });
    adapter.appear();
    await using hostile = await HostileGuest.start(node.wires);
    for (const lie of RING_LIES.filter(({ says, indirect }) => says !== null && !indirect)) {
      assertEquals(await hostile.bringUp(true), { indirect: false, status: 0xf });
      const before = (await adapter.seen()).ringErrors.length;
      await hostile.tell(lie, 0);
      assertEquals(await hostile.status(), 0xf);
      assertMatch((await adapter.seen()).ringErrors[before]!, lie.says!);
      assertEquals(await hostile.usedIdx(0), 0);
      await hostile.reset();
    }
  });
});
